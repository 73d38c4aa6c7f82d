"""Copies of whole photos, in a few threads that leave the caller free to do something else."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from .picture import FloatImage

_MOST_THREADS = 4
"""One thread does not keep memory busy; more than a few have to wait for it."""
_SMALLEST_PART = 1 << 22
"""Bytes that are worth a thread."""


class PictureCopy:
    """A copy of a picture that begins here. Until it is complete, the picture must not change.

    It takes at most as many threads as PyTorch uses, and none where the picture is small.
    """

    def __init__(self, picture: FloatImage) -> None:
        self.picture: FloatImage = np.empty(picture.shape, picture.dtype)
        """The copy; complete, and not to be read or written before, when :meth:`wait` returns."""
        parts = min(_MOST_THREADS, torch.get_num_threads(), picture.nbytes // _SMALLEST_PART)
        if parts < 2:
            np.copyto(self.picture, picture)
            parts = 0
        ends = [picture.shape[0] * part // max(parts, 1) for part in range(parts + 1)]
        self._copied = [
            _threads().submit(np.copyto, self.picture[start:stop], picture[start:stop])
            for start, stop in itertools.pairwise(ends)
        ]

    def wait(self) -> None:
        """Until the copy is complete."""
        for part in self._copied:
            part.result()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MOST_THREADS, "gpen-copier")

"""What a detector's network has to offer, and how its pictures are divided into calls."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...images.tensors import as_array, on_cpu
from ..workers import in_one_thread

Detections = NDArray[np.float64]
"""(n, 15), one face per row: x0, y0, x1, y1, score, then x, y of the five landmarks. Coordinates refer to pixel edges:
0 is the left edge of the first pixel, so that scaling is multiplication."""
COLUMNS = 15
"""Of :data:`Detections`."""

_PIXELS_ON_CPU = 1 << 19
"""Pixels of one call on a CPU, unless one picture has more: what a call writes stays in the caches."""
_PIXELS_ELSEWHERE = 1 << 23
"""The same on other devices, where few large calls are best; a call takes about half a gigabyte."""


class DetectorNetwork(Protocol):
    """A network that finds upright faces within some range of sizes."""

    @property
    def name(self) -> str:
        """As in the catalogue."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, as PyTorch names it."""
        ...

    @property
    def suspicion(self) -> float:
        """The score from which a face that is too small to be certain of is worth a closer look."""
        ...

    def find(self, pictures: Sequence[Tensor], threshold: float) -> list[Detections]:
        """The faces in pictures that score at least ``threshold``, at the pictures' own scale.

        pictures: (H, W, 3) each, of one size, float32, RGB, [0, 1], on the network's device. Returns one array for
        each.
        """
        ...


def none_found() -> Detections:
    """Detections without a face."""
    return np.zeros((0, COLUMNS))


def calls(pictures: Sequence[Tensor], multiple: int = 1) -> Iterator[Tensor]:
    """Divide pictures (H, W, 3) of one size into batches (N, 3, H, W), as large as one call of a network should be.

    multiple: zeros are added at the bottom and on the right until height and width are multiples of this.
    """
    height, width = pictures[0].shape[:2]
    most = _PIXELS_ON_CPU if pictures[0].device.type == "cpu" else _PIXELS_ELSEWHERE
    count = max(1, most // (height * width))
    for start in range(0, len(pictures), count):
        batch = pictures[start : start + count]
        yield in_one_thread(batch[0].device, functools.partial(_batch, batch, -height % multiple, -width % multiple))


def _batch(pictures: Sequence[Tensor], below: int, right: int) -> Tensor:
    height, width = pictures[0].shape[:2]
    batch = pictures[0].new_empty((len(pictures), 3, height + below, width + right))
    batch[:, :, height:] = 0
    batch[:, :, :, width:] = 0
    for planes, picture in zip(batch, pictures, strict=True):
        shown = planes[:, :height, :width]
        if on_cpu(picture):
            # Several times as fast as a copy of the transposed picture.
            cv2.split(as_array(picture), list(as_array(shown)))
        else:
            shown.copy_(picture.permute(2, 0, 1))
    return batch

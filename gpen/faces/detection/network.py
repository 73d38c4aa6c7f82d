"""What a detector's network has to offer, and how its pictures are divided into calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...images.tensors import as_array, on_cpu

Detections = NDArray[np.float64]
"""(n, 15), one face per row: x0, y0, x1, y1, score, then x, y of the five landmarks. Coordinates refer to pixel edges:
0 is the left edge of the first pixel, so that scaling is multiplication."""
COLUMNS = 15
"""Of :data:`Detections`."""

_PIXELS_ON_CPU = 6 * 160**2
"""Pixels of one call on a CPU, unless one picture has more: what a call writes stays in the caches, and the views of
one face are two calls, which threads share."""
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

        pictures: (H, W, 3) each, float32, RGB, [0, 1], on the network's device; the largest best come first. Returns
        one array for each.
        """
        ...


def none_found() -> Detections:
    """Detections without a face."""
    return np.zeros((0, COLUMNS))


def calls(pictures: Sequence[Tensor]) -> list[list[int]]:
    """The numbers of the pictures (H, W, 3) that are given to a network together: some of one size.

    How many does not depend on the number of threads, which might show in the last bits of a result.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        by_size.setdefault(tuple(picture.shape), []).append(number)
    together = []
    for (height, width, _), numbers in by_size.items():
        most = _PIXELS_ON_CPU if on_cpu(pictures[0]) else _PIXELS_ELSEWHERE
        count = max(1, most // (height * width))
        together += [numbers[start : start + count] for start in range(0, len(numbers), count)]
    return together


def in_order(together: Sequence[Sequence[int]], results: Iterable[Sequence[Detections]]) -> list[Detections]:
    """The results of :func:`calls`, in the order of the pictures."""
    numbers = [number for call in together for number in call]
    found = [rows for call in results for rows in call]
    return [rows for _, rows in sorted(zip(numbers, found, strict=True), key=lambda pair: pair[0])]


def batched(pictures: Sequence[Tensor], multiple: int = 1) -> Tensor:
    """Pictures (H, W, 3) of one size as a batch (N, 3, H, W).

    multiple: zeros are added at the bottom and on the right until height and width are multiples of this.
    """
    height, width = pictures[0].shape[:2]
    right, below = padding(width, multiple), padding(height, multiple)
    if not on_cpu(pictures[0]):
        together = pictures[0][None] if len(pictures) == 1 else torch.stack(list(pictures))
        if right or below:
            together = F.pad(together, (0, 0, 0, right, 0, below))
        # The layout in which convolutions are fastest is that of the pictures.
        return together.permute(0, 3, 1, 2)
    batch = pictures[0].new_empty((len(pictures), 3, height + below, width + right))
    batch[:, :, height:] = 0
    batch[:, :, :, width:] = 0
    for planes, picture in zip(batch, pictures, strict=True):
        # Several times as fast as a copy of the transposed picture.
        cv2.split(as_array(picture), list(as_array(planes[:, :height, :width])))
    return batch


def padding(length: int, multiple: int) -> int:
    """By how much a length has to grow to be a multiple."""
    return -length % multiple

"""Tiles: overlapping parts of equal size that cover a level of a pyramid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .network import Detections

TILE = 1280
"""The largest height and width of a tile, in pixels; a level that exceeds it by at most a fifth is not divided."""
OVERLAP = 256
"""How many pixels neighbouring tiles share at least."""
_BORDER = 2.0
"""Faces that come closer than this to a border inside the level, in pixels, may be cut off."""


def spans(length: int) -> list[tuple[int, int]]:
    """(start, length) of equal spans that cover ``length`` and overlap by at least OVERLAP."""
    if length <= TILE * 1.2:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    size = -(-(length + (count - 1) * OVERLAP) // count)
    return [(i * (length - size) // (count - 1), size) for i in range(count)]


def tiles(level: Tensor) -> dict[tuple[int, int], Tensor]:
    """Views (h, w, 3) of a level (H, W, 3), by their left upper corners (x, y)."""
    return {
        (x, y): level[y : y + tall, x : x + wide]
        for y, tall in spans(level.shape[0])
        for x, wide in spans(level.shape[1])
    }


def is_whole(rows: Detections, corner: tuple[int, int], size: tuple[int, int], level: Tensor) -> NDArray[np.bool_]:
    """Which faces, in coordinates of a tile, are not cut off by a border inside the level.

    Nothing is lost: a face smaller than OVERLAP lies whole in a neighbouring tile, a larger one on a coarser level.
    corner: (x, y) of the tile. size: (width, height).
    """
    whole: NDArray[np.bool_] = np.ones(len(rows), bool)
    for axis in (0, 1):
        if corner[axis] > 0:
            whole &= rows[:, axis] >= _BORDER
        if corner[axis] + size[axis] < level.shape[1 - axis]:
            whole &= rows[:, axis + 2] <= size[axis] - _BORDER
    return whole

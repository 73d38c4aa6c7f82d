"""Soft edges around marked pixels of a photo, and pixels that no face may change."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...images.picture import FloatImage
from ...images.staging import to_device
from ...images.tensors import as_tensor
from ..face import Face
from ..paste import RegionMask
from .mask import FACE_HEIGHT

EDGE = 0.02
"""Width of the soft edge around protected pixels, as a fraction of the face's height."""

_SMALLEST_EDGE = 1.0
"""In pixels. A narrower edge would show the pixels of the mask as steps."""

Marked = Callable[[slice, slice], NDArray[np.bool_]]
"""Given rows and columns, which may end beyond the picture, returns which of their pixels are marked."""


def edge_width(face: Face, fraction: float) -> float:
    """How far from marked pixels the soft edge reaches, in pixels, given a fraction of the face's height."""
    eyes, mouth = face.landmarks[:2].mean(axis=0), face.landmarks[3:].mean(axis=0)
    height = FACE_HEIGHT * float(np.linalg.norm(mouth - eyes))
    # The pixel next to a marked one is at a distance of 1.
    return max(fraction * height, _SMALLEST_EDGE) + 1


def soft_edge(marked: Marked, width: float, rows: slice, columns: slice) -> FloatImage:
    """1 where pixels are marked, falling to 0 over ``width`` pixels around, in some rows and columns (h, w)."""
    # No farther around: beyond the width nothing depends on how far a marked pixel is.
    margin = math.ceil(width)
    above, left = min(margin, rows.start), min(margin, columns.start)
    around = marked(
        slice(rows.start - above, rows.stop + margin),
        slice(columns.start - left, columns.stop + margin),
    )
    if not around.any():
        return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    distance = cv2.distanceTransform((~around).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = distance[above : above + rows.stop - rows.start, left : left + columns.stop - columns.start]
    rising = np.clip(1 - inside / np.float32(width), 0, 1)
    return np.asarray(rising * rising * (3 - 2 * rising), dtype=np.float32)


class Protection:
    """Protected pixels, in a canvas as large as the photo or larger.

    mask: (H, W) of the photo, above 0.5 where it is protected. size: (width, height) of the canvas, a pixel of which is
    protected if the photo's pixel below its centre is. device: the canvas's.
    """

    def __init__(self, mask: FloatImage, size: tuple[int, int], device: torch.device) -> None:
        self._protected: NDArray[np.bool_] = mask > 0.5
        height, width = mask.shape
        self._scale = size[0] / width, size[1] / height
        self._rows, self._columns = _nearest(height, size[1]), _nearest(width, size[0])
        seen_rows, seen_columns = (np.flatnonzero(self._protected.any(axis=axis)) for axis in (1, 0))
        self._bounds = _bounds(seen_rows, self._rows), _bounds(seen_columns, self._columns)
        self._device = device

    def region_mask(self, face: Face, other: RegionMask | None = None) -> RegionMask:
        """Where a face, in pixels of the photo, may change the canvas: 0 where it is protected, rising to 1 around it.

        other: multiplied by it.
        """
        width = edge_width(face.scaled(*self._scale), EDGE)

        def allowed(rows: slice, columns: slice) -> Tensor:
            size = (rows.stop - rows.start, columns.stop - columns.start)
            mask = torch.ones(size, dtype=torch.float32, device=self._device) if other is None else other(rows, columns)
            near_rows, near_columns = _near(rows, self._bounds[0], width), _near(columns, self._bounds[1], width)
            if near_rows.start < near_rows.stop and near_columns.start < near_columns.stop:
                edge = soft_edge(self._marked, width, near_rows, near_columns)
                here = mask[_shifted(near_rows, -rows.start), _shifted(near_columns, -columns.start)]
                here *= to_device(as_tensor(1 - edge), self._device)
            return mask

        return allowed

    def _marked(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        marked: NDArray[np.bool_] = self._protected[np.ix_(self._rows[rows], self._columns[columns])]
        return marked


def _bounds(lines: NDArray[np.intp], nearest: NDArray[np.intp]) -> tuple[int, int]:
    """The range of a canvas's lines that contains those over the given lines of the photo; empty for none."""
    if not len(lines):
        return 0, 0
    return int(np.searchsorted(nearest, lines[0])), int(np.searchsorted(nearest, lines[-1], side="right"))


def _near(part: slice, bounds: tuple[int, int], distance: float) -> slice:
    """What of a range lies within a distance of the other one; empty if that is."""
    margin = math.ceil(distance) if bounds[0] < bounds[1] else 0
    start = max(part.start, bounds[0] - margin)
    return slice(start, max(start, min(part.stop, bounds[1] + margin)))


def _shifted(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


def _nearest(pixels: int, enlarged: int) -> NDArray[np.intp]:
    """For each pixel of an enlarged line, the original one below its centre."""
    return np.minimum(((np.arange(enlarged) + 0.5) * (pixels / enlarged)).astype(np.intp), pixels - 1)

"""Restored crops back into the canvas, each touching no more than its own rectangle."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .mask import SIZE as MASK_SIZE
from .resample import Image, Matrix, apply, compose, invert, scaling, warp, warp_mask

OVERLAP_SHARPNESS = 4
"""Where masks overlap, faces share a pixel in proportion to this power of their masks: the face whose own
middle is nearer prevails, and there is no seam between the two."""


class Canvas:
    """A photo (H, W, 3) that faces are pasted into; the photo itself is not changed.

    All faces are gathered first, so the result does not depend on their order, and overlapping faces do not
    erase one another.
    """

    def __init__(self, photo: Image) -> None:
        height, width = photo.shape[:2]
        self._photo = photo
        # Zeroed memory that is never touched costs nothing: these stay as small as the faces are.
        self._colors = np.zeros((height, width, 3), np.float32)
        self._weights = np.zeros((height, width), np.float32)
        self._mask = np.zeros((height, width), np.float32)
        self._rectangles: list[tuple[slice, slice]] = []

    def add(self, crop: Image, matrix: Matrix, mask: Image) -> None:
        """Lay a crop (S, S, 3) over the photo where ``mask`` (MASK_SIZE, MASK_SIZE) is above zero.

        matrix: 2 x 3, maps pixels of the canvas to pixels of the crop.
        """
        size = crop.shape[0]
        to_canvas = invert(matrix)
        mask_to_crop = scaling(size / MASK_SIZE)
        rectangle = self._rectangle(compose(to_canvas, mask_to_crop), mask)
        if rectangle is None:
            return
        rows, columns = rectangle
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        offset = np.array([[1, 0, -columns.start], [0, 1, -rows.start]], float)
        to_rectangle = compose(offset, to_canvas)
        colors = np.clip(warp(crop, to_rectangle, shape), 0, 1)
        weights = warp_mask(mask, compose(to_rectangle, mask_to_crop), shape)
        shares = weights**OVERLAP_SHARPNESS
        self._colors[rectangle] += colors * shares[..., None]
        self._weights[rectangle] += shares
        np.maximum(self._mask[rectangle], weights, out=self._mask[rectangle])
        self._rectangles.append(rectangle)

    def blend(self, strength: float) -> tuple[Image, Image]:
        """The photo with all faces (H, W, 3), and the mask (H, W) with which they were laid over it.

        Where the mask is 0 the photo's values are returned as they are.
        """
        photo, mask = self._photo.copy(), self._mask
        for rectangle in self._rectangles:
            # Rectangles may overlap: each is computed from the untouched photo, so a pixel may be written
            # twice, but always with the same value.
            shares = self._weights[rectangle]
            seen = shares > 0
            over = np.where(seen, mask[rectangle] * np.float32(strength), 0)[..., None]
            restored = self._colors[rectangle] / np.where(seen, shares, 1)[..., None]
            original = self._photo[rectangle]
            photo[rectangle] = np.where(over > 0, original + (restored - original) * over, original)
        return photo, mask * np.float32(strength) if strength < 1 else mask

    def _rectangle(self, matrix: Matrix, mask: Image) -> tuple[slice, slice] | None:
        """Rows and columns of the canvas that ``mask`` reaches; None where it reaches none."""
        seen_rows, seen_columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(seen_rows):
            return None
        left, right = seen_columns[0] - 1, seen_columns[-1] + 1
        top, bottom = seen_rows[0] - 1, seen_rows[-1] + 1
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], float)
        x, y = apply(matrix, corners).T
        height, width = self._photo.shape[:2]
        columns = slice(max(0, math.floor(x.min())), min(width, math.ceil(x.max()) + 1))
        rows = slice(max(0, math.floor(y.min())), min(height, math.ceil(y.max()) + 1))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def match_colors(restored: Image, original: Image, mask: Image) -> Image:
    """``restored`` (S, S, 3) with the mean and spread of ``original``'s colours in Lab, weighed by ``mask``.

    Source: Reinhard et al., "Color Transfer between Images", 2001. original: (T, T, 3), mask: any square.
    """
    source, target = _lab(restored), _lab(original)
    mean, spread = _statistics(source, mask)
    wanted_mean, wanted_spread = _statistics(target, mask)
    matched = (source - mean) * (wanted_spread / np.maximum(spread, 1e-3)) + wanted_mean
    return np.clip(cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_Lab2RGB), 0, 1)


def _lab(rgb: Image) -> Image:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), dtype=np.float32)


def _statistics(lab: Image, mask: Image) -> tuple[Image, Image]:
    size = (lab.shape[1], lab.shape[0])
    weights = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA))[..., None]
    total = max(float(weights.sum()), 1e-6)
    mean = (lab * weights).sum(axis=(0, 1), dtype=np.float64) / total
    spread = np.sqrt((np.square(lab - mean) * weights).sum(axis=(0, 1), dtype=np.float64) / total)
    return mean.astype(np.float32), spread.astype(np.float32)

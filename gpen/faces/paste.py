"""Pasting: restored crops are blended into the photo, each within its own rectangle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..images.picture import FloatImage
from .mask import SIZE as MASK_SIZE
from .resample import Matrix, apply, compose, invert, scaling, warp, warp_mask

OVERLAP_SHARPNESS = 4
"""Where masks overlap, each face weighs as much as this power of its mask: the nearer face prevails, without a seam."""

PostBlend = Callable[[FloatImage, FloatImage], FloatImage]
"""Given a part of the photo with faces pasted (h, w, 3), and the same part before, returns the final pixels."""

RegionMask = Callable[[slice, slice], FloatImage]
"""Given rows and columns of the canvas, returns how much a crop may change them: (h, w), [0, 1]."""


@dataclass(frozen=True, eq=False)
class _Patch:
    """One face, resampled to its rectangle of the canvas."""

    rows: slice
    columns: slice
    colors: FloatImage
    """(h, w, 3)."""
    weights: FloatImage
    """(h, w): the mask, how much the colours count against the photo's."""
    shares: FloatImage
    """(h, w): how much they count against other faces'."""


class Canvas:
    """A photo (H, W, 3) that faces are pasted into; only ``blend(in_place=True)`` changes it.

    All faces are collected before any is blended, so the result does not depend on their order, and overlapping faces
    do not erase one another. Memory grows with the sum of the faces' rectangles, not with the photo; what :meth:`blend`
    returns comes on top.

    post_blend: applied to the pixels with faces, after blending.
    """

    def __init__(self, photo: FloatImage, post_blend: PostBlend | None = None) -> None:
        self._photo = photo
        self._post_blend = post_blend
        self._patches: list[_Patch] = []

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the photo."""
        return self._photo.shape[1], self._photo.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the photo and the collected faces."""
        collected = (patch.colors.nbytes + patch.weights.nbytes + patch.shares.nbytes for patch in self._patches)
        return self._photo.nbytes + sum(collected)

    def add(
        self,
        crop: FloatImage,
        matrix: Matrix,
        mask: FloatImage | None,
        region_mask: RegionMask | None = None,
        priority: FloatImage | None = None,
    ) -> None:
        """Paste a crop (S, S, 3) where ``mask`` (MASK_SIZE, MASK_SIZE) is above 0; None for the whole photo.

        matrix: 2 x 3, maps pixels of the canvas to pixels of the crop. region_mask: multiplied into the mask.
        priority: of the mask's size, above 0; multiplied into the face's weight where faces overlap.
        """
        to_canvas = invert(matrix)
        mask_to_crop = scaling(crop.shape[0] / MASK_SIZE)
        rectangle = self._rectangle(compose(to_canvas, mask_to_crop), mask)
        if rectangle is None:
            return
        rows, columns = rectangle
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        offset = np.array([[1, 0, -columns.start], [0, 1, -rows.start]], float)
        to_rectangle = compose(offset, to_canvas)
        colors = warp(crop, to_rectangle, shape)
        if mask is None:
            # No other face overlaps a photo that is one face: any weight gives the crop's colours.
            weights = shares = np.ones(shape[::-1], np.float32)
        else:
            weights = warp_mask(mask, compose(to_rectangle, mask_to_crop), shape)
        if region_mask is not None:
            weights = weights * region_mask(rows, columns)
        if mask is not None:
            shares = weights**OVERLAP_SHARPNESS
        if priority is not None:
            shares = shares * warp_mask(priority, compose(to_rectangle, mask_to_crop), shape)
        self._patches.append(_Patch(rows, columns, np.clip(colors, 0, 1, out=colors), weights, shares))

    def blend(self, strength: float, *, in_place: bool = False) -> tuple[FloatImage, FloatImage]:
        """The photo with all faces (H, W, 3), and the mask (H, W) that they were blended with.

        Pixels where the mask is 0 are the photo's, bit for bit. strength: 0 to 1, multiplied into the mask. in_place:
        write into the photo instead of a copy.
        """
        # All before the first is written: rectangles may overlap, and the photo may be written to.
        blended = [(patch.rows, patch.columns, *self._blended(patch, strength)) for patch in self._patches]
        result = self._photo if in_place else self._photo.copy()
        # Zeroed pages that are never touched cost no memory.
        mask = np.zeros(self._photo.shape[:2], np.float32)
        for rows, columns, colors, over in blended:
            result[rows, columns] = colors
            mask[rows, columns] = over
        return result, mask

    def _blended(self, patch: _Patch, strength: float) -> tuple[FloatImage, FloatImage]:
        """The rectangle of ``patch`` with all faces that overlap it, and the mask there."""
        colors, shares, mask = np.zeros_like(patch.colors), np.zeros_like(patch.weights), np.zeros_like(patch.weights)
        for other in self._patches:
            rows, there_rows = _common(patch.rows, other.rows)
            columns, there_columns = _common(patch.columns, other.columns)
            weights = other.weights[there_rows, there_columns]
            if weights.size:
                share = other.shares[there_rows, there_columns]
                colors[rows, columns] += other.colors[there_rows, there_columns] * share[..., None]
                shares[rows, columns] += share
                np.maximum(mask[rows, columns], weights, out=mask[rows, columns])
        seen = shares > 0
        over = np.where(seen, mask * np.float32(strength), 0)
        original = self._photo[patch.rows, patch.columns]
        colors /= np.where(seen, shares, 1)[..., None]
        colors -= original
        colors *= over[..., None]
        colors += original
        if self._post_blend is not None:
            colors = self._post_blend(colors, original)
        return np.where(over[..., None] > 0, colors, original), over

    def _rectangle(self, matrix: Matrix, mask: FloatImage | None) -> tuple[slice, slice] | None:
        """The rows and columns of the canvas that ``mask`` covers, or None if it misses the canvas."""
        if mask is None:
            return slice(0, self._photo.shape[0]), slice(0, self._photo.shape[1])
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


class CropCanvas(Canvas):
    """A canvas whose result is the crop itself, instead of the photo with the crop pasted into it."""

    def __init__(self, photo: FloatImage) -> None:
        super().__init__(photo)
        self._crop: FloatImage | None = None

    def add(
        self,
        crop: FloatImage,
        matrix: Matrix,
        mask: FloatImage | None,
        region_mask: RegionMask | None = None,
        priority: FloatImage | None = None,
    ) -> None:
        """Keep a crop (S, S, 3); the other arguments have no effect."""
        self._crop = crop

    def blend(self, strength: float, *, in_place: bool = False) -> tuple[FloatImage, FloatImage]:
        """The crop and a mask of ones; if no crop was added, a copy of the photo and a mask of zeros."""
        if self._crop is None:
            return self._photo.copy(), np.zeros(self._photo.shape[:2], np.float32)
        return self._crop, np.ones(self._crop.shape[:2], np.float32)


def _common(one: slice, other: slice) -> tuple[slice, slice]:
    """The intersection of two ranges, relative to the start of each; empty if they do not overlap."""
    start = max(one.start, other.start)
    stop = max(start, min(one.stop, other.stop))
    return slice(start - one.start, stop - one.start), slice(start - other.start, stop - other.start)


def match_colors(restored: FloatImage, original: FloatImage, mask: FloatImage) -> FloatImage:
    """``restored`` (S, S, 3) with the mean and standard deviation of ``original``'s colours in Lab.

    original: (T, T, 3). mask: a square of any size, weighs the pixels. All [0, 1].
    Source: Reinhard et al., "Color Transfer between Images", 2001.
    """
    source, target = _lab(restored), _lab(original)
    mean, spread = _statistics(source, mask)
    wanted_mean, wanted_spread = _statistics(target, mask)
    matched = (source - mean) * (wanted_spread / np.maximum(spread, 1e-3)) + wanted_mean
    return np.clip(cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_Lab2RGB), 0, 1)


def _lab(rgb: FloatImage) -> FloatImage:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), dtype=np.float32)


def _statistics(lab: FloatImage, mask: FloatImage) -> tuple[FloatImage, FloatImage]:
    size = (lab.shape[1], lab.shape[0])
    weights = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA))[..., None]
    total = max(float(weights.sum()), 1e-6)
    mean = (lab * weights).sum(axis=(0, 1), dtype=np.float64) / total
    spread = np.sqrt((np.square(lab - mean) * weights).sum(axis=(0, 1), dtype=np.float64) / total)
    return mean.astype(np.float32), spread.astype(np.float32)

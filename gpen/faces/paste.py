"""Pasting: restored crops are blended into the photo, each within its own rectangle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import tensors
from ..images.copying import PictureCopy
from ..images.picture import FloatImage
from ..images.staging import on_host, to_host
from ..images.tensors import DevicePhoto, as_array, as_tensor, can_share, on_cpu
from .grain import missing_grain
from .masks.mask import SIZE as MASK_SIZE
from .masks.mask import Area
from .resampling.resample import warp, warp_mask
from .resampling.transforms import Matrix, apply, compose, invert, scaling, translation
from .workers import in_threads

OVERLAP_SHARPNESS = 4
"""Where masks overlap, each face weighs as much as this power of its mask: the nearer face prevails, without a seam."""

_PIXELS_IN_CACHE = 1 << 15
"""Pixels that are blended at a time on a CPU."""

PostBlend = Callable[[Tensor, Tensor], Tensor]
"""Given a part of the photo with faces pasted (h, w, 3), and the same part before, returns the final pixels."""

RegionMask = Callable[[slice, slice], Tensor]
"""Given rows and columns of the canvas, returns how much a crop may change them: (h, w), [0, 1]."""


@dataclass(frozen=True, eq=False)
class _Patch:
    """One face, resampled to its rectangle of the canvas."""

    rows: slice
    columns: slice
    colors: Tensor
    """(h, w, 3)."""
    weights: Tensor
    """(h, w): the mask, how much the colours count against the photo's."""
    priority: Tensor | None
    """(h, w): multiplied into how much they count against other faces'."""
    grain: Tensor | None
    """(h, w, 3): the grain that the colours lack."""

    @property
    def shares(self) -> Tensor:
        """(h, w): how much the colours count against other faces'."""
        shares = self.weights**OVERLAP_SHARPNESS
        return shares if self.priority is None else shares * self.priority

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(kept.nbytes for kept in (self.colors, self.weights, self.priority, self.grain) if kept is not None)

    def overlaps(self, other: _Patch) -> bool:
        """Whether the rectangles share pixels."""
        return all(
            one.start < two.stop and two.start < one.stop
            for one, two in ((self.rows, other.rows), (self.columns, other.columns))
        )

    def blend_into(self, out: Tensor, mask: Tensor, original: Tensor, strength: float) -> None:
        """Write the rectangle with the face, but without grain, and its mask, (h, w, 3) and (h, w), on the CPU.

        original: (h, w, 3), the photo there, which may be ``out``. strength: multiplied into the weights.
        """
        height, width = self.weights.shape

        def blend(rows: slice) -> None:
            over = torch.mul(self.weights[rows], strength, out=mask[rows])
            torch.lerp(original[rows], self.colors[rows], _for_each_channel(over), out=out[rows])

        step = max(1, _PIXELS_IN_CACHE // width)
        in_threads(out.device, blend, [slice(start, start + step) for start in range(0, height, step)])

    def on_cpu(self) -> _Patch:
        """The same in host memory."""
        given = [kept for kept in (self.priority, self.grain) if kept is not None]
        colors, weights, *others = on_host([self.colors, self.weights, *given])
        priority = None if self.priority is None else others.pop(0)
        grain = None if self.grain is None else others.pop(0)
        return _Patch(self.rows, self.columns, colors, weights, priority, grain)


class Canvas:
    """A photo (H, W, 3) that faces are pasted into; only ``blend(in_place=True)`` changes it.

    All faces are collected before any is blended, so the result does not depend on their order, and overlapping faces
    do not erase one another. Faces stay on the photo's device until they are blended there; then the rectangles that
    change are copied back. Memory grows with the sum of the rectangles, not with the photo; what :meth:`blend` returns
    comes on top.

    post_blend: applied to the pixels with faces, after blending. grain: how much of the photo's grain the faces get,
    0 to 1.
    """

    def __init__(self, photo: DevicePhoto, post_blend: PostBlend | None = None, grain: float = 0.0) -> None:
        self._photo = photo
        self._post_blend = post_blend
        self._grain = grain
        self._patches: list[_Patch] = []
        self._under: PictureCopy | None = None
        """A copy of the photo for the next result, if there is one already."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the photo."""
        return self._photo.shape[1], self._photo.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the photo and the collected faces."""
        return self._photo.array.nbytes + sum(patch.nbytes for patch in self._patches)

    def prepare(self) -> None:
        """Begin what :meth:`blend` is going to need unless it is in place, for as long as a GPU is what works."""
        if self._under is None and self._photo.device.type != "cpu":
            self._under = PictureCopy(self._photo.array)

    def on_cpu(self) -> Canvas:
        """The same canvas with its faces in host memory, where they may wait without taking a GPU's."""
        canvas = Canvas(DevicePhoto(self._photo.array, torch.device("cpu")), self._post_blend)
        canvas._patches = [patch.on_cpu() for patch in self._patches]
        return canvas

    def add(
        self,
        crop: Tensor,
        matrix: Matrix,
        mask: Tensor | None,
        region_mask: RegionMask | None = None,
        priority: Tensor | None = None,
        area: Area | None = None,
    ) -> None:
        """Paste a crop (S, S, 3) where ``mask`` (MASK_SIZE, MASK_SIZE) is above 0; None for the whole photo.

        matrix: 2 x 3, maps pixels of the canvas to pixels of the crop. region_mask: multiplied into the mask.
        priority: of the mask's size, above 0; multiplied into the face's weight where faces overlap. area: rows and
        columns of the mask outside of which it is known to be 0.
        """
        to_canvas = invert(matrix)
        mask_to_crop = scaling(crop.shape[0] / MASK_SIZE)
        rectangle = self._rectangle(compose(to_canvas, mask_to_crop), mask, area)
        if rectangle is None:
            return
        rows, columns = rectangle
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        to_rectangle = compose(translation(-columns.start, -rows.start), to_canvas)
        mask_to_rectangle = compose(to_rectangle, mask_to_crop)
        colors = warp(crop, to_rectangle, shape, clipped=True)
        weights = colors.new_ones(shape[::-1]) if mask is None else warp_mask(mask, mask_to_rectangle, shape)
        if region_mask is not None:
            weights *= region_mask(rows, columns)
        warped = None if priority is None else warp_mask(priority, mask_to_rectangle, shape)
        grain = None
        if self._grain > 0 and mask is not None:
            grain = missing_grain(self._photo, rows, columns, colors, weights) * self._grain
        self._patches.append(_Patch(rows, columns, colors, weights, warped, grain))

    def blend(self, strength: float, *, in_place: bool = False) -> tuple[FloatImage, FloatImage]:
        """The photo with all faces (H, W, 3), and the mask (H, W) that they were blended with.

        Pixels where the mask is 0 are the photo's, bit for bit. strength: 0 to 1, multiplied into the mask. in_place:
        write into the photo instead of a copy, unless it is read-only or no tensor can share its memory.
        """
        separate, others = list[_Patch](), list[_Patch]()
        for patch in self._patches:
            (separate if self._is_separate(patch) else others).append(patch)
        # All before the first is written: rectangles may overlap, and the photo may be written to.
        blended = [(patch.rows, patch.columns, *self._blended(patch, strength)) for patch in others]
        under, self._under = self._under, None
        photo = self._photo.array
        result = photo
        if not (in_place and photo.flags.writeable and can_share(photo) and all(photo.strides)):
            under = under or PictureCopy(photo)
            result = under.picture
        # Zeroed pages that are never touched cost no memory.
        mask = np.zeros(photo.shape[:2], np.float32)
        there, mask_there = as_tensor(result), as_tensor(mask)
        copies = []
        for rows, columns, colors, over in blended:
            copies += [(colors, there[rows, columns]), (over, mask_there[rows, columns])]
        to_host(copies, meanwhile=lambda: None if under is None else under.wait())
        for patch in separate:
            at = patch.rows, patch.columns
            patch.blend_into(there[at], mask_there[at], self._photo.part(*at), strength)
        return result, mask

    def _is_separate(self, patch: _Patch) -> bool:
        """Whether ``patch`` can be written where it belongs as it is blended, which spares memory."""
        return (
            on_cpu(patch.colors)
            and patch.grain is None
            and self._post_blend is None
            and not any(other.overlaps(patch) for other in self._patches if other is not patch)
        )

    def _blended(self, patch: _Patch, strength: float) -> tuple[Tensor, Tensor]:
        """The rectangle of ``patch`` with all faces that overlap it, and the mask there."""
        overlapping = [other for other in self._patches if other.overlaps(patch)]
        is_alone = len(overlapping) == 1
        colors, weights = (patch.colors, patch.weights) if is_alone else _mixed(patch, overlapping)
        over = weights * strength
        original = self._photo.part(patch.rows, patch.columns)
        each = _for_each_channel(over)
        blended = torch.lerp(original, colors, each)
        if patch.grain is not None:
            grain = patch.grain if is_alone else _mixed_grain(patch, overlapping)
            # Where the original shows through by 1 - x, so does that much of its grain's deviation: what is missing of
            # its variance is x (2 - x).
            grain = grain * (over * (2 - over)).sqrt()[..., None]
            blended = torch.where(each > 0, (blended + grain).clamp_(0, 1), original)
        if self._post_blend is not None:
            blended = torch.where(each > 0, self._post_blend(blended, original), original)
        return blended, over

    def _rectangle(self, matrix: Matrix, mask: Tensor | None, area: Area | None) -> tuple[slice, slice] | None:
        """The rows and columns of the canvas that ``mask`` covers, or None if it misses the canvas."""
        if mask is None:
            return slice(0, self._photo.shape[0]), slice(0, self._photo.shape[1])
        covered = _covered(mask, area)
        if covered is None:
            return None
        x, y = apply(matrix, covered).T
        height, width = self._photo.shape[:2]
        columns = slice(max(0, math.floor(x.min())), min(width, math.ceil(x.max()) + 1))
        rows = slice(max(0, math.floor(y.min())), min(height, math.ceil(y.max()) + 1))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _covered(mask: Tensor, area: Area | None) -> NDArray[np.float64] | None:
    """The corners (4, 2) of a rectangle of the mask beyond which it is 0; None if it is 0 everywhere.

    On a device it is ``area``, or all of the mask: looking at it would wait for the device.
    """
    top, bottom, left, right = 0, mask.shape[0] - 1, 0, mask.shape[1] - 1
    if area is not None:
        rows, columns = area
        top, bottom, left, right = rows.start - 1, rows.stop, columns.start - 1, columns.stop
    if tensors.on_cpu(mask):
        values = as_array(mask)
        seen_rows, seen_columns = np.flatnonzero(values.any(axis=1)), np.flatnonzero(values.any(axis=0))
        if not len(seen_rows):
            return None
        top, bottom, left, right = seen_rows[0] - 1, seen_rows[-1] + 1, seen_columns[0] - 1, seen_columns[-1] + 1
    return np.array([[left, top], [right, top], [left, bottom], [right, bottom]], float)


def _for_each_channel(over: Tensor) -> Tensor:
    """A factor (h, w) for three channels, (h, w, 3)."""
    # Contiguous: a factor that is broadcast over the channels takes twice as long on a CPU.
    return over[..., None].expand(-1, -1, 3).contiguous()


def _mixed(patch: _Patch, overlapping: list[_Patch]) -> tuple[Tensor, Tensor]:
    """The colours (h, w, 3) of all faces in the rectangle of ``patch``, and the largest of their weights (h, w)."""
    colors, shares = torch.zeros_like(patch.colors), torch.zeros_like(patch.weights)
    weights = torch.zeros_like(patch.weights)
    for other in overlapping:
        rows, there_rows = _common(patch.rows, other.rows)
        columns, there_columns = _common(patch.columns, other.columns)
        share = other.shares[there_rows, there_columns]
        colors[rows, columns] += other.colors[there_rows, there_columns] * share[..., None]
        shares[rows, columns] += share
        largest = torch.maximum(weights[rows, columns], other.weights[there_rows, there_columns])
        weights[rows, columns] = largest
    seen = shares > 0
    colors /= torch.where(seen, shares, 1)[..., None]
    return colors, torch.where(seen, weights, 0)


def _mixed_grain(patch: _Patch, overlapping: list[_Patch]) -> Tensor:
    """The grain (h, w, 3) of all faces in the rectangle of ``patch``, mixed as the colours are.

    That of different faces has nothing in common: variances add up, not values.
    """
    mixed, squares = torch.zeros_like(patch.colors), torch.zeros_like(patch.weights)
    for other in overlapping:
        rows, there_rows = _common(patch.rows, other.rows)
        columns, there_columns = _common(patch.columns, other.columns)
        share = other.shares[there_rows, there_columns]
        if other.grain is not None:
            mixed[rows, columns] += other.grain[there_rows, there_columns] * share[..., None]
        squares[rows, columns] += share.square()
    return mixed / torch.where(squares > 0, squares, 1).sqrt()[..., None]


class CropCanvas(Canvas):
    """A canvas whose result is the crop itself, instead of the photo with the crop pasted into it."""

    def __init__(self, photo: DevicePhoto) -> None:
        super().__init__(photo)
        self._crop: Tensor | None = None

    def prepare(self) -> None:
        """Nothing: the photo is no part of the result."""

    def add(
        self,
        crop: Tensor,
        matrix: Matrix,
        mask: Tensor | None,
        region_mask: RegionMask | None = None,
        priority: Tensor | None = None,
        area: Area | None = None,
    ) -> None:
        """Keep a crop (S, S, 3); the other arguments have no effect."""
        self._crop = crop

    def blend(self, strength: float, *, in_place: bool = False) -> tuple[FloatImage, FloatImage]:
        """The crop and a mask of ones; if no crop was added, a copy of the photo and a mask of zeros."""
        if self._crop is None:
            return self._photo.array.copy(), np.zeros(self._photo.shape[:2], np.float32)
        return as_array(self._crop), np.ones(self._crop.shape[:2], np.float32)


def _common(one: slice, other: slice) -> tuple[slice, slice]:
    """The intersection of two ranges, relative to the start of each; empty if they do not overlap."""
    start = max(one.start, other.start)
    stop = max(start, min(one.stop, other.stop))
    return slice(start - one.start, stop - one.start), slice(start - other.start, stop - other.start)

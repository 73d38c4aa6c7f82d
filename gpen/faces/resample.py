"""Resampling by a similarity, to a crop and back, without aliasing, on the device that the picture is on.

There are two steps. A low-pass filter (:mod:`.low_pass`) removes the frequencies that the coarser of source and result
cannot hold, and outputs several samples per pixel of the coarser grid. At that density linear interpolation, the second
step, is nearly exact. Both work on square tiles of the result, so that the samples, many times the result's pixels,
stay in a CPU's caches and never exist as a whole.

The constants lose the least of a real photo on its way to a crop and back, among those that keep stripes just too fine
for the result under 16/255 (tests/faces/test_resample.py holds both bounds). A face larger than its crop comes back as
the photo low-passed to the crop's resolution, to within 6/255; the sharpest faces, whose detail lies right at that
limit, to within 9/255 (tests/restoration/test_photos.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import exact_float32
from ..images import tensors
from ..images.resize import area_weights
from .low_pass import BLOCK, LowPass, Scratch
from .transforms import Matrix, apply, compose, corners, invert, scaling, shrinking, translation
from .workers import shared_workers

_Tile = tuple[slice, slice]  # rows and columns of the result

OVERSAMPLING = 3
"""Samples per pixel of the coarser grid."""
FINE_OVERSAMPLING = 6
"""The same where the result is so much larger than the source that the samples are few beside its pixels."""
FINE_ENLARGEMENT = 3.0
"""The enlargement from which on :data:`FINE_OVERSAMPLING` is used: four samples per pixel of the result."""
MASK_OVERSAMPLING = 2.0
"""Samples per pixel of the result that a mask is reduced to before it is interpolated."""

_BILINEAR, _ZEROS = 0, 0  # PyTorch's codes for the interpolation and for what lies beyond the samples
_TILE_ON_CPU = 256
"""Edge of a tile of the result, in pixels: its samples take a few megabytes."""
_TILE_ELSEWHERE = 1024
"""The same on other devices, where many small operations cost more than memory."""


def warp(image: Tensor, matrix: Matrix, size: tuple[int, int]) -> Tensor:
    """Resample ``image``, float32 (H, W) or (H, W, C), by ``matrix`` to ``size`` (width, height), on its device.

    matrix: 2 x 3, a similarity that maps pixels of ``image`` to pixels of the result. Beyond its edges the image is
    mirrored. Values may overshoot slightly at sharp edges. The cost depends on ``size`` and the part of ``image`` that
    it covers, not on the rest of ``image``.
    """
    if image.dim() == 2:
        return warp(image[..., None], matrix, size)[..., 0]
    with exact_float32(image.device):
        return _Resampling(image.device, matrix, size).run(image)


def needed_part(shape: tuple[int, ...], matrix: Matrix, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a picture of ``shape`` that :func:`warp` reads; arguments as there."""
    resampling = _Resampling(torch.device("meta"), matrix, size)
    first, last = resampling.first, resampling.last
    parts = []
    for axis, length in ((1, shape[0]), (0, shape[1])):
        low, high = first[axis], last[axis]
        # Pixels that far outside are reflections of pixels that far inside.
        start = min(max(min(low, 2 * (length - 1) - high), 0), length - 1)
        parts.append(slice(int(start), int(max(min(max(high, -low) + 1, length), 1))))
    return parts[0], parts[1]


class _Scratch:
    """Memory on the CPU that is used for one tile after the other: new memory has to be mapped page by page."""

    def __init__(self) -> None:
        self.of_rows, self.of_columns, self.of_both, self.of_result = Scratch(), Scratch(), Scratch(), Scratch()


class _Resampling:
    """One call of :func:`warp`: where the samples lie, and how they are filtered."""

    def __init__(self, device: torch.device, matrix: Matrix, size: tuple[int, int]) -> None:
        self._matrix = matrix
        self._inverse = invert(matrix)
        self._size = size
        shrink = shrinking(matrix)
        coarse = max(1.0, shrink)
        oversampling = FINE_OVERSAMPLING if shrink * FINE_ENLARGEMENT <= 1 else OVERSAMPLING
        self._low_pass = LowPass(coarse, oversampling, device)
        margin = math.ceil(self._low_pass.step) + 1
        seen = apply(self._inverse, corners(*size))
        self.origin: NDArray[np.int_] = np.floor(seen.min(axis=0)).astype(int) - margin
        """The pixel (x, y) of the source that positions of samples are relative to."""
        extent = float((seen.max(axis=0) + margin - self.origin).max())
        self._block_count = math.ceil(extent / self._low_pass.pixels)
        start, stop = self._low_pass.span(0, self._block_count)
        self.first, self.last = self.origin + start, self.origin + stop - 1
        """The first and last pixel (x, y) of the source that the result depends on."""

    def run(self, image: Tensor) -> Tensor:
        width, height = self._size
        out = image.new_empty((height, width, image.shape[2]))
        if not tensors.on_cpu(image):
            for tile in _tiles(width, height, _TILE_ELSEWHERE):
                self._fill(out, tile, image, _Scratch())
            return out
        free: list[_Scratch] = []

        def fill(tile: _Tile) -> None:
            scratch = free.pop() if free else _Scratch()
            self._fill(out, tile, image, scratch)
            free.append(scratch)

        shared_workers().run(fill, _tiles(width, height, _TILE_ON_CPU))
        return out

    def _fill(self, out: Tensor, tile: _Tile, image: Tensor, scratch: _Scratch) -> None:
        """Compute a tile of the result."""
        low_pass = self._low_pass
        (left, right), (top, bottom) = self._blocks(tile)
        (x0, x1), (y0, y1) = low_pass.span(left, right), low_pass.span(top, bottom)
        part = _part(image, self.origin[1] + np.array([y0, y1]), self.origin[0] + np.array([x0, x1]))
        # A filter is a matrix product along the first axis. So the axes are exchanged between the two, and the samples
        # of the picture's columns come first.
        samples = low_pass.filter(part, scratch.of_rows, bottom - top)
        samples = low_pass.filter(_exchanged(samples, scratch.of_columns), scratch.of_both, right - left)
        first = self.origin + np.array([left, top]) * low_pass.pixels
        to_source = compose(translation(*first), scaling(low_pass.step))
        rows, columns = tile
        matrix = compose(translation(-columns.start, -rows.start), compose(self._matrix, to_source))
        _interpolate_exchanged(samples, matrix, out[rows, columns], scratch)

    def _blocks(self, tile: _Tile) -> list[tuple[int, int]]:
        """The first and last block of samples that a tile depends on, horizontally and vertically."""
        rows, columns = tile
        size = columns.stop - columns.start, rows.stop - rows.start
        seen = apply(self._inverse, corners(*size) + np.array([columns.start, rows.start])) - self.origin
        position = (seen + 0.5) / self._low_pass.step - 0.5
        # One more sample on each side: rounding must not lead beyond them.
        first = np.floor(position.min(axis=0)).astype(int) - 1
        last = np.ceil(position.max(axis=0)).astype(int) + 2
        return [(max(0, a // BLOCK), min(self._block_count, -(-b // BLOCK))) for a, b in zip(first, last, strict=True)]


def warp_mask(mask: Tensor, matrix: Matrix, size: tuple[int, int]) -> Tensor:
    """Resample a soft mask (H, W) like :func:`warp`, but with zeros beyond it, and without overshoot."""
    shrink = shrinking(matrix)
    if shrink > MASK_OVERSAMPLING:
        height, width = mask.shape
        small_height, small_width = (max(1, round(length * MASK_OVERSAMPLING / shrink)) for length in mask.shape)
        mask = reduced(mask, small_height, small_width)
        matrix = compose(matrix, scaling(width / small_width, height / small_height))
    out = mask.new_empty((size[1], size[0], 1))
    _interpolate(mask[..., None], matrix, out)
    return out[..., 0]


def reduced(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (H, W), or several (N, H, W), averaged over the area of each of fewer pixels: (height, width)."""
    rows, columns = area_weights(mask.shape[-2], height, mask.device), area_weights(mask.shape[-1], width, mask.device)
    with exact_float32(mask.device):
        return rows @ mask @ columns.T


def _exchanged(x: Tensor, scratch: Scratch) -> Tensor:
    """A picture (H, W, C) with its axes exchanged: (W, H, C)."""
    if not tensors.on_cpu(x):
        return x.transpose(0, 1)
    out = scratch.like(x, x.shape[1], x.shape[0], x.shape[2])
    cv2.transpose(x.numpy(), dst=out.numpy())
    return out


def _interpolate_exchanged(samples: Tensor, matrix: Matrix, out: Tensor, scratch: _Scratch) -> None:
    """The same as :func:`_interpolate` with the axes of ``samples`` exchanged."""
    if not tensors.on_cpu(samples):
        _interpolate(samples.transpose(0, 1), matrix, out)
        return
    # OpenCV is fast along rows only, and the result has the fewest pixels to exchange the axes of.
    exchanged = scratch.of_result.like(samples, out.shape[1], out.shape[0], out.shape[2])
    _interpolate(samples, np.ascontiguousarray(matrix[::-1, [1, 0, 2]]), exchanged)
    cv2.transpose(exchanged.numpy(), dst=out.numpy())


def _interpolate(samples: Tensor, matrix: Matrix, out: Tensor) -> None:
    """Write the linear interpolation of ``samples`` (rows, columns, C) into ``out`` (h, w, C); zero beyond them.

    matrix: 2 x 3, maps samples to pixels of ``out``.
    """
    height, width = out.shape[:2]
    if tensors.on_cpu(samples):
        cv2.warpAffine(samples.numpy(), matrix, (width, height), flags=cv2.INTER_LINEAR, dst=out.numpy())
        return
    # In grid_sample's coordinates the first sample is at -1, the last at 1.
    back = invert(matrix)
    factors = 2 / np.maximum(np.array([samples.shape[1], samples.shape[0]]) - 1, 1)
    (xx, xy, x0), (yx, yy, y0) = (back * factors[:, None] - np.array([[0, 0, 1], [0, 0, 1]])).tolist()
    x, y = (torch.arange(length, dtype=torch.float32, device=out.device) for length in (width, height))
    y = y[:, None]
    grid = torch.stack([x * xx + y * xy + x0, x * yx + y * yy + y0], dim=-1)
    # Not F.grid_sample, which may choose cuDNN's: FakeTensorMode, which tests rely on, does not know that.
    sampled = torch.grid_sampler_2d(samples.permute(2, 0, 1)[None], grid[None], _BILINEAR, _ZEROS, align_corners=True)
    out.copy_(sampled[0].permute(1, 2, 0))


def _part(image: Tensor, rows: NDArray[np.int_], columns: NDArray[np.int_]) -> Tensor:
    """Rows and columns of a picture, given as (start, stop), mirrored beyond its edges."""
    for axis, (start, stop) in enumerate((rows, columns)):
        length = image.shape[axis]
        if start >= 0 and stop <= length:
            image = image.narrow(axis, int(start), int(stop - start))
            continue
        period = max(2 * (length - 1), 1)
        position = np.abs(np.arange(start, stop)) % period
        mirrored = np.minimum(position, period - position) if length > 1 else np.zeros_like(position)
        image = image.index_select(axis, torch.from_numpy(mirrored).to(image.device))
    return image


def _tiles(width: int, height: int, edge: int) -> Iterator[_Tile]:
    for top in range(0, height, edge):
        for left in range(0, width, edge):
            yield slice(top, min(height, top + edge)), slice(left, min(width, left + edge))

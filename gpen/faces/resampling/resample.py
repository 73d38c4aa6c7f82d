"""Resampling by a similarity, to a crop and back, without aliasing, on the device that the picture is on.

There are two steps. A low-pass filter (:mod:`.low_pass`) removes the frequencies that the coarser of source and result
cannot hold, and outputs several samples per pixel of the coarser grid. At that density linear interpolation, the second
step, is nearly exact. Both work on tiles of the result, as the samples are many times the result's pixels: on a CPU
they stay in its caches. On other devices, where starting an operation takes longer than most of them, a tile is as
large as memory allows, and all that the host computes for a call is brought there by one copy.

The constants lose the least of a real photo on its way to a crop and back, among those that keep stripes just too fine
for the result under 16/255 (test_resample.py holds both bounds). From a crop at the photo's resolution, or
a finer one, at least 98 % of the energy of fine detail comes back, even of a photo that is sharp to the last pixel. A
face larger than its crop comes back as the photo low-passed to the crop's resolution, to within 6/255; the sharpest
faces, whose detail lies right at that limit, to within 9/255 (tests/restoration/test_photos.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...device import exact_float32
from ...images import tensors
from ...images.resize import area_weights
from ...images.tensors import DevicePhoto, luma
from ...images.uploads import uploaded_together
from ..workers import shared_workers
from .low_pass import BLOCK, CUTOFF, LowPass, Scratch, cutoff_of_crop
from .transforms import Matrix, apply, compose, corners, invert, scaling, shrinking, translation

_Area = tuple[slice, slice]  # rows and columns of the result

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
_SAMPLES_ELSEWHERE = 900 << 20
"""Bytes of samples that exist at once on other devices. An upright crop of 2048 from a photo of its resolution takes
0.75 GB, one of 512 a sixteenth; the networks take 1.25 and 0.21 GB in float16. With pictures and positions it is up to
a third more (tests/faces/test_cost.py)."""
_SMALLEST_TILE_ELSEWHERE = 64


def warp(image: Tensor, matrix: Matrix, size: tuple[int, int], *, clipped: bool = False) -> Tensor:
    """Resample ``image``, float32 (H, W) or (H, W, C), by ``matrix`` to ``size`` (width, height), on its device.

    matrix: 2 x 3, a similarity that maps pixels of ``image`` to pixels of the result. clipped: to [0, 1]; values may
    overshoot slightly at sharp edges. Beyond its edges the image is mirrored. The cost depends on ``size`` and the part
    of ``image`` that it covers, not on the rest of ``image``.
    """
    if image.dim() == 2:
        return warp(image[..., None], matrix, size, clipped=clipped)[..., 0]
    return _Resampling(matrix, size).run(image, clipped=clipped)


def warp_photo(photo: DevicePhoto, matrix: Matrix, size: tuple[int, int], *, is_luma: bool = False) -> Tensor:
    """A crop of a photo (H, W, 3) on its device, where only what is read is needed: as :func:`warp`, clipped.

    Where it enlarges, it keeps what :func:`warp` needs to bring the photo back as sharp as it was. is_luma: only the
    luma, (h, w, 1), in a third of the time.
    """
    resampling = _Resampling(matrix, size, cutoff_of_crop(1 / shrinking(matrix)))
    rows, columns = resampling.needed_part(photo.shape)
    part = photo.part(rows, columns)
    return resampling.run(luma(part)[..., None] if is_luma else part, (columns.start, rows.start), clipped=True)


def needed_part(shape: tuple[int, ...], matrix: Matrix, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a picture of ``shape`` that :func:`warp` reads; arguments as there."""
    return _Resampling(matrix, size).needed_part(shape)


class _Scratch:
    """Memory on the CPU that is used for one tile after the other: new memory has to be mapped page by page."""

    def __init__(self) -> None:
        self.of_rows, self.of_columns, self.of_both, self.of_result = Scratch(), Scratch(), Scratch(), Scratch()


@dataclass(frozen=True, eq=False)
class _Tile:
    """A part of the result, and what it is computed from."""

    rows: slice
    columns: slice
    """Of the result."""
    read: tuple[tuple[int, int], tuple[int, int]]
    """The rows and columns of the image, each as (start, stop); where they lie outside, it is mirrored."""
    vertical: int
    horizontal: int
    """Blocks of samples."""
    matrix: Matrix
    """Maps samples to pixels of the tile."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.columns.stop - self.columns.start, self.rows.stop - self.rows.start

    @property
    def samples(self) -> tuple[int, int]:
        """Samples vertically and horizontally."""
        return self.vertical * BLOCK, self.horizontal * BLOCK

    @property
    def values(self) -> int:
        """Samples of both filters, which exist at the same time."""
        start, stop = self.read[1]
        return self.samples[0] * (stop - start + self.samples[1])

    def mirrored(self, shape: tuple[int, ...]) -> list[NDArray[np.int32] | None]:
        """The rows and the columns to take of an image of this shape; None if they are what is read, as it is."""
        return [_mirrored(start, stop, length) for (start, stop), length in zip(self.read, shape, strict=False)]


class _Resampling:
    """One call of :func:`warp`: where the samples lie, and how they are filtered."""

    def __init__(self, matrix: Matrix, size: tuple[int, int], cutoff: float = CUTOFF) -> None:
        self._matrix = matrix
        self._inverse = invert(matrix)
        self._size = size
        shrink = shrinking(matrix)
        coarse = max(1.0, shrink)
        oversampling = FINE_OVERSAMPLING if shrink * FINE_ENLARGEMENT <= 1 else OVERSAMPLING
        self._low_pass = LowPass(coarse, oversampling, cutoff)
        margin = math.ceil(self._low_pass.step) + 1
        seen = apply(self._inverse, corners(*size))
        # The pixel (x, y) of the source that positions of samples are relative to.
        self._origin: NDArray[np.int_] = np.floor(seen.min(axis=0)).astype(int) - margin
        extent = float((seen.max(axis=0) + margin - self._origin).max())
        self._block_count = math.ceil(extent / self._low_pass.pixels)

    def needed_part(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """The rows and columns of a picture of ``shape`` that the result depends on."""
        start, stop = self._low_pass.span(0, self._block_count)
        first, last = (self._origin + start).tolist(), (self._origin + stop - 1).tolist()
        parts = []
        for low, high, length in ((first[1], last[1], shape[0]), (first[0], last[0], shape[1])):
            # Pixels that far outside are reflections of pixels that far inside.
            begin = min(max(min(low, 2 * (length - 1) - high), 0), length - 1)
            parts.append(slice(begin, max(min(max(high, -low) + 1, length), 1)))
        return parts[0], parts[1]

    def run(self, image: Tensor, position: tuple[int, int] = (0, 0), *, clipped: bool) -> Tensor:
        """The result (height, width, C). position: the pixel (x, y) of the source that ``image`` begins at."""
        width, height = self._size
        out = image.new_empty((height, width, image.shape[2]))
        fill = self._fill_in_threads if tensors.on_cpu(image) else self._fill_at_once
        with exact_float32(image.device):
            fill(out, image, position, clipped)
        return out

    def _fill_in_threads(self, out: Tensor, image: Tensor, position: tuple[int, int], clipped: bool) -> None:
        weights = torch.from_numpy(self._low_pass.weights())
        free: list[_Scratch] = []

        def fill(area: _Area) -> None:
            tile = self._tile(area, position)
            indices = [None if index is None else torch.from_numpy(index) for index in tile.mirrored(image.shape)]
            scratch = free.pop() if free else _Scratch()
            samples = self._samples(_part(image, tile, indices), tile, weights, scratch)
            _interpolate_exchanged(samples, tile.matrix, out[area], scratch, clipped=clipped)
            free.append(scratch)

        shared_workers().run(fill, _squares(*self._size, _TILE_ON_CPU))

    def _fill_at_once(self, out: Tensor, image: Tensor, position: tuple[int, int], clipped: bool) -> None:
        height, width, channels = out.shape
        allowed = _SAMPLES_ELSEWHERE // (channels * image.element_size())
        tiles = list(self._tiles((slice(0, height), slice(0, width)), position, allowed))
        indices = [tile.mirrored(image.shape) for tile in tiles]
        computed: list[NDArray[np.float32] | NDArray[np.int32]] = [self._low_pass.weights()]
        for tile, mirrored in zip(tiles, indices, strict=True):
            computed += [index for index in mirrored if index is not None]
            computed += _grid_lines(tile.matrix, tile.size, tile.samples)
        there = iter(uploaded_together(computed, image.device))
        weights = next(there)

        def resampled(tile: _Tile, mirrored: Sequence[NDArray[np.int32] | None]) -> Tensor:
            part = _part(image, tile, [None if index is None else next(there) for index in mirrored])
            samples = self._samples(part, tile, weights, _Scratch()).transpose(0, 1)
            return _interpolated(samples, next(there) + next(there))

        for tile, mirrored in zip(tiles, indices, strict=True):
            here = out[tile.rows, tile.columns]
            if clipped:
                torch.clamp(resampled(tile, mirrored), 0, 1, out=here)
            else:
                here.copy_(resampled(tile, mirrored))

    def _samples(self, part: Tensor, tile: _Tile, weights: Tensor, scratch: _Scratch) -> Tensor:
        """The samples (columns, rows, C) of a tile. part: its pixels of the source."""
        # A filter is a matrix product along the first axis. So the axes are exchanged between the two, and the samples
        # of the picture's columns come first.
        samples = self._low_pass.filter(part, weights, scratch.of_rows, tile.vertical)
        samples = _exchanged(samples, scratch.of_columns)
        return self._low_pass.filter(samples, weights, scratch.of_both, tile.horizontal)

    def _tiles(self, area: _Area, position: tuple[int, int], allowed: int) -> Iterator[_Tile]:
        """An area of the result in tiles of at most so many values, unless they are small."""
        tile = self._tile(area, position)
        if tile.values <= allowed or max(tile.size) <= _SMALLEST_TILE_ELSEWHERE:
            yield tile
            return
        longer = 0 if tile.size[1] > tile.size[0] else 1
        start, stop = area[longer].start, area[longer].stop
        middle = (start + stop) // 2
        for half in (slice(start, middle), slice(middle, stop)):
            yield from self._tiles((half, area[1]) if longer == 0 else (area[0], half), position, allowed)

    def _tile(self, area: _Area, position: tuple[int, int]) -> _Tile:
        rows, columns = area
        low_pass = self._low_pass
        (left, right), (top, bottom) = self._blocks(rows, columns)
        x, y = (self._origin - position).tolist()
        (x0, x1), (y0, y1) = low_pass.span(left, right), low_pass.span(top, bottom)
        first = self._origin + np.array([left, top]) * low_pass.pixels
        to_source = compose(translation(*first), scaling(low_pass.step))
        matrix = compose(translation(-columns.start, -rows.start), compose(self._matrix, to_source))
        return _Tile(rows, columns, ((y + y0, y + y1), (x + x0, x + x1)), bottom - top, right - left, matrix)

    def _blocks(self, rows: slice, columns: slice) -> list[tuple[int, int]]:
        """The first and last block of samples that a tile depends on, horizontally and vertically."""
        size = columns.stop - columns.start, rows.stop - rows.start
        seen = apply(self._inverse, corners(*size) + np.array([columns.start, rows.start])) - self._origin
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
    mask = mask[..., None]
    if not tensors.on_cpu(mask):
        rows, columns = uploaded_together(_grid_lines(matrix, size, mask.shape[:2]), mask.device)
        return _interpolated(mask, rows + columns)[..., 0]
    out = mask.new_empty((size[1], size[0], 1))
    _interpolate(mask, matrix, out)
    return out[..., 0]


def reduced(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (H, W), or several (N, H, W), averaged over the area of each of fewer pixels: (height, width)."""
    rows = columns = area_weights(mask.shape[-2], height, mask.device)
    if (mask.shape[-1], width) != (mask.shape[-2], height):
        columns = area_weights(mask.shape[-1], width, mask.device)
    with exact_float32(mask.device):
        return rows @ mask @ columns.T


def _exchanged(x: Tensor, scratch: Scratch) -> Tensor:
    """A picture (H, W, C) with its axes exchanged: (W, H, C)."""
    if not tensors.on_cpu(x):
        return x.transpose(0, 1).contiguous()
    out = scratch.like(x, x.shape[1], x.shape[0], x.shape[2])
    cv2.transpose(x.numpy(), dst=out.numpy())
    return out


def _interpolate_exchanged(samples: Tensor, matrix: Matrix, out: Tensor, scratch: _Scratch, *, clipped: bool) -> None:
    """The same as :func:`_interpolate` with the axes of ``samples`` exchanged. clipped: to [0, 1]."""
    # OpenCV is fast along rows only, and the result has the fewest pixels to exchange the axes of.
    exchanged = scratch.of_result.like(samples, out.shape[1], out.shape[0], out.shape[2])
    _interpolate(samples, np.ascontiguousarray(matrix[::-1, [1, 0, 2]]), exchanged)
    if clipped:
        # While it is in the caches.
        exchanged.clamp_(0, 1)
    cv2.transpose(exchanged.numpy(), dst=out.numpy())


def _interpolate(samples: Tensor, matrix: Matrix, out: Tensor) -> None:
    """Write the linear interpolation of ``samples`` (rows, columns, C) into ``out`` (h, w, C); zero beyond them.

    On the CPU. matrix: 2 x 3, maps samples to pixels of ``out``.
    """
    size = out.shape[1], out.shape[0]
    cv2.warpAffine(samples.numpy(), matrix, size, flags=cv2.INTER_LINEAR, dst=out.numpy())


def _interpolated(samples: Tensor, grid: Tensor) -> Tensor:
    """The same on any device, (h, w, C), at positions (h, w, 2) from :func:`_grid_lines`."""
    # Not F.grid_sample, which may choose cuDNN's: FakeTensorMode, which tests rely on, does not know that.
    sampled = torch.grid_sampler_2d(samples.permute(2, 0, 1)[None], grid[None], _BILINEAR, _ZEROS, align_corners=True)
    return sampled[0].permute(1, 2, 0)


def _grid_lines(matrix: Matrix, size: tuple[int, int], samples: Sequence[int]) -> list[NDArray[np.float32]]:
    """What the rows (h, 1, 2) and the columns (1, w, 2) of a result contribute to the positions of its pixels.

    matrix: maps samples to pixels of the result. size: (width, height) of the result. samples: their rows and columns.
    A position is the sum of both, (x, y) in grid_sample's coordinates: the first sample is at -1, the last at 1.
    """
    scale_x, scale_y = (2 / max(number - 1, 1) for number in (samples[1], samples[0]))
    by_x, by_y, start = (invert(matrix) * [[scale_x], [scale_y]]).T
    rows = np.arange(size[1])[:, None, None] * by_y
    columns = np.arange(size[0])[None, :, None] * by_x + (start - 1)
    return [rows.astype(np.float32), columns.astype(np.float32)]


def _part(image: Tensor, tile: _Tile, mirrored: Sequence[Tensor | None]) -> Tensor:
    """What a tile reads of an image. mirrored: as :meth:`_Tile.mirrored`, on the device."""
    for axis, ((start, stop), index) in enumerate(zip(tile.read, mirrored, strict=True)):
        image = image.narrow(axis, start, stop - start) if index is None else image.index_select(axis, index)
    return image


def _mirrored(start: int, stop: int, length: int) -> NDArray[np.int32] | None:
    """The pixels of a line from ``start`` to before ``stop``, mirrored beyond its ends; None if they lie within it."""
    if start >= 0 and stop <= length:
        return None
    period = max(2 * (length - 1), 1)
    position = np.abs(np.arange(start, stop)) % period
    mirrored = np.minimum(position, period - position) if length > 1 else np.zeros_like(position)
    return mirrored.astype(np.int32)


def _squares(width: int, height: int, edge: int) -> Iterator[_Area]:
    for top in range(0, height, edge):
        for left in range(0, width, edge):
            yield slice(top, min(height, top + edge)), slice(left, min(width, left + edge))

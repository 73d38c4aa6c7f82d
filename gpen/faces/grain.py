"""Grain for restored faces: noise like that of the photo around them, as much as they lack.

What the photo has and the face lacks is made from random phases, octave by octave, with the photo's correlation of the
channels, at the size of the photo's own pixels.
"""

from __future__ import annotations

import functools
import math
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..device import exact_float32
from ..images.tensors import DevicePhoto
from .noise import OCTAVES, Noise, Power, blocks_of, octave_of
from .workers import in_one_thread

_BLOCKS = {32: 224, 16: 48, 8: 16}
"""The size of a block in pixels, and the smallest face that is measured in such blocks; 32 pixels hold all octaves."""
_MOST_AROUND, _MOST_INSIDE = 256, 100
"""The most blocks of the photo around, and of the face."""
_ROUNDING = 1e-4
"""What rounding leaves of a channel that equals another."""
_STEP, _LARGEST = 64, 1024
"""The period of the grain that is made, in pixels: a multiple of the first, and the second at most."""
_SIGNS = 64
"""Values of six random bits: the signs of the real and imaginary parts of three channels."""


def missing_grain(photo: DevicePhoto, rows: slice, columns: slice, colors: Tensor, weights: Tensor) -> Tensor:
    """The grain (h, w, 3), with mean 0, that a restored face needs to look like the photo around it.

    rows, columns: the face's rectangle in the photo. colors: (h, w, 3), [0, 1], the restored face there. weights:
    (h, w), above 0 where it replaces the photo. Nothing else has an effect.
    """
    size = next((size for size, smallest in _BLOCKS.items() if min(weights.shape) >= smallest), None)
    if size is None:
        return torch.zeros_like(colors)
    around, covered = _surroundings(photo, rows, columns, weights)
    seed = _seed(photo.array, rows, columns)

    def make() -> Tensor:
        with exact_float32(colors.device):
            is_outside = blocks_of(covered, size, _MOST_AROUND).amax(dim=(1, 2)) == 0
            is_inside = blocks_of(weights, size, _MOST_INSIDE).amin(dim=(1, 2)) > 0.5
            surroundings = Noise(Power(around, size, _MOST_AROUND), is_outside)
            face = Noise(Power(colors, size, _MOST_INSIDE), is_inside)
            return _made(_factors(surroundings.grain, face.octaves), seed, *weights.shape)

    return in_one_thread(colors.device, make)


def _surroundings(photo: DevicePhoto, rows: slice, columns: slice, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The photo around a rectangle, half as much again on each side, and the weights there."""
    before, after, parts = [], [], []
    for part, length in ((rows, photo.shape[0]), (columns, photo.shape[1])):
        margin = (part.stop - part.start) // 2
        start, stop = max(0, part.start - margin), min(length, part.stop + margin)
        before.append(part.start - start)
        after.append(stop - part.stop)
        parts.append(slice(start, stop))
    padding = (before[1], after[1], before[0], after[0])
    return photo.part(parts[0], parts[1]), F.pad(weights, padding)


def _seed(photo: NDArray[np.float32], rows: slice, columns: slice) -> int:
    """A number for a rectangle of a photo: another one where the pixels differ, as in the next frame of a video."""
    part = photo[rows, columns]
    step = max(1, min(part.shape[:2]) // 32)
    return zlib.crc32(np.ascontiguousarray(part[::step, ::step]).tobytes(), rows.start << 16 ^ columns.start)


def _factors(wanted: Tensor, present: Tensor) -> Tensor:
    """What three independent channels of noise are multiplied by in each octave, (OCTAVES, 3, 3), lower triangular.

    wanted, present: power (OCTAVES, 3, 3). What is missing of each channel is made, with the correlations of what is
    wanted.
    """
    power, own = (octaves.diagonal(dim1=-2, dim2=-1).clamp_min(0) for octaves in (wanted, present))
    missing = (power - own).clamp_min(0).sqrt()
    scale = power.clamp_min(1e-12).rsqrt()
    correlation = (wanted * scale[..., None] * scale[..., None, :]).clamp(-1, 1)
    # The Cholesky decomposition, without a library that waits for the device to say whether it succeeded.
    second, third, both = correlation[:, 1, 0], correlation[:, 2, 0], correlation[:, 2, 1]
    own_second = _remaining(second.square())
    shared = torch.where(own_second > 0, (both - second * third) / own_second.clamp_min(1e-2), 0)
    own_third = _remaining(third.square() + shared.square())
    none, one = torch.zeros_like(second), torch.ones_like(second)
    rows = [(one, none, none), (second, own_second, none), (third, shared, own_third)]
    triangle = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return missing[..., None] * triangle


def _remaining(explained: Tensor) -> Tensor:
    """The part of a channel's deviation that others do not explain; none of a grey photo's, in spite of rounding."""
    rest = 1 - explained
    return torch.where(rest > _ROUNDING, rest.clamp_min(0).sqrt(), 0)


def _made(factors: Tensor, seed: int, height: int, width: int) -> Tensor:
    """Noise (height, width, 3) with these factors in its octaves; it repeats where it is larger than a tile."""
    period = min(-(-max(height, width) // _STEP) * _STEP, _LARGEST)
    bits = np.random.PCG64(seed).random_raw(-(-period * (period // 2 + 1) // 8)).view(np.uint8)
    octaves = _octaves_of_tile(period)
    chosen = octaves.astype(np.int32) * _SIGNS + (bits[: octaves.size] % _SIGNS).reshape(octaves.shape)
    signs = torch.from_numpy(_signs()).to(factors.device)
    outcomes = (factors @ signs).view(OCTAVES, 3, _SIGNS, 2).transpose(1, 2)
    # None below the last octave.
    outcomes = F.pad(outcomes, (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1)
    spectrum = outcomes.index_select(0, torch.from_numpy(chosen.ravel()).to(factors.device))
    spectrum = torch.view_as_complex(spectrum).view(*chosen.shape, 3)
    tile: Tensor = torch.fft.irfft2(spectrum.permute(2, 0, 1), s=(period, period), norm="ortho")
    across = tile.repeat(1, -(-height // period), -(-width // period))
    return across[:, :height, :width].permute(1, 2, 0).contiguous()


@functools.cache
def _octaves_of_tile(period: int) -> NDArray[np.uint8]:
    """The octave of each frequency in the half of a spectrum (period, period / 2 + 1) that a real picture has."""
    cycles = np.hypot(np.fft.fftfreq(period)[:, None], np.fft.rfftfreq(period))
    return octave_of(cycles).astype(np.uint8)


@functools.cache
def _signs() -> NDArray[np.float32]:
    """Complex numbers of absolute value 1 in three channels, for all values of six bits: (3, 2 x 64)."""
    bits = np.arange(_SIGNS)[:, None] >> np.arange(6) & 1
    values = (bits.reshape(_SIGNS, 3, 2) * 2 - 1) / math.sqrt(2)
    return np.asarray(values.transpose(1, 0, 2).reshape(3, -1), np.float32)

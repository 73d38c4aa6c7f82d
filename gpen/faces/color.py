"""Colours of a restored face matched to the photo's: their statistics in CIE L*a*b*, or their low frequencies."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .resampling.resample import reduced

# Linear sRGB to XYZ divided by the white point D65. Source: IEC 61966-2-1.
_TO_XYZ = np.array(
    [
        (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
        (0.212671, 0.715160, 0.072169),
        (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
    ]
)
_FROM_XYZ = np.linalg.inv(_TO_XYZ)
# Source: CIE 15, "Colorimetry": f(t) is a cube root above (6/29)^3 and linear below.
_LIMIT = 6 / 29
_SLOPE = 3 * _LIMIT**2
_OFFSET = 4 / 29
_SMALLEST_SPREAD = 1e-3

WIDEST_DETAIL = 1 / 8
"""As a fraction of the crop: what is wider, about, is low frequency to method "wavelet"."""
_FINEST_GRID = 256
"""The most pixels, along one axis, of the grid that low frequencies are computed on."""


def match_colors(method: str, restored: Tensor, original: Tensor, mask: Tensor) -> Tensor:
    """``restored`` (S, S, 3) with the colours of ``original`` (T, T, 3).

    method: "none", "lab" or "wavelet", which option "color_match" chooses among. mask: a square of any size, weighs the
    pixels for "lab". All [0, 1], on one device.
    """
    if method == "lab":
        return _with_statistics_of(restored, original, mask)
    return _with_low_frequencies_of(restored, original) if method == "wavelet" else restored


def _with_statistics_of(restored: Tensor, original: Tensor, mask: Tensor) -> Tensor:
    """``restored`` with the mean and standard deviation of the original's colours in Lab.

    Source: Reinhard et al., "Color Transfer between Images", 2001.
    """
    source, target = lab_of_rgb(restored), lab_of_rgb(original)
    mean, spread = _statistics(source, mask)
    wanted_mean, wanted_spread = _statistics(target, mask)
    factor = wanted_spread / spread.clamp_min(_SMALLEST_SPREAD)
    return rgb_of_lab((source - mean) * factor + wanted_mean).clamp(0, 1)


def _with_low_frequencies_of(restored: Tensor, original: Tensor) -> Tensor:
    """The original's low frequencies under the restored face's detail.

    Both are parts of an à trous wavelet decomposition with the filter (1, 2, 1) / 4, and what remains of the original
    after n levels replaces what remains of the restored face. In a crop of 512 pixels that is a blur with a standard
    deviation of 13 pixels, and in proportion in others. A blur has no detail to lose, so it is computed on a grid of at
    most 256 pixels.
    Source: Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", 2023 (StableSR), 5 levels.
    """
    size = len(restored)
    grid = min(_FINEST_GRID, size, len(original))
    shift = _on_grid(original, grid) - _on_grid(restored, grid)
    shift = blurred(shift, max(1, round(math.log2(grid * WIDEST_DETAIL)) - 1))
    if grid < size:
        shift = F.interpolate(shift[None], (size, size), mode="bilinear")[0]
    return (restored + shift.permute(1, 2, 0)).clamp_(0, 1)


def _on_grid(picture: Tensor, size: int) -> Tensor:
    """A square picture (S, S, 3) averaged over the pixels of a grid that is not finer: (3, size, size)."""
    channels = picture.permute(2, 0, 1)
    return channels if size == len(picture) else reduced(channels, size, size)


def blurred(channels: Tensor, levels: int) -> Tensor:
    """Channels (N, H, W) after some levels of an à trous decomposition with the filter (1, 2, 1) / 4.

    A blur with a variance of (4^levels - 1) / 6 pixels squared.
    """
    for level in range(levels):
        channels = _smoothed(_smoothed(channels, 2**level).mT, 2**level).mT
    return channels


def _smoothed(channels: Tensor, step: int) -> Tensor:
    """(N, H, W) with each row filtered by (1, 2, 1) / 4, whose taps are ``step`` pixels apart."""
    padded = F.pad(channels[None], (step, step, 0, 0), mode="replicate")[0]
    width = channels.shape[2]
    return (padded[..., :width] + padded[..., 2 * step :]).mul_(0.25).add_(channels, alpha=0.5)


def lab_of_rgb(rgb: Tensor) -> Tensor:
    """sRGB (H, W, 3), [0, 1], in L*a*b* of D65: L* from 0 to 100."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    xyz = _multiplied(linear, _TO_XYZ)
    f = torch.where(xyz > _LIMIT**3, xyz.clamp_min(_LIMIT**3) ** (1 / 3), xyz / _SLOPE + _OFFSET)
    x, y, z = f.unbind(dim=2)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=2)


def rgb_of_lab(lab: Tensor) -> Tensor:
    """The inverse of :func:`lab_of_rgb`; colours that sRGB does not hold lie below 0 or above 1."""
    lightness, a, b = lab.unbind(dim=2)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=2)
    xyz = torch.where(f > _LIMIT, f**3, _SLOPE * (f - _OFFSET))
    linear = _multiplied(xyz, _FROM_XYZ)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def _multiplied(colors: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    """Each colour (H, W, 3) times the matrix, without a matrix product, which some hosts round."""
    first, second, third = colors.unbind(dim=2)
    return torch.stack([row[0] * first + row[1] * second + row[2] * third for row in matrix.tolist()], dim=2)


def _statistics(lab: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation (3,) of the colours, weighed by the mask."""
    weights = _resized(mask, lab.shape[0])[..., None]
    total = weights.sum().clamp_min(1e-6)
    mean = (lab * weights).sum(dim=(0, 1)) / total
    spread = (((lab - mean).square() * weights).sum(dim=(0, 1)) / total).sqrt()
    return mean, spread


def _resized(mask: Tensor, size: int) -> Tensor:
    if size == len(mask):
        return mask
    if size < len(mask):
        return reduced(mask, size, size)
    return F.interpolate(mask[None, None], (size, size), mode="bilinear")[0, 0]

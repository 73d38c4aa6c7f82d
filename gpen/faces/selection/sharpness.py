"""How sharp a face is at the size at which networks look at it, measured from its pixels alone.

The close-up is split into three bands of detail by the starlet transform (Starck, Murtagh and Fadili, "Sparse Image
and Signal Processing", 2010, chapter 3). Blur takes energy from the finest band; so does a face of few pixels, which is
enlarged to be cropped. Noise spreads its energy evenly, where detail lies along edges, and its level is estimated as in
Immerkær, "Fast noise variance estimation", 1996. JPEG leaves edges but takes the texture between them. A face is as
sharp as the worst of these says.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS, _COLUMNS = slice(24, 176), slice(20, 172)
"""The part of the close-up with the features: what is behind a head may be out of focus."""
_BLOCK = 8
"""Edge of the blocks whose energies are compared, in pixels; it divides the part's."""
_STEPS = (1, 2, 4)
_MARGIN = 2 * sum(_STEPS)
"""Pixels that the filters reach beyond the part."""
_NOISE_TO_DEVIATION = 1 / (6 * 0.6745)
"""From the median of the noise filter's magnitudes to the standard deviation of Gaussian noise."""
_TINY = 3e-4
"""Below the rounding errors of 8 bits, so that empty bands can be compared."""

_BORDERS = ((-1.77, 0.58), (0.23, 0.37), (-2.11, 0.43), (0.76, 0.56))
"""For each of the four measures, where portraits at full quality end and degraded ones begin, and how far 80 % of the
former stray from their median, which is 1.75 times as far above the border."""
_SLOPE = 2.0
"""Of the logistic function of the worst measure, per unit of straying."""


def sharpness(crops: Tensor) -> Tensor:
    """The sharpness of each face, 0 to 1: 0.5 on the border between portraits at full quality and degraded ones.

    crops: (N, 192, 192), the luma of close-ups, as :mod:`.close_up` measures it. Returns (N,), on their device.
    """
    rows, columns = (slice(part.start - _MARGIN, part.stop + _MARGIN) for part in (_ROWS, _COLUMNS))
    seen = crops[:, rows, columns]
    bands, smooth = [], seen
    for step in _STEPS:
        rest = _smoothed(smooth, step)
        bands.append(_inner(smooth) - _inner(rest))
        smooth = rest
    fine, coarse = _block_energies(bands[0]), _block_energies(bands[2])
    noise = _NOISE_TO_DEVIATION * _noise_filtered(seen).abs().flatten(1).median(dim=1).values + _TINY
    fine_energy, coarse_energy = fine.mean(dim=1), coarse.mean(dim=1)
    measures = (
        (fine_energy / coarse_energy).log(),
        fine_energy.log() - fine.log().mean(dim=1),
        (noise / fine_energy.sqrt()).log(),
        (coarse_energy.sqrt() / noise).log(),
    )
    above = [(measure - border) / straying for measure, (border, straying) in zip(measures, _BORDERS, strict=True)]
    return torch.sigmoid(_SLOPE * torch.stack(above).amin(dim=0))


def _smoothed(pictures: Tensor, step: int) -> Tensor:
    """Pictures (N, H, W) filtered with the B3 spline, whose taps are ``step`` apart, where it fits into them."""
    for axis in (1, 2):
        length = pictures.shape[axis] - 4 * step
        taps = [pictures.narrow(axis, tap * step, length) for tap in range(5)]
        pictures = (taps[0] + taps[4] + 4 * (taps[1] + taps[3]) + 6 * taps[2]) / 16
    return pictures


def _noise_filtered(pictures: Tensor) -> Tensor:
    """The inner part of pictures (N, H, W), filtered with the product of two second differences."""
    for axis in (1, 2):
        length = pictures.shape[axis] - 2
        left, middle, right = (pictures.narrow(axis, tap, length) for tap in range(3))
        pictures = left - 2 * middle + right
    return _inner(pictures)


def _inner(pictures: Tensor) -> Tensor:
    """The part with the features, of pictures (N, H, W) with an equal margin on all sides."""
    size = _ROWS.stop - _ROWS.start
    margin = (pictures.shape[1] - size) // 2
    return pictures[:, margin : margin + size, margin : margin + size]


def _block_energies(band: Tensor) -> Tensor:
    """(N, blocks): the mean square of each block of a band (N, H, W)."""
    number, size = len(band), band.shape[1] // _BLOCK
    blocks = band.square().reshape(number, size, _BLOCK, size, _BLOCK)
    return blocks.mean(dim=(2, 4)).flatten(1) + _TINY**2

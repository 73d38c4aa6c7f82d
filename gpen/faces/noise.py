"""Noise of a picture, told from its edges and texture.

The picture is cut into small blocks, whose discrete cosine transforms say how much power there is in each octave of
spatial frequency. Edges and texture differ from block to block, noise does not: the blocks that count are the flattest,
and those that are as flat as these, to within what chance does to noise. Where the flattest blocks do not agree with
one another, what they hold is texture.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

OCTAVES = 4
"""Octaves of spatial frequency: the first from 1/4 cycle per pixel up, the last from 1/32 to 1/16."""
_FLATTEST = 0.05
"""The share of the blocks that are taken for flat at first."""
_FEWEST = 8
"""Blocks that have to agree."""
_TOLERANCE = 0.25
"""How much more power than the flattest others may have, besides chance: grain depends on brightness."""
_BY_CHANCE = 3.0
"""The same, in standard deviations of noise."""
_MOST_SPREAD = (0.15, 0.3)
"""Standard deviation of the logarithms of the flattest blocks' power from which it fades, and where it is texture."""
_FAINTEST = (0.4 / 255, 0.8 / 255)
"""Standard deviation below which it is rounding to 8 bits, for instance, and from which all of it counts."""
_STRONGEST = (16 / 255, 24 / 255)
"""Standard deviation from which it fades, and where it is lawn or gravel."""
_STEEP = (2.0, 4.0)
"""Power per frequency in the second octave, relative to the first, from which it may be texture."""
_STEEPER = (1.3, 2.0)
"""The same in the third octave, relative to the most that noise has."""
_LEVELLING = (0.0, 0.0, 0.35, 0.25)
"""The growth of the power of blurred noise from an octave to the next, as a power of that before."""
_DEPENDENCE = 1.5
"""Channels of noise that vary on their own: between 1 for grey and 3."""
_EXTREME = 0.5 / 255
"""Values this close to 0 or 1 are clipped, and so is their noise."""
_UNEVEN = 1.05
"""What averaging over an octave adds to growth, at most."""
_AREAS = np.array([1 - math.pi / 16, *(math.pi / 4**k * (1 / 4 - 1 / 16) for k in range(1, OCTAVES))], dtype=np.float32)
"""The share of each octave in the power of white noise."""
_FINE = 256
"""Frequencies, along one axis, that spectra of noise are described with."""


def blocks_of(picture: Tensor, size: int, most: int) -> Tensor:
    """At most so many blocks of a picture (H, W) or (H, W, 3), evenly spread: (N, size, size) or (N, 3, size, size)."""
    height, width = picture.shape[:2]
    step = max(size // 2, math.ceil(math.sqrt(height * width / most)))
    blocks = picture.unfold(0, size, step).unfold(1, size, step)
    return blocks.flatten(0, 1)


class Power:
    """The power in each octave of the blocks of a picture (H, W, 3)."""

    def __init__(self, picture: Tensor, size: int, most: int) -> None:
        blocks = blocks_of(picture, size, most)
        some = blocks[..., ::2, ::2]
        self.is_clipped = ((some - 0.5).abs() >= 0.5 - _EXTREME).float().mean(dim=(2, 3)).amax(dim=1) > 0.01
        """(N,): whether more than a hundredth of the block is black or white in a channel."""
        basis = torch.from_numpy(_basis(size)).to(picture.device)
        spectrum = ((blocks @ basis.T).mT @ basis.T).flatten(2)
        octaves = torch.from_numpy(_octaves_of_block(size)).to(picture.device)
        self.frequencies = octaves.sum(dim=1)
        """(K,): how many there are in each octave, the highest ones first."""
        self.unmixing = torch.from_numpy(_unmixing(size)).to(picture.device)
        """(K, K): power of noise in each octave, given that of blocks, into whose octaves the edges of blocks spill."""
        mean = octaves / self.frequencies[:, None]
        self.products = ((spectrum[:, :, None] * spectrum[:, None]) @ mean.T).permute(0, 3, 1, 2)
        """(N, K, 3, 3): the power per frequency of each channel, and what channels have in common."""

    @property
    def totals(self) -> Tensor:
        """(N, K): the power of the channels together."""
        return _total(self.products)


@functools.cache
def _basis(size: int) -> NDArray[np.float32]:
    """The discrete cosine transform (size, size); all but the first two functions are blind to a slope."""
    x = np.arange(size) + 0.5
    basis = np.cos(np.pi / size * np.arange(size)[:, None] * x)
    slope = x - size / 2
    slope /= np.linalg.norm(slope)
    basis[2:] -= (basis[2:] @ slope)[:, None] * slope
    return np.asarray(basis / np.linalg.norm(basis, axis=1, keepdims=True), np.float32)


@functools.cache
def _octaves_of_block(size: int) -> NDArray[np.float32]:
    """1 for the frequencies of each octave that a block has, the highest first: (K, size x size)."""
    octave = octave_of(np.hypot(np.arange(size)[:, None], np.arange(size)) / (2 * size)).ravel()
    return np.asarray(octave == np.arange(round(math.log2(size)) - 1)[:, None], np.float32)


def octave_of(cycles: NDArray[np.float64]) -> NDArray[np.int64]:
    """The octave of each frequency, in cycles per pixel; OCTAVES for those below all."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.floor(-1 - np.log2(cycles)), 0, OCTAVES), np.int64)


@functools.cache
def _unmixing(size: int) -> NDArray[np.float32]:
    """(K, K): the power of noise in the octaves of a block, given what blocks of this size show of it.

    A cosine cut off at the edges of a block answers to other frequencies as well. How much is computed for spectra that
    rise and fall linearly between the middles of octaves.
    """
    basis, octaves = _basis(size).astype(np.float64), _octaves_of_block(size)
    cycles = np.fft.fftfreq(_FINE)
    radius = np.hypot(cycles[:, None], cycles)
    response = np.abs(np.fft.fft(basis, _FINE, axis=1)) ** 2 / _FINE
    with np.errstate(divide="ignore"):
        position = np.clip(-1.5 - np.log2(radius), 0, len(octaves) - 1)
    shown, true = [], []
    for k in range(len(octaves)):
        spectrum = np.clip(1 - np.abs(position - k), 0, None)
        seen = (response @ spectrum @ response.T).ravel()
        shown.append(octaves @ seen / octaves.sum(axis=1))
        true.append([spectrum[octave_of(radius) == octave].mean() for octave in range(len(octaves))])
    return np.asarray(np.linalg.solve(np.array(shown), np.array(true)).T, np.float32)


def _total(products: Tensor) -> Tensor:
    return products.diagonal(dim1=-2, dim2=-1).sum(dim=-1)


class Noise:
    """The power of the flattest of the valid blocks (N,): noise, if there is any."""

    def __init__(self, power: Power, is_valid: Tensor) -> None:
        is_valid = is_valid & ~power.is_clipped
        totals = power.totals.clamp_min(1e-12)
        ordered = torch.where(is_valid[:, None], totals, torch.inf).sort(dim=0).values
        by_chance = (2 / (_DEPENDENCE * power.frequencies)).sqrt()
        first = (_FLATTEST * is_valid.sum()).long()
        level = ordered.index_select(0, first[None])[0]
        for tolerance in (_TOLERANCE, 0.0):
            limit = level * (1 + tolerance + _BY_CHANCE * by_chance)
            # Octaves of few frequencies vary so much that they say little about a block.
            is_flat = is_valid & (totals <= limit)[:, :2].all(dim=1)
            self.number = is_flat.sum()
            """How many blocks are flat."""
            level = (totals * is_flat[:, None]).sum(dim=0) / self.number.clamp_min(1)
        self.spread = _spread(ordered[:, 0], first.clamp_min(_FEWEST))
        """Standard deviation of the logarithms of the flattest blocks' power in the highest octave."""
        products = (power.products * is_flat[:, None, None, None]).sum(dim=0) / self.number.clamp_min(1)
        # Shading weighs on the mean, and most where there are few frequencies, but not on what is smaller than most.
        ordered = torch.where(is_flat[:, None], totals, torch.inf).sort(dim=0).values
        quarter = ordered.index_select(0, (self.number // 4)[None])[0]
        shares = quarter / (_quartile(products, power.frequencies) * level).clamp_min(1e-12)
        products = (products * shares.clamp_max(1)[:, None, None]).flatten(1)
        self.measured = (power.unmixing @ products).view(-1, 3, 3)
        """(K, 3, 3): the power per frequency in each octave that the blocks have."""

    @property
    def octaves(self) -> Tensor:
        """(OCTAVES, 3, 3): the power per frequency in each octave, without shading."""
        octaves = [self.measured[0], self.measured[1]]
        for k in range(2, OCTAVES):
            limit = _growth(octaves, k) * _total(octaves[-1])
            known = self.measured[min(k, len(self.measured) - 1)]
            share = limit / _total(known).clamp_min(1e-12)
            octaves.append(known * (share.clamp_max(1) if k < len(self.measured) else share))
        return torch.stack(octaves)

    @property
    def grain(self) -> Tensor:
        """The same, 0 where this is not grain but texture, rounding, or what chance left of a few blocks."""
        octaves, measured = self.octaves, self.measured
        agree = _rising(self.number, _FEWEST / 2, _FEWEST) * _falling(self.spread, *_MOST_SPREAD)
        seen = _rising(_deviation(octaves), *_FAINTEST) * _falling(_deviation(measured), *_STRONGEST)
        return octaves * agree * seen * self._is_no_texture

    @property
    def _is_no_texture(self) -> Tensor:
        """From 0 to 1; 0 where the power grows from the first octave to the third as that of pictures does."""
        totals = _total(self.measured).clamp_min(1e-12)
        if len(totals) < 3:
            return torch.ones_like(totals[0])
        limit = _growth([*self.measured[:2]], 2) * totals[1]
        return 1 - _rising(totals[1] / totals[0], *_STEEP) * _rising(totals[2] / limit, *_STEEPER)


def _deviation(octaves: Tensor) -> Tensor:
    """The standard deviation of a channel, given the power per frequency (K, 3, 3)."""
    areas = torch.from_numpy(_AREAS[: len(octaves)]).to(octaves.device)
    return (_total(octaves) / 3 * areas).sum().sqrt()


def _growth(octaves: list[Tensor], k: int) -> Tensor:
    """How much more power per frequency noise has in octave ``k``, at most, than in that above, the last of these.

    Towards low frequencies the power of noise levels off, as if it was blurred by a Gaussian, while that of pictures
    goes on growing.
    """
    above, nearest = (_total(octave).clamp_min(1e-12) for octave in octaves[-2:])
    ratio = nearest / above
    return torch.where(ratio > 1, _UNEVEN * ratio ** _LEVELLING[k], ratio)


def _quartile(products: Tensor, frequencies: Tensor) -> Tensor:
    """The lower quartile (K,) of the power of noise in blocks, relative to its mean.

    products: (K, 3, 3), what channels have in common: the more, the fewer values does the power consist of.
    Source: Wilson and Hilferty, "The Distribution of Chi-Square", 1931.
    """
    independent = _total(products).square() / products.square().sum(dim=(1, 2)).clamp_min(1e-24)
    variance = 2 / (9 * frequencies * independent.clamp(1, 3))
    return (1 - variance - 0.6745 * variance.sqrt()) ** 3


def _spread(ordered: Tensor, first: Tensor) -> Tensor:
    """The standard deviation of the logarithms of the first of these (N,)."""
    is_counted = (torch.arange(len(ordered), device=ordered.device) < first) & ordered.isfinite()
    logs = torch.where(is_counted, ordered.log(), 0)
    number = is_counted.sum().clamp_min(1)
    return (torch.where(is_counted, (logs - logs.sum() / number).square(), 0).sum() / number).sqrt()


def _rising(x: Tensor, start: float, stop: float) -> Tensor:
    """0 up to ``start``, 1 from ``stop`` on."""
    return ((x - start) / (stop - start)).clamp(0, 1)


def _falling(x: Tensor, start: float, stop: float) -> Tensor:
    """1 up to ``start``, 0 from ``stop`` on."""
    return 1 - _rising(x, start, stop)

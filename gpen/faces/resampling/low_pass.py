"""The low-pass filter in front of interpolation: a Kaiser-windowed sinc, as banded matrix products.

It removes the frequencies that the coarser of source and result cannot hold, and takes more samples than that grid has
pixels, close enough together for linear interpolation. Linear interpolation also attenuates: a sine of f cycles per
sample by sinc(f)^2. The filter amplifies by the inverse, so that what is left of the interpolation's error are images
of the spectrum, 6 % at the Nyquist limit of the coarser grid for :data:`.resample.OVERSAMPLING` samples per
pixel, and 1 % at half of it.

A filter cannot fall from 1 to 0 at the Nyquist limit itself, so what lies just below it would be lost twice, on the way
to a larger crop and on the way back. Therefore a crop that is larger than its part of the photo also gets the images
just above the limit, as far as it can hold them (:func:`cutoff_of_crop`): 1 - f is the image of f, and the filter on
the way back, which halves both near the limit, folds one onto the other.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...images import tensors

CUTOFF = 0.504
"""The cutoff frequency, in cycles per pixel of the coarser grid; the Nyquist limit is 0.5."""
_CUTOFF_OF_CROP = 0.52, 0.54
"""The same for a crop at the photo's resolution, and for one that holds all images the filter back can let through."""
HALF_WIDTH = 12.0
"""The kernel's reach to either side, in pixels of the coarser grid."""
KAISER_BETA = 5.0
"""The shape of the kernel's window."""
BLOCK = 24
"""Samples per matrix product: with more, a larger share of the weights is zero; with fewer, products are too small."""

_KERNEL_POINTS = 1 << 14
_FREQUENCIES = 64
"""Nodes of a quadrature that is exact to float64 for the 13 periods that the kernel has at most."""


def cutoff_of_crop(enlargement: float) -> float:
    """The cutoff frequency for a crop that has so many pixels per pixel of its part of the photo."""
    if enlargement < 1:
        return CUTOFF
    smallest, largest = _CUTOFF_OF_CROP
    # Half as steep as the Nyquist limit of the crop: what it cannot hold any more would be aliased.
    return min(smallest + (enlargement - 1) / 4, largest)


class Scratch:
    """Memory on the CPU that results are computed in, and that the next result overwrites."""

    def __init__(self) -> None:
        self._memory = _new_memory(0)

    def like(self, x: Tensor, *shape: int) -> Tensor:
        """The memory, or the beginning of it, in this shape; new memory on other devices, for pictures like ``x``."""
        if not tensors.on_cpu(x):
            return x.new_empty(shape)
        size = math.prod(shape)
        if self._memory.numel() < size:
            self._memory = _new_memory(size)
        return self._memory[:size].view(shape)


def _new_memory(numel: int) -> Tensor:
    # Whatever PyTorch's defaults are.
    return torch.empty(numel, dtype=torch.float32, device="cpu")


class LowPass:
    """Samples of a picture along one axis, at (k + 1/2) ``step`` - 1/2 pixels for k = 0, 1, ...

    They are computed in blocks of :data:`BLOCK`. Block b depends on ``taps`` pixels from ``start + b * pixels`` on, and
    ``start`` is negative. As ``pixels`` is an integer, all blocks have the same weights.

    coarse: pixels of the picture per pixel of the coarser grid, at least 1. oversampling: at least so many samples per
    pixel of that grid. cutoff: in cycles per pixel of that grid.
    """

    def __init__(self, coarse: float, oversampling: int, cutoff: float = CUTOFF) -> None:
        self._coarse = coarse
        self._cutoff = cutoff
        self.pixels = math.floor(coarse * BLOCK / oversampling)
        """Pixels per block."""
        self.step = self.pixels / BLOCK
        first, last = (0.5 * self.step - 0.5 + k * self.step for k in (0, BLOCK - 1))
        self.start = math.ceil(first - HALF_WIDTH * coarse)
        self.taps = math.floor(last + HALF_WIDTH * coarse) + 1 - self.start

    def weights(self) -> NDArray[np.float32]:
        """What :meth:`filter` multiplies by, (BLOCK, taps)."""
        positions = (np.arange(BLOCK) + 0.5) * self.step - 0.5
        pixels = self.start + np.arange(self.taps)
        kernel = _kernel_table(round(self._cutoff, 3), round(self._coarse / self.step, 2))
        weights = _at((pixels - positions[:, None]) / self._coarse, *kernel)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights.astype(np.float32)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The pixels, from the first up to but not including the last, that blocks ``first`` to ``last`` depend on."""
        return self.start + first * self.pixels, self.start + (last - 1) * self.pixels + self.taps

    def filter(self, x: Tensor, weights: Tensor, scratch: Scratch, blocks: int) -> Tensor:
        """Filter the first axis of (pixels, N, C): the samples of some blocks, (samples, N, C).

        x: the pixels of :meth:`span`. weights: those of :meth:`weights`, on the device of ``x``. scratch: where the
        result is, on a CPU.
        """
        out = scratch.like(x, blocks * BLOCK, *x.shape[1:])
        pixels = x.flatten(1).unfold(0, self.taps, self.pixels).mT
        torch.bmm(weights.expand(blocks, -1, -1), pixels, out=out.view(blocks, BLOCK, -1))
        return out


def _at(x: NDArray[np.float64], values: NDArray[np.float64], slopes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel of a table at ``x`` pixels of the coarser grid from its centre."""
    position = np.abs(x) * (_KERNEL_POINTS / HALF_WIDTH)
    np.minimum(position, _KERNEL_POINTS, out=position)
    before = position.astype(np.intp)
    position -= before
    return np.asarray(values[before] + position * slopes[before])


@functools.cache
def _kernel_table(cutoff: float, oversampling: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One side of the kernel, and the differences between its values: fine enough for linear interpolation."""
    x = np.linspace(0, HALF_WIDTH, _KERNEL_POINTS + 1)
    window = np.i0(KAISER_BETA * np.sqrt(1 - (x / HALF_WIDTH) ** 2))
    window[-1] = 0  # and beyond
    # The inverse Fourier transform of the passband, each frequency amplified by what interpolation will take.
    nodes, shares = np.polynomial.legendre.leggauss(_FREQUENCIES)
    frequencies = cutoff * (nodes + 1) / 2
    gains = np.sinc(frequencies / oversampling) ** -2
    # Not a product of matrices, whose last digits may depend on the number of threads.
    values = (np.cos(2 * np.pi * np.outer(x, frequencies)) * (gains * shares)).sum(axis=1) * window
    values /= values[0]
    return values, np.diff(values, append=0)

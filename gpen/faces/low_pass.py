"""The low-pass filter in front of interpolation: a Kaiser-windowed sinc, as banded matrix products.

It removes the frequencies that the coarser of source and result cannot hold, and takes more samples than that grid has
pixels, close enough together for linear interpolation. Linear interpolation also attenuates: a sine of f cycles per
sample by sinc(f)^2. The filter amplifies by the inverse, so that what is left of the interpolation's error are images
of the spectrum, 6 % at the Nyquist limit of the coarser grid for :data:`gpen.faces.resample.OVERSAMPLING` samples per
pixel, and 1 % at half of it.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import tensors

CUTOFF = 0.49
"""The cutoff frequency, in cycles per pixel of the coarser grid; the Nyquist limit is 0.5."""
HALF_WIDTH = 8.0
"""The kernel's reach to either side, in pixels of the coarser grid."""
KAISER_BETA = 5.0
"""The shape of the kernel's window."""
BLOCK = 24
"""Samples per matrix product: with more, a larger share of the weights is zero; with fewer, products are too small."""

_KERNEL_POINTS = 1 << 14
_FREQUENCIES = 1 << 10


class Scratch:
    """Memory on the CPU that results are computed in, and that the next result overwrites."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def like(self, x: Tensor, *shape: int) -> Tensor:
        """The memory, or the beginning of it, in this shape; new memory on other devices, for pictures like ``x``."""
        if not tensors.on_cpu(x):
            return x.new_empty(shape)
        size = math.prod(shape)
        if self._memory.numel() < size:
            self._memory = torch.empty(size)
        return self._memory[:size].view(shape)


class LowPass:
    """Samples of a picture along one axis, at (k + 1/2) ``step`` - 1/2 pixels for k = 0, 1, ...

    They are computed in blocks of :data:`BLOCK`. Block b depends on ``taps`` pixels from ``start + b * pixels`` on, and
    ``start`` is negative. As ``pixels`` is an integer, all blocks have the same weights.

    coarse: pixels of the picture per pixel of the coarser grid, at least 1. oversampling: at least so many samples per
    pixel of that grid.
    """

    def __init__(self, coarse: float, oversampling: int) -> None:
        self._coarse = coarse
        self._oversampling = oversampling
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
        weights = _kernel((pixels - positions[:, None]) / self._coarse, self._oversampling)
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


def _kernel(x: NDArray[np.float64], oversampling: int) -> NDArray[np.float64]:
    """The kernel at ``x`` pixels of the coarser grid from its centre."""
    values, slopes = _kernel_table(oversampling)
    position = np.abs(x) * (_KERNEL_POINTS / HALF_WIDTH)
    np.minimum(position, _KERNEL_POINTS, out=position)
    before = position.astype(np.intp)
    position -= before
    return np.asarray(values[before] + position * slopes[before])


@functools.cache
def _kernel_table(oversampling: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One side of the kernel, and the differences between its values: fine enough for linear interpolation."""
    x = np.linspace(0, HALF_WIDTH, _KERNEL_POINTS + 1)
    window = np.i0(KAISER_BETA * np.sqrt(1 - (x / HALF_WIDTH) ** 2))
    window[-1] = 0  # and beyond
    # The inverse Fourier transform of the passband, each frequency amplified by what interpolation will take.
    edges = np.linspace(0, CUTOFF, _FREQUENCIES + 1)
    frequencies = (edges[1:] + edges[:-1]) / 2
    gains = np.sinc(frequencies / oversampling) ** -2
    values = sum(gain * np.cos(2 * np.pi * f * x) for f, gain in zip(frequencies, gains, strict=True)) * window
    values = np.asarray(values / values[0])
    return values, np.diff(values, append=0)

"""StyleGAN2's styled convolution in GPEN's variant: with the encoder's map where StyleGAN2 adds noise.

Styles and demodulation are computed in float32 whatever the network's precision: float16 cannot hold the
squares that they sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fir, winograd
from .layers import EPSILON, LEAKY_GAIN, LEAKY_SLOPE, Bias, EqualizedLinear, Kernel, parameter

KERNEL_SIZE = 3

WINOGRAD_PIXELS = 64 * 64
"""Pixels of the smallest map that is convolved by Winograd's method: for smaller ones, reading the transformed weights
costs more than the method saves."""


@dataclass(frozen=True, eq=False)
class Modulated:
    """The weights of a modulated convolution for one style, or for the styles of a batch."""

    weight: Tensor
    """(out, in, 3, 3), or (16, in, out) for Winograd's method."""
    before: Tensor | None = None
    """Factors of the input channels (N, in, 1, 1); None if they are part of the weight."""
    after: Tensor | None = None
    """Factors of the output channels (N, out, 1, 1); None if they are part of the weight."""


class _Derived:
    """A tensor that is computed from a weight and cached until the weight changes."""

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        self._compute = compute
        self._cache: tuple[Tensor, tuple[int, int], Tensor] | None = None

    def of(self, weight: Tensor) -> Tensor:
        if weight.is_inference():
            # Inference tensors have no version counter.
            return self._compute(weight)
        cache, state = self._cache, (weight.data_ptr(), weight._version)
        if cache is not None and cache[0] is weight and cache[1] == state:
            return cache[2]
        derived = self._compute(weight)
        self._cache = (weight, state, derived)
        return derived

    @property
    def cached(self) -> list[Tensor]:
        """The cached tensor, if any."""
        return [] if self._cache is None else [self._cache[2]]

    def forget(self) -> None:
        self._cache = None


class _ModulatedConv(nn.Module):
    """3 x 3 convolution whose input channels are scaled by the style, and whose outputs are demodulated."""

    BLUR_PADDING = 1

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, upsample: bool) -> None:
        super().__init__()
        self.weight = parameter(1, out_channels, in_channels, KERNEL_SIZE, KERNEL_SIZE)
        self.modulation = EqualizedLinear(style_dim, in_channels)
        self.scale = 1 / math.sqrt(in_channels * KERNEL_SIZE**2)
        self.upsamples = upsample
        if upsample:
            self.blur = Kernel(gain=4.0)
        self._energy = _Derived(_energy)
        self._transformed = _Derived(_transformed)

    def modulate(self, style: Tensor, pixels: int, gain: float) -> Modulated:
        """Modulation, demodulation and ``gain`` for inputs of ``pixels`` pixels; style: float32 (N, style_dim)."""
        weight = self.weight[0]
        modulation = self.modulation(style) * self.scale
        demodulation = gain * torch.rsqrt(modulation.square() @ self._energy.of(self.weight).T + EPSILON)
        if len(style) == 1 and weight.shape[1] * pixels > weight.numel():
            factors = demodulation.T * modulation
            return Modulated((weight * factors[:, :, None, None]).to(weight.dtype))
        # Scaling the input channels by the style and the output channels by the demodulation equals scaling the weight.
        # It costs less for small maps, and one weight serves a batch of styles. The largest factor is limited to that
        # of the equalisation: the raw weights are of magnitude 1, and their sums have to fit into float16.
        largest = modulation.abs().amax(dim=1, keepdim=True).clamp_min(EPSILON)
        before = (modulation / largest * self.scale)[:, :, None, None].to(weight.dtype)
        after = (demodulation * largest / self.scale)[:, :, None, None].to(weight.dtype)
        alone_on_cpu = len(style) == 1 and weight.device.type == "cpu" and weight.dtype == torch.float32
        if alone_on_cpu and not self.upsamples and pixels >= WINOGRAD_PIXELS:
            weight = self._transformed.of(self.weight)
        return Modulated(weight, before, after)

    def convolve(self, x: Tensor, modulated: Modulated, bias: Tensor | None) -> Tensor:
        """Convolve (N, in, H + 2, W), whose rows are already padded, to (N, out, H, W)."""
        if modulated.before is not None:
            x = x * modulated.before
        if modulated.weight.dim() == 3:
            return winograd.convolve(x, modulated.weight)
        return F.conv2d(x, modulated.weight, bias, padding=(0, 1))

    def upsample(self, x: Tensor, modulated: Modulated, bias: Tensor | None, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of (N, out, 2 H, 2 W), from (N, in, H, W) by convolution and filter."""
        height = x.shape[2]
        spread = 2 * height + 1
        begin, end = fir.rows_to_blur(start, stop, spread, self.BLUR_PADDING)
        # Row i of the input reaches rows 2 i to 2 i + 2 of the transposed convolution.
        first, last = max(0, (begin - 1) // 2), min(height, (end + 1) // 2)
        x = x[:, :, first:last]
        if modulated.before is not None:
            x = x * modulated.before
        x = F.conv_transpose2d(x, modulated.weight.transpose(0, 1), stride=2)
        kernel, wanted = self.blur.kernel, (start, stop)
        return fir.blur(x, kernel, self.BLUR_PADDING, bias, first=2 * first, height=spread, rows=wanted)

    def derived(self) -> list[Tensor]:
        """Tensors that are cached along with the weight."""
        return self._energy.cached + self._transformed.cached

    def _apply(self, *args: Any, **kwargs: Any) -> _ModulatedConv:
        # Called when the network is moved or converted.
        self._energy.forget()
        self._transformed.forget()
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call, no-any-return]


def _energy(weight: Tensor) -> Tensor:
    """The sum of squares of each kernel in (1, out, in, 3, 3): float32 (out, in)."""
    norm: Tensor = torch.linalg.vector_norm(weight[0], dim=(2, 3), dtype=torch.float32)
    return norm.square_()


def _transformed(weight: Tensor) -> Tensor:
    return winograd.transform_weight(weight[0])


class _Injection(nn.Module):
    """The weight of the encoder's map; in StyleGAN2 it is the weight of the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = parameter(1)


class StyledConv(nn.Module):
    """Modulated convolution, concatenated with the encoder's map; bias and leaky ReLU on both."""

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = _ModulatedConv(in_channels, out_channels, style_dim, upsample=upsample)
        self.noise = _Injection()
        self.activate = Bias(2 * out_channels)
        self.out_channels = out_channels

    def derived(self) -> list[Tensor]:
        """Tensors that are cached along with the convolution's weight."""
        return self.conv.derived()

    def modulate(self, style: Tensor, pixels: int) -> Modulated:
        """The convolution's weights for float32 styles (N, style_dim) and inputs of ``pixels`` pixels."""
        return self.conv.modulate(style, pixels, LEAKY_GAIN)

    def convolve(self, x: Tensor, modulated: Modulated, encoded: Tensor | None, out: Tensor) -> None:
        """Write the result for (N, in, H + 2, W) into ``out`` (N, 2 out, H, W); encoded: (N, out, H, W) or None."""
        self._write(out, self.conv.convolve(x, modulated, self._conv_bias(modulated)), modulated, encoded)

    def upsample(self, x: Tensor, modulated: Modulated, encoded: Tensor | None, out: Tensor, start: int) -> None:
        """Write rows of the result for (N, in, H, W), from ``start``, into ``out`` (N, 2 out, rows, 2 W)."""
        stop = start + out.shape[2]
        generated = self.conv.upsample(x, modulated, self._conv_bias(modulated), start, stop)
        self._write(out, generated, modulated, encoded)

    def _conv_bias(self, modulated: Modulated) -> Tensor | None:
        return None if modulated.after is not None else self.activate.bias[: self.out_channels] * LEAKY_GAIN

    def _write(self, out: Tensor, generated: Tensor, modulated: Modulated, encoded: Tensor | None) -> None:
        # Both halves are written into one buffer, which saves the concatenation.
        head, tail = out[:, : self.out_channels], out[:, self.out_channels :]
        bias = (self.activate.bias * LEAKY_GAIN)[:, None, None]
        if modulated.after is None:
            head.copy_(generated)
        else:
            _addcmul(head, bias[: self.out_channels], generated, modulated.after)
        if encoded is None:
            tail.copy_(bias[self.out_channels :].expand_as(tail))
        else:
            _addcmul(tail, bias[self.out_channels :], encoded, self.noise.weight * LEAKY_GAIN)
        F.leaky_relu_(out, LEAKY_SLOPE)


def _addcmul(out: Tensor, offset: Tensor, x: Tensor, factor: Tensor) -> None:
    """Write offset + x * factor into ``out``, which is part of a larger map."""
    if out.device.type in ("cpu", "cuda"):
        torch.addcmul(offset, x, factor, out=out)
    else:
        # Not every backend supports a non-contiguous ``out``.
        out.copy_(torch.addcmul(offset, x, factor))

"""The plain layers of the GPEN network, written for inference on strips of feature maps.

Two identities reduce the passes over large feature maps. The leaky ReLU is positively homogeneous, so its gain of
sqrt(2) is moved into the weights and biases before it. And a bias that is added after a convolution or a filter becomes
the bias of that convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fir

LEAKY_SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2)
EPSILON = 1e-8

Rows = Callable[[int, int], Tensor]
"""Returns the rows from ``start`` up to, but not including, ``stop`` of a feature map (N, C, H, W)."""


def empty_map(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Uninitialised (N, channels, height, width), channels last, of the batch size, dtype and device of ``like``."""
    shape = (len(like), channels, height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def parameter(*shape: int) -> nn.Parameter:
    """Zeros that are not trained."""
    return nn.Parameter(torch.zeros(shape), requires_grad=False)


class Bias(nn.Module):
    """The bias that the published code keeps inside its fused activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = parameter(channels)


class Kernel(nn.Module):
    """A FIR kernel under its name in the published state dict."""

    kernel: Tensor

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("kernel", fir.published_kernel(gain))


class _EqualizedConv(nn.Module):
    """Weight of a convolution with equalised learning rate: it is multiplied by 1 / sqrt(fan in)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = parameter(out_channels, in_channels, kernel_size, kernel_size)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)


class EqualizedLinear(nn.Module):
    """Linear layer with equalised learning rate; float32 in and out: (N, in) to (N, out)."""

    def __init__(self, in_features: int, out_features: int, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = parameter(out_features, in_features)
        self.bias = parameter(out_features)
        self.scale = lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        # Scale the input, which is smaller than the weight.
        return F.linear(x * self.scale, self.weight.float(), self.bias.float() * self.lr_multiplier)


class ActivatedLinear(EqualizedLinear):
    """Equalised linear layer followed by the scaled leaky ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(x), LEAKY_SLOPE) * LEAKY_GAIN


class PixelNorm(nn.Module):
    """Scale each style vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


class EncoderInput(nn.Sequential):
    """1 x 1 convolution of the picture, bias, leaky ReLU."""

    def __init__(self, out_channels: int) -> None:
        super().__init__(_EqualizedConv(3, out_channels, 1), Bias(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        conv, activate = cast("tuple[_EqualizedConv, Bias]", tuple(self))
        out = F.conv2d(x, conv.weight * (conv.scale * LEAKY_GAIN), activate.bias * LEAKY_GAIN)
        return F.leaky_relu_(out, LEAKY_SLOPE)


class EncoderDown(nn.Sequential):
    """FIR blur, 3 x 3 convolution of stride 2, bias, leaky ReLU: halves height and width."""

    BLUR_PADDING = 2

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(Kernel(), _EqualizedConv(in_channels, out_channels, 3), Bias(out_channels))

    def forward(self, above: Rows, size: int, rows_at_once: int) -> Tensor:  # type: ignore[override]
        """Map (N, C, size, size), given as rows, to (N, C', size / 2, size / 2), ``rows_at_once`` at a time."""
        blur, conv, activate = cast("tuple[Kernel, _EqualizedConv, Bias]", tuple(self))
        weight, bias = conv.weight * (conv.scale * LEAKY_GAIN), activate.bias * LEAKY_GAIN

        def rows(start: int, stop: int) -> Tensor:
            wanted = (2 * start, 2 * stop + 1)
            first, last = fir.rows_to_blur(*wanted, size, self.BLUR_PADDING)
            x = fir.blur(above(first, last), blur.kernel, self.BLUR_PADDING, first=first, height=size, rows=wanted)
            return F.leaky_relu_(F.conv2d(x, weight, bias, stride=2), LEAKY_SLOPE)

        half = size // 2
        strip = rows(0, min(half, rows_at_once))
        if rows_at_once >= half:
            return strip
        out = empty_map(strip, strip.shape[1], half, half)
        out[:, :, :rows_at_once] = strip
        for start in range(rows_at_once, half, rows_at_once):
            stop = min(half, start + rows_at_once)
            out[:, :, start:stop] = rows(start, stop)
        return out


class _ModulatedToRGB(nn.Module):
    """Parameters of a 1 x 1 convolution whose input channels are scaled by the style."""

    def __init__(self, in_channels: int, style_dim: int) -> None:
        super().__init__()
        self.weight = parameter(1, 3, in_channels, 1, 1)
        self.modulation = EqualizedLinear(style_dim, in_channels)
        self.scale = 1 / math.sqrt(in_channels)


class ToRGB(nn.Module):
    """Modulated 1 x 1 convolution to RGB; its result is added to the picture of the level below."""

    def __init__(self, in_channels: int, style_dim: int, *, upsample: bool = True) -> None:
        super().__init__()
        self.conv = _ModulatedToRGB(in_channels, style_dim)
        self.bias = parameter(1, 3, 1, 1)
        if upsample:
            self.upsample = Kernel(gain=4.0)

    def modulate(self, style: Tensor) -> Tensor:
        """The weights (N, 3, in) for these styles, float32 (N, style_dim)."""
        weight = self.conv.weight
        modulation: Tensor = self.conv.modulation(style) * self.conv.scale
        return (weight[0, :, :, 0, 0] * modulation[:, None, :]).to(weight.dtype)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, 3, H, W)."""
        if len(x) == 1:
            return F.conv2d(x, weight[0, :, :, None, None], self.bias.flatten())
        height, width = x.shape[2:]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        rgb = torch.baddbmm(self.bias.view(1, 1, 3), pixels, weight.mT)
        return rgb.view(len(x), height, width, 3).permute(0, 3, 1, 2)

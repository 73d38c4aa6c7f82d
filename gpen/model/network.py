"""The GPEN network in plain PyTorch, written for inference.

An encoder of strided convolutions whose feature maps are concatenated into a StyleGAN2 generator in the
place of its noise (Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild", CVPR
2021; Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020). The state dict has
the names and shapes of the published checkpoints.

Two identities keep the passes over large feature maps few. The leaky ReLU is positively homogeneous, so its
gain of sqrt(2) is moved into the weights and biases before it. And a bias added after a convolution or a
filter is that convolution's own bias.

Styles and demodulation are computed in float32 whatever the network's precision: float16 cannot hold the
squares that they sum.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fir
from .spec import BOTTOM_SIZE, Spec

LEAKY_SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2)
MAPPING_LR_MULTIPLIER = 0.01
EPSILON = 1e-8


def _weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape), requires_grad=False)


class _Bias(nn.Module):
    """The bias that the published code keeps inside its fused activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = _weight(channels)


class _Kernel(nn.Module):
    """A FIR kernel under the name that the published state dict gives it."""

    kernel: Tensor

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("kernel", fir.published_kernel(gain))


class _EqualizedConv(nn.Module):
    """Weight of a convolution with equalised learning rate: used times 1 / sqrt(fan in)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = _weight(out_channels, in_channels, kernel_size, kernel_size)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)


class _EqualizedLinear(nn.Module):
    """Linear layer with equalised learning rate; float32 in and out: (N, in) to (N, out)."""

    def __init__(self, in_features: int, out_features: int, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = _weight(out_features, in_features)
        self.bias = _weight(out_features)
        self.scale = lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.float() * self.scale, self.bias.float() * self.lr_multiplier)


class _ActivatedLinear(_EqualizedLinear):
    """Equalised linear layer followed by the scaled leaky ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(x), LEAKY_SLOPE) * LEAKY_GAIN


class _PixelNorm(nn.Module):
    """Scale each style vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


class _EncoderInput(nn.Sequential):
    """1 x 1 convolution of the picture, bias, leaky ReLU."""

    def __init__(self, out_channels: int) -> None:
        super().__init__(_EqualizedConv(3, out_channels, 1), _Bias(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        conv, activate = cast("tuple[_EqualizedConv, _Bias]", tuple(self))
        out = F.conv2d(x, conv.weight * (conv.scale * LEAKY_GAIN), activate.bias * LEAKY_GAIN)
        return F.leaky_relu_(out, LEAKY_SLOPE)


class _EncoderDown(nn.Sequential):
    """FIR blur, 3 x 3 convolution of stride 2, bias, leaky ReLU: halves height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(_Kernel(), _EqualizedConv(in_channels, out_channels, 3), _Bias(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        blur, conv, activate = cast("tuple[_Kernel, _EqualizedConv, _Bias]", tuple(self))
        x = fir.blur(x, blur.kernel, padding=2)
        out = F.conv2d(x, conv.weight * (conv.scale * LEAKY_GAIN), activate.bias * LEAKY_GAIN, stride=2)
        return F.leaky_relu_(out, LEAKY_SLOPE)


class _ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by the style, and its outputs, optionally, demodulated."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.weight = _weight(1, out_channels, in_channels, kernel_size, kernel_size)
        self.modulation = _EqualizedLinear(style_dim, in_channels)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.demodulate = demodulate
        if upsample:
            self.blur = _Kernel(gain=4.0)

    def forward(self, x: Tensor, style: Tensor, bias: Tensor, gain: float = 1.0) -> Tensor:
        """Return gain x (modulated convolution of x) + bias.

        x: (N, C, H, W), style: float32 (N, style_dim), bias: (out channels,). Where the layer upsamples,
        height and width double.
        """
        modulation = self.modulation(style)
        weight = self.weight[0].float() * (self.scale * gain)
        if len(x) == 1:
            weight = weight * modulation.view(1, -1, 1, 1)
            if self.demodulate:
                weight = weight * self._demodulation(weight, gain)[:, None, None, None]
            return self._convolve(x, weight.to(x.dtype), bias)
        # One convolution for the whole batch: scaling the input's channels by the style and the output's by
        # the demodulation is the same as scaling the weight, and needs no weight of its own per sample.
        x = x * modulation[:, :, None, None].to(x.dtype)
        if not self.demodulate:
            return self._convolve(x, weight.to(x.dtype), bias)
        squares = weight.square().sum(dim=(2, 3))
        demodulation = gain * torch.rsqrt(modulation.square() @ squares.T + gain**2 * EPSILON)
        out = self._convolve(x, weight.to(x.dtype), None)
        return out.mul_(demodulation[:, :, None, None].to(x.dtype)).add_(bias[:, None, None])

    @staticmethod
    def _demodulation(weight: Tensor, gain: float) -> Tensor:
        return gain * torch.rsqrt(weight.square().sum(dim=(1, 2, 3)) + gain**2 * EPSILON)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not hasattr(self, "blur"):
            return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        out = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return fir.blur(out, self.blur.kernel, padding=1, bias=bias)


class _Injection(nn.Module):
    """The weight of the encoder's map, where StyleGAN2 has the weight of its noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = _weight(1)


class _StyledConv(nn.Module):
    """Modulated convolution, the encoder's map concatenated behind it, bias and leaky ReLU over both."""

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = _ModulatedConv(in_channels, out_channels, 3, style_dim, upsample=upsample)
        self.noise = _Injection()
        self.activate = _Bias(2 * out_channels)

    def forward(self, x: Tensor, style: Tensor, encoded: Tensor | None) -> Tensor:
        """Map (N, C, H, W) to (N, 2 out, H', W'); ``encoded``: (N, out, H', W'), None where there is none."""
        bias = self.activate.bias * LEAKY_GAIN
        channels = len(bias) // 2
        generated = self.conv(x, style, bias[:channels], LEAKY_GAIN)
        # Both halves are written into one buffer: at the largest levels, every map that exists besides is
        # hundreds of megabytes.
        batch, _, height, width = generated.shape
        shape = (batch, 2 * channels, height, width)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        out[:, :channels] = generated
        del generated
        tail = bias[channels:, None, None]
        # Copied, not computed in place: not every backend honours a strided ``out=``.
        out[:, channels:] = tail if encoded is None else torch.addcmul(tail, encoded, self.noise.weight * LEAKY_GAIN)
        return F.leaky_relu_(out, LEAKY_SLOPE)


class _ToRGB(nn.Module):
    """Modulated 1 x 1 convolution to RGB, added to the upsampled picture of the level below."""

    def __init__(self, in_channels: int, style_dim: int, *, upsample: bool = True) -> None:
        super().__init__()
        self.conv = _ModulatedConv(in_channels, 3, 1, style_dim, demodulate=False)
        self.bias = _weight(1, 3, 1, 1)
        if upsample:
            self.upsample = _Kernel(gain=4.0)

    def forward(self, x: Tensor, style: Tensor, below: Tensor | None = None) -> Tensor:
        rgb: Tensor = self.conv(x, style, self.bias.flatten())
        if below is None:
            return rgb
        return rgb.add_(fir.upsample(below, self.upsample.kernel))


class _ConstantInput(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = _weight(1, channels, BOTTOM_SIZE, BOTTOM_SIZE)


class _Generator(nn.Module):
    """StyleGAN2's generator with the encoder's maps in the place of noise."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        dim = spec.style_dim
        bottom, *sizes = spec.generator_sizes
        channels = spec.channels(bottom)
        mapping = (_ActivatedLinear(dim, dim, MAPPING_LR_MULTIPLIER) for _ in range(spec.n_mlp))
        self.style = nn.Sequential(_PixelNorm(), *mapping)
        self.input = _ConstantInput(channels)
        self.conv1 = _StyledConv(channels, channels, dim)
        self.to_rgb1 = _ToRGB(2 * channels, dim, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for size in sizes:
            below, channels = channels, spec.channels(size)
            self.convs.append(_StyledConv(2 * below, channels, dim, upsample=True))
            self.convs.append(_StyledConv(2 * channels, channels, dim))
            self.to_rgbs.append(_ToRGB(2 * channels, dim))

    def forward(self, code: Tensor, encoded: list[Tensor]) -> Tensor:
        """Code: float32 (N, style_dim). encoded: the encoder's maps, largest first; emptied from the end."""
        style = self.style(code)
        bottom = encoded.pop()
        x = self.input.input.expand(len(code), -1, -1, -1)
        x = self.conv1(x, style, bottom)
        rgb: Tensor = self.to_rgb1(x, style)
        del bottom
        for first, second, to_rgb in zip(self.convs[::2], self.convs[1::2], self.to_rgbs, strict=True):
            level = encoded.pop() if encoded else None
            x = first(x, style, level)
            x = second(x, style, level)
            del level
            rgb = to_rgb(x, style, rgb)
        return rgb


class GPEN(nn.Module):
    """A GPEN network of any published shape, and of in_size < out_size.

    Maps a picture (N, 3, in_size, in_size) to (N, 3, out_size, out_size), in the parameters' dtype. Above
    in_size, where the encoder has no map, zeros take its place (the published code draws random noise there).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.generator = _Generator(spec)
        channels = [spec.channels(size) for size in spec.encoder_sizes]
        self.ecd0 = nn.Sequential(_EncoderInput(channels[0]))
        for i, (above, below) in enumerate(itertools.pairwise(channels), start=1):
            self.add_module(f"ecd{i}", nn.Sequential(_EncoderDown(above, below)))
        features = channels[-1] * BOTTOM_SIZE**2
        self.final_linear = nn.Sequential(_ActivatedLinear(features, spec.style_dim))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        # Channels-last is the layout in which the large levels are fastest, on CPUs and on CUDA alike.
        x = x.contiguous(memory_format=torch.channels_last)
        encoded = []
        for i in range(len(self.spec.encoder_sizes)):
            x = self.get_submodule(f"ecd{i}")(x)
            encoded.append(x)
        code = self.final_linear(x.float().flatten(1))
        del x
        out: Tensor = self.generator(code, encoded)
        return out

"""The network as the papers describe it, operation by operation: what most users of GPEN run today.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, for the generator; Yang et al., "GAN
Prior Embedded Network for Blind Face Restoration in the Wild", CVPR 2021, for the encoder and its maps in place of
noise. Weights are scaled where they are used, a grouped convolution has a weight for each sample, the filters are
zero insertion, padding and a convolution of each channel, and torch.cat joins encoder and generator. Nothing is folded,
shared or computed in place. The state dict is that of the published checkpoints, and exports of this formulation to
ONNX are the graphs in circulation.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.network.spec import BOTTOM_SIZE, Spec

SLOPE = 0.2
MAPPING_RATE = 0.01


def sizes(x: Tensor) -> tuple[int, ...]:
    """The shape as constants, also during tracing: the graphs in circulation are for pictures of one size."""
    return tuple(int(size) for size in x.shape)


def upfirdn(x: Tensor, kernel: Tensor, up: int, padding: tuple[int, int]) -> Tensor:
    """Put ``up`` - 1 zeros after each pixel of (N, C, H, W), pad before and after, convolve with the kernel."""
    batch, channels, height, width = sizes(x)
    x = x.reshape(batch * channels, 1, height, 1, width, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1))
    x = x.reshape(batch * channels, 1, height * up, width * up)
    x = F.pad(x, (*padding, *padding))
    # conv2d is a correlation; the filter is a convolution.
    x = F.conv2d(x, kernel.flip(0, 1)[None, None])
    return x.reshape(batch, channels, *sizes(x)[2:])


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU that keeps the variance."""
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)


class Filter(nn.Module):
    """The filter [1, 3, 3, 1] in both directions."""

    kernel: Tensor

    def __init__(self, up: int, padding: tuple[int, int], gain: float) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", torch.outer(row, row) / 64 * gain)
        self.up = up
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn(x, self.kernel, self.up, self.padding)


class Conv(nn.Module):
    """Convolution with equalised learning rate and without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel, kernel))
        self.scale = 1 / math.sqrt(in_channels * kernel**2)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride)


class Linear(nn.Module):
    """Linear layer with equalised learning rate."""

    def __init__(self, in_features: int, out_features: int, rate: float = 1.0, *, activated: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.rate = rate
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        scale = self.rate / math.sqrt(sizes(self.weight)[1])
        x = F.linear(x, self.weight * scale, self.bias * self.rate)
        return scaled_leaky_relu(x) if self.activated else x


class Activation(nn.Module):
    """Bias and scaled leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return scaled_leaky_relu(x + self.bias.reshape(1, -1, 1, 1))


class PixelNorm(nn.Module):
    """Each style scaled to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


class ModulatedConv(nn.Module):
    """Convolution with a weight for each sample: modulated by its style, then demodulated except in ToRGB."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, spec: Spec, *, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, out_channels, in_channels, kernel, kernel))
        self.modulation = Linear(spec.style_dim, in_channels)
        self.scale = 1 / math.sqrt(in_channels * kernel**2)
        self.demodulated = out_channels != 3
        if up:
            self.blur = Filter(1, (1, 1), 4)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        batch, in_channels, height, width = sizes(x)
        _, out_channels, _, kernel, _ = sizes(self.weight)
        weight = self.scale * self.weight * self.modulation(style).reshape(batch, 1, in_channels, 1, 1)
        if self.demodulated:
            norm = torch.rsqrt(weight.pow(2).sum(dim=[2, 3, 4]) + 1e-8)
            weight = weight * norm.reshape(batch, out_channels, 1, 1, 1)
        x = x.reshape(1, batch * in_channels, height, width)
        if hasattr(self, "blur"):
            weight = weight.transpose(1, 2).reshape(batch * in_channels, out_channels, kernel, kernel)
            x = F.conv_transpose2d(x, weight, stride=2, groups=batch)
            return self.blur(x.reshape(batch, out_channels, *sizes(x)[2:]))
        weight = weight.reshape(batch * out_channels, in_channels, kernel, kernel)
        x = F.conv2d(x, weight, padding=kernel // 2, groups=batch)
        return x.reshape(batch, out_channels, height, width)


class Injection(nn.Module):
    """Concatenates the generator's map and the encoder's, which is weighted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        return torch.cat([x, self.weight * encoded], dim=1)


class StyledConv(nn.Module):
    """Modulated convolution, the encoder's map, activation."""

    def __init__(self, in_channels: int, out_channels: int, spec: Spec, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, spec, up=up)
        self.noise = Injection()
        self.activate = Activation(2 * out_channels)

    def forward(self, x: Tensor, style: Tensor, encoded: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, style), encoded))


class ToRGB(nn.Module):
    """Modulated 1 x 1 convolution to RGB, added to the upsampled picture of the level below."""

    def __init__(self, in_channels: int, spec: Spec, *, up: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.conv = ModulatedConv(in_channels, 3, 1, spec)
        if up:
            self.upsample = Filter(2, (2, 1), 4)

    def forward(self, x: Tensor, style: Tensor, below: Tensor | None = None) -> Tensor:
        picture = self.conv(x, style) + self.bias
        return picture if below is None else picture + self.upsample(below)


class Constant(nn.Module):
    """The constant input of the generator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.zeros(1, channels, BOTTOM_SIZE, BOTTOM_SIZE))

    def forward(self, batch: int) -> Tensor:
        return self.input.repeat(batch, 1, 1, 1)


class Generator(nn.Module):
    """StyleGAN2's generator, with the encoder's maps in place of noise."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        dim, bottom = spec.style_dim, spec.channels(BOTTOM_SIZE)
        mapping = [Linear(dim, dim, MAPPING_RATE, activated=True) for _ in range(spec.n_mlp)]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = Constant(bottom)
        self.conv1 = StyledConv(bottom, bottom, spec)
        self.to_rgb1 = ToRGB(2 * bottom, spec, up=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for below, size in itertools.pairwise(spec.generator_sizes):
            channels = spec.channels(size)
            self.convs.append(StyledConv(2 * spec.channels(below), channels, spec, up=True))
            self.convs.append(StyledConv(2 * channels, channels, spec))
            self.to_rgbs.append(ToRGB(2 * channels, spec))

    def forward(self, code: Tensor, encoded: list[Tensor]) -> Tensor:
        style = self.style(code)
        x = self.conv1(self.input(sizes(code)[0]), style, encoded[0])
        picture = self.to_rgb1(x, style)
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, style, encoded[i + 1])
            x = self.convs[2 * i + 1](x, style, encoded[i + 1])
            picture = to_rgb(x, style, picture)
        return picture


class Textbook(nn.Module):
    """A GPEN network of equal input and output size: pictures (N, 3, S, S) to (N, 3, S, S)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        if spec.in_size != spec.out_size:
            raise ValueError("The textbook formulation has no network whose output is larger than its input.")
        self.spec = spec
        channels = [spec.channels(size) for size in spec.encoder_sizes]
        self.generator = Generator(spec)
        self.ecd0 = nn.Sequential(nn.Sequential(Conv(3, channels[0], 1, 1), Activation(channels[0])))
        for i, (above, below) in enumerate(itertools.pairwise(channels), start=1):
            block = nn.Sequential(Filter(1, (2, 2), 1), Conv(above, below, 3, 2), Activation(below))
            self.add_module(f"ecd{i}", nn.Sequential(block))
        features = channels[-1] * BOTTOM_SIZE**2
        self.final_linear = nn.Sequential(Linear(features, spec.style_dim, activated=True))

    def forward(self, x: Tensor) -> Tensor:
        encoded: list[Tensor] = []
        for i in range(len(self.spec.encoder_sizes)):
            x = self.get_submodule(f"ecd{i}")(x)
            encoded.append(x)
        code = self.final_linear(x.flatten(1))
        return self.generator(code, encoded[::-1])

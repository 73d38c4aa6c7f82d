"""The plain layers of the GPEN network, written for inference on strips of feature maps.

Three identities reduce the passes over large feature maps and weights. The leaky ReLU is positively homogeneous, so its
gain of sqrt(2) is moved into the weights and biases before it. A bias that is added after a convolution or a filter
becomes the bias of that convolution. And the scale of an encoder's convolution is moved into the filter before it, see
:class:`EncoderDown`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fir, joined
from .derived import Deriving
from .fusion import Encoded, FromPicture, kernels_for

LEAKY_SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2)
EPSILON = 1e-8

Rows = Callable[[int, int], Encoded]
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


class LaidOut(nn.Module):
    """A module whose weight is kept in the memory layout that convolutions read.

    A convolution would otherwise copy its weight in every call, which on a CPU takes longer than the small maps.
    order: the weight's dimensions from the slowest to the fastest in memory.
    """

    weight: nn.Parameter

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self._order = order

    def lay_out(self, *, in_place: bool = False) -> None:
        """Change the layout, not the values, if the weight has another one.

        in_place: keep the values in their memory, which nothing else may read then, instead of new memory.
        """
        weight = self.weight
        order = self._order if weight.device.type in ("cpu", "cuda") else tuple(range(weight.dim()))
        if weight.permute(order).is_contiguous() or weight.is_inference():
            return
        back = [order.index(dim) for dim in range(weight.dim())]
        with torch.inference_mode(False):
            laid_out = weight.detach().permute(order).contiguous()
            if in_place and weight.is_contiguous():
                laid_out = weight.detach().view(laid_out.shape).copy_(laid_out)
            weight.data = laid_out.permute(back)


class _EqualizedConv(LaidOut):
    """Weight of a convolution with equalised learning rate: it is multiplied by 1 / sqrt(fan in)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__((0, 2, 3, 1))
        self.weight = parameter(out_channels, in_channels, kernel_size, kernel_size)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)


class EqualizedLinear(Deriving):
    """Parameters of a linear layer with equalised learning rate; it computes in float32, whatever their dtype."""

    def __init__(self, in_features: int, out_features: int, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = parameter(out_features, in_features)
        self.bias = parameter(out_features)
        self.scale = lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def float32_weight(self) -> Tensor:
        """The weight (out, in), not yet multiplied by ``scale``; a copy in float32 is kept, except on a CPU."""
        if self.weight.device.type == "cpu":
            # Copying takes little of a call's time there, and memory is what lower precisions are chosen for.
            return self.weight.float()
        return self.derive("weight", (self.weight,), self.weight.float)


class ActivatedLinear(EqualizedLinear):
    """Equalised linear layer followed by the scaled leaky ReLU; float32 in and out: (N, in) to (N, out).

    input_gain: the input is multiplied by it.
    """

    def __init__(
        self, in_features: int, out_features: int, lr_multiplier: float = 1.0, input_gain: float = 1.0
    ) -> None:
        super().__init__(in_features, out_features, lr_multiplier)
        self._gain = self.scale * input_gain * LEAKY_GAIN

    def forward(self, x: Tensor) -> Tensor:
        bias = self.derive("bias", (self.bias,), lambda: self.bias.float() * (self.lr_multiplier * LEAKY_GAIN))
        return F.leaky_relu_(torch.addmm(bias, x, self.float32_weight().T, alpha=self._gain), LEAKY_SLOPE)


class PixelNorm(nn.Module):
    """Scale each style vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


class EncoderInput(Deriving, nn.Sequential):
    """1 x 1 convolution of the picture, bias, leaky ReLU."""

    def __init__(self, out_channels: int) -> None:
        super().__init__(_EqualizedConv(3, out_channels, 1), Bias(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.derive("scaled", tuple(self.parameters()), self._scaled)
        if x.device.type != "cuda" or len(x) > 1 or x.stride(3) > 1:
            # The fastest layout for the large levels.
            x = x.contiguous(memory_format=torch.channels_last)
            return F.leaky_relu_(F.conv2d(x, weight, bias), LEAKY_SLOPE)
        # The planes of one picture are a matrix that cuBLAS reads as it is.
        out = empty_map(x, len(weight), *x.shape[2:])
        pixels, values = (one[0].permute(1, 2, 0).view(-1, one.shape[1]) for one in (x, out))
        torch.addmm(bias, pixels, weight.flatten(1).T, out=values)
        return F.leaky_relu_(out, LEAKY_SLOPE)

    def of_picture(self, pixels: Tensor) -> FromPicture:
        """The same, to be computed by fused kernels where it is needed."""
        return FromPicture(pixels, *self.derive("scaled", tuple(self.parameters()), self._scaled))

    def _scaled(self) -> tuple[Tensor, Tensor]:
        conv, activate = cast("tuple[_EqualizedConv, Bias]", tuple(self))
        return conv.weight * (conv.scale * LEAKY_GAIN), activate.bias * LEAKY_GAIN


class EncoderDown(Deriving, nn.Sequential):
    """FIR blur, 3 x 3 convolution of stride 2, bias, leaky ReLU: halves height and width.

    The result still has to be multiplied by ``gain``, and the input by ``input_gain``. So the filter can multiply by
    the convolution's scale, which saves a scaled copy of the weight: by a power of two, which leaves its taps exact in
    every precision. The rest is the gain, in [1, 2).
    """

    BLUR_PADDING = 2

    def __init__(self, in_channels: int, out_channels: int, input_gain: float) -> None:
        super().__init__(Kernel(), _EqualizedConv(in_channels, out_channels, 3), Bias(out_channels))
        scale = input_gain * LEAKY_GAIN * cast("_EqualizedConv", self[1]).scale
        self._tap_gain = 2.0 ** math.floor(math.log2(scale))
        self.gain = scale / self._tap_gain

    def forward(self, above: Rows, size: int, rows_at_once: int) -> Tensor:  # type: ignore[override]
        """Map (N, C, size, size), given as rows, to (N, C', size / 2, size / 2), ``rows_at_once`` at a time."""
        conv = cast("_EqualizedConv", self[1])
        filters, bias = self.derive("scaled", (*self.buffers(), *self.parameters()), self._scaled)

        def rows(start: int, stop: int) -> Tensor:
            wanted = (2 * start, 2 * stop + 1)
            first, last = fir.rows_to_blur(*wanted, size, self.BLUR_PADDING)
            x = above(first, last)
            fused = kernels_for(bias)
            if fused is not None:
                row, height = wanted[0] - self.BLUR_PADDING - first, wanted[1] - wanted[0]
                x = fused.filter_rows(x, filters, self.BLUR_PADDING, row=row, height=height)
                return cast("Tensor", fused.activate(F.conv2d(x, conv.weight, stride=2), bias))
            assert isinstance(x, Tensor)
            if joined.pays(x, *conv.weight.shape[1::-1]):
                weight = self.derive("joined", (*self.buffers(), conv.weight), self._joined)
                x = joined.down(x, weight, bias, height=size, rows=(start, stop))
                return F.leaky_relu_(x, LEAKY_SLOPE)
            weight = filters
            if fir.is_faster_wide(x):
                weight = self.derive("wide filter", tuple(self.buffers()), lambda: fir.wide(filters))
            x = fir.blur(x, weight, self.BLUR_PADDING, first=first, height=size, rows=wanted, spare=True)
            return F.leaky_relu_(F.conv2d(x, conv.weight, bias, stride=2), LEAKY_SLOPE)

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

    def _joined(self) -> Tensor:
        blur, conv, _ = cast("tuple[Kernel, _EqualizedConv, Bias]", tuple(self))
        return joined.down_weight(conv.weight, blur.kernel, self._tap_gain)

    def _scaled(self) -> tuple[Tensor, Tensor]:
        blur, conv, activate = cast("tuple[Kernel, _EqualizedConv, Bias]", tuple(self))
        filters = fir.blur_weight(blur.kernel, conv.weight.shape[1], self._tap_gain)
        return filters, activate.bias * (LEAKY_GAIN / self.gain)

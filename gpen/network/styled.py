"""StyleGAN2's styled convolution in GPEN's variant: with the encoder's map where StyleGAN2 adds noise."""

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fir, joined, winograd
from .derived import Deriving
from .fusion import Encoded, Enlarged, kernels_for
from .layers import LEAKY_GAIN, LEAKY_SLOPE, Bias, Kernel, empty_map, parameter
from .styles import KERNEL_SIZE, Modulated, ModulatedWeight

WINOGRAD_PIXELS = 64 * 64
"""Pixels of the smallest map that is convolved by Winograd's method: for smaller ones, reading the transformed weights
costs more than the method saves."""


PRODUCT_PIXELS = 16 * 16
"""Pixels of the largest map whose transposed convolution is computed as a matrix product."""


class _ModulatedConv(ModulatedWeight, Deriving):
    """3 x 3 convolution whose input channels are scaled by the style, and whose outputs are demodulated."""

    BLUR_PADDING = 1

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, upsample: bool) -> None:
        super().__init__(in_channels, out_channels, KERNEL_SIZE, style_dim, transposed=upsample)
        if upsample:
            self.blur = Kernel(gain=4.0)

    def convolve(self, x: Tensor, modulated: Modulated, bias: Tensor | None) -> Tensor:
        """Convolve (N, in, H + 2, W), whose rows are already padded, to (N, out, H, W)."""
        if modulated.before is not None:
            x = x * modulated.before
            if _is_alone_on_cpu(x) and x.shape[3] ** 2 >= WINOGRAD_PIXELS:
                return winograd.convolve(x, self._transformed())
        return F.conv2d(x, modulated.weight, bias, padding=(0, 1))

    def spread(self, x: Tensor, modulated: Modulated, start: int, stop: int) -> tuple[Tensor, int]:
        """What the filter needs of (N, in, H, W), by transposed convolution, for rows ``start`` to ``stop``.

        Also returns which row of the (N, out, 2 H + 1, 2 W + 1) its first one is.
        """
        height = x.shape[2]
        spread = 2 * height + 1
        begin, end = fir.rows_to_blur(start, stop, spread, self.BLUR_PADDING)
        # Row i of the input reaches rows 2 i to 2 i + 2 of the transposed convolution.
        first, last = max(0, (begin - 1) // 2), min(height, (end + 1) // 2)
        x = x[:, :, first:last]
        if modulated.before is not None:
            x = x * modulated.before
        if _is_alone_on_cpu(x) and x.shape[2] * x.shape[3] <= PRODUCT_PIXELS:
            x = _transposed_by_product(x, modulated.weight)
        else:
            x = F.conv_transpose2d(x, modulated.weight.transpose(0, 1), stride=2)
        return x, 2 * first

    def scaled(self, modulated: Modulated) -> Modulated:
        """The same with all factors of the weight in it, and joined with the filter where that pays."""
        if self.is_joined(self.weight):
            weight = self.derive("joined", (self.weight, self.blur.kernel), self._joined)
            modulated = dataclasses.replace(modulated, weight=weight)
        return modulated.scaled(self.weight.dtype)

    def is_joined(self, x: Tensor) -> bool:
        """Whether the convolution of x and the filter are one."""
        upsampling = hasattr(self, "blur")
        return upsampling and joined.pays(x, self.in_channels, self.out_channels) and kernels_for(x) is None

    def convolve_joined(
        self, x: Tensor, modulated: Modulated, bias: Tensor | None, rows: tuple[int, int]
    ) -> list[joined.Pixels]:
        """Rows (start, stop) of the transposed convolution of (N, in, H, W), filtered, if it :meth:`is_joined`."""
        if modulated.before is not None:
            x = x * modulated.before
        return joined.up(x, modulated.weight.flatten(0, 1), bias, rows=rows)

    def filters(self) -> Tensor:
        """The weight of the filter, for :func:`fir.blur`."""
        kernel = self.blur.kernel
        filters = self.derive("filter", (kernel,), lambda: fir.blur_weight(kernel, self.out_channels))
        if fir.is_faster_wide(kernel) and kernels_for(kernel) is None:
            return self.derive("wide filter", (kernel,), lambda: fir.wide(filters))
        return filters

    def _joined(self) -> Tensor:
        return joined.up_weight(self.weight[0], self.blur.kernel)

    def _transformed(self) -> Tensor:
        return self.derive("winograd", (self.weight,), lambda: winograd.transform_weight(self.weight[0]))


def _is_alone_on_cpu(x: Tensor) -> bool:
    """Whether x is one picture's map in float32 on a CPU, for which there are faster methods than PyTorch's."""
    return len(x) == 1 and x.device.type == "cpu" and x.dtype == torch.float32


def _transposed_by_product(x: Tensor, weight: Tensor) -> Tensor:
    """The transposed convolution of stride 2 of (1, in, H, W) with (out, in, 3, 3): (1, out, 2 H + 1, 2 W + 1)."""
    _, channels, height, width = x.shape
    pixels = x[0].permute(1, 2, 0).reshape(height * width, channels)
    products = pixels @ weight.permute(1, 2, 3, 0).reshape(channels, -1)
    products = products.view(height, width, KERNEL_SIZE, KERNEL_SIZE, -1)
    out = x.new_zeros((2 * height + 1, 2 * width + 1, products.shape[-1]))
    for i, j in itertools.product(range(KERNEL_SIZE), repeat=2):
        out[i : i + 2 * height : 2, j : j + 2 * width : 2] += products[:, :, i, j]
    return out.permute(2, 0, 1)[None]


class _Injection(nn.Module):
    """The weight of the encoder's map; in StyleGAN2 it is the weight of the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = parameter(1)


class _Scaled(NamedTuple):
    """What is added and multiplied after the convolution, with the leaky ReLU's gain."""

    head: Tensor
    """(out,), bias of the convolution."""
    tail: Tensor
    """(out, 1, 1), bias of the encoder's map."""
    factor: Tensor
    """(1,), of the encoder's map."""


class AddToRGB(NamedTuple):
    """A picture to which the convolution of a map is added."""

    layer: ToRGB
    weight: Tensor
    """(N, 3, in)."""
    rgb: Tensor
    """(N, 3, H, W); nothing yet where fused kernels enlarge the picture below as well."""
    below: Tensor
    """(N, 3, H' / 2, W / 2): the whole picture of the level below."""
    row: int
    """Of the whole picture of this level, where ``rgb`` starts."""

    def add(self, x: Tensor) -> None:
        """Add the convolution of (N, in, H, W)."""
        self.layer.add(x, self.weight, self.rgb)

    def add_halves(self, head: Tensor, tail: Tensor) -> None:
        """Add the convolution of the concatenation of (N, in / 2, H, W) and (N, in / 2, H, W)."""
        for_head, for_tail = torch.split(self.weight, head.shape[1], dim=2)
        self.layer.add(head, for_head, self.rgb)
        self.layer.add(tail, for_tail, self.rgb, with_bias=False)


class StyledConv(Deriving):
    """Modulated convolution, concatenated with the encoder's map; bias and leaky ReLU on both.

    encoder_gain: what the encoder's map lacks, see :class:`~gpen.network.layers.EncoderDown`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, encoder_gain: float, *, upsample: bool = False
    ) -> None:
        super().__init__()
        self.conv = _ModulatedConv(in_channels, out_channels, style_dim, upsample=upsample)
        self.noise = _Injection()
        self.activate = Bias(2 * out_channels)
        self._encoder_gain = encoder_gain

    @property
    def out_channels(self) -> int:
        """Channels of the convolution's result; the encoder's map has as many."""
        return self.conv.out_channels

    def convolve(self, x: Tensor, modulated: Modulated, encoded: Encoded | None, out: Tensor) -> None:
        """Write the result for (N, in, H + 2, W) into ``out`` (N, 2 out, H, W); encoded: (N, out, H, W) or None."""
        scaled, fused = self._scaled(), kernels_for(x)
        if fused is None:
            generated = self.conv.convolve(x, modulated, _if_alone(scaled.head, modulated))
            self._write(out, generated, modulated, cast("Tensor | None", encoded))
        else:
            fused.finish(self.conv.convolve(x, modulated, None), scaled, encoded, modulated.after, out)

    def convolve_to_rgb(
        self, x: Tensor, modulated: Modulated, encoded: Encoded | None, to_rgb: AddToRGB, out: Tensor | None
    ) -> None:
        """The same as :meth:`convolve`, and add the result's convolution to a picture; out: None if it is the last."""
        scaled, fused = self._scaled(), kernels_for(x)
        if fused is not None:
            generated = self.conv.convolve(x, modulated, None)
            target = (to_rgb.rgb, to_rgb.weight, to_rgb.layer.enlarged(to_rgb.below, to_rgb.row))
            fused.finish(generated, scaled, encoded, modulated.after, out, to_rgb=target)
        elif out is not None:
            self.convolve(x, modulated, encoded, out)
            to_rgb.add(out)
        else:
            head = self.conv.convolve(x, modulated, _if_alone(scaled.head, modulated))
            if modulated.after is not None:
                head = torch.addcmul(scaled.head[:, None, None], head, modulated.after)
            # Concatenated they would be copied, only to be added up.
            to_rgb.add_halves(F.leaky_relu_(head, LEAKY_SLOPE), self._tail(head, cast("Tensor | None", encoded)))

    def upsample(self, x: Tensor, modulated: Modulated, encoded: Encoded | None, out: Tensor, start: int) -> None:
        """Write rows of the result for (N, in, H, W), from ``start``, into ``out`` (N, 2 out, rows, 2 W)."""
        scaled, fused, padding = self._scaled(), kernels_for(x), self.conv.BLUR_PADDING
        stop, spread = start + out.shape[2], 2 * x.shape[2] + 1
        if self.conv.is_joined(x):
            head = self.derive("joined bias", (self.activate.bias,), lambda: scaled.head.repeat(4))
            pixels = self.conv.convolve_joined(x, modulated, _if_alone(head, modulated), (start, stop))
            self._write(out, pixels, modulated, cast("Tensor | None", encoded))
            return
        filters = self.conv.filters()
        x, first = self.conv.spread(x, modulated, start, stop)
        if fused is None:
            bias = _if_alone(scaled.head, modulated)
            generated = fir.blur(x, filters, padding, bias, first=first, height=spread, rows=(start, stop))
            self._write(out, generated, modulated, cast("Tensor | None", encoded))
        else:
            fused.finish(x, scaled, encoded, modulated.after, out, filtered=(filters, start - padding - first))

    def _scaled(self) -> _Scaled:
        bias, weight = self.activate.bias, self.noise.weight

        def compute() -> _Scaled:
            head, tail = torch.split(bias * LEAKY_GAIN, self.out_channels)
            return _Scaled(head, tail[:, None, None], weight * (LEAKY_GAIN * self._encoder_gain))

        return self.derive("scaled", (bias, weight), compute)

    def _tail(self, like: Tensor, encoded: Tensor | None) -> Tensor:
        """The encoder's half of the result (N, out, H, W), alone, in the memory of its map."""
        scaled = self._scaled()
        if encoded is None:
            return F.leaky_relu_(empty_map(like, *like.shape[1:]).copy_(scaled.tail.expand_as(like)), LEAKY_SLOPE)
        _addcmul(encoded, scaled.tail, encoded, scaled.factor)
        return F.leaky_relu_(encoded, LEAKY_SLOPE)

    def _write(
        self, out: Tensor, generated: Tensor | list[joined.Pixels], modulated: Modulated, encoded: Tensor | None
    ) -> None:
        # Both halves are written into one buffer, which saves the concatenation. On a CPU the activation is faster for
        # the buffer as a whole than for a half, whose rows of channels are apart.
        head, tail = out[:, : self.out_channels], out[:, self.out_channels :]
        scaled = self._scaled()
        if encoded is None:
            tail.copy_(scaled.tail.expand_as(tail))
        else:
            _addcmul(tail, scaled.tail, encoded, scaled.factor)
        activated = modulated.after is None and out.device.type == "cuda"
        parts = (
            [(head, generated)] if isinstance(generated, Tensor) else [(p.place_in(head), p.values) for p in generated]
        )
        for target, values in parts:
            if activated:
                torch.ops.aten.leaky_relu.out(values, LEAKY_SLOPE, out=target)
            elif modulated.after is None:
                target.copy_(values)
            else:
                offset, factor = (_channels(one, values) for one in (scaled.head, modulated.after))
                _addcmul(target, offset, values, factor)
        F.leaky_relu_(tail if activated else out, LEAKY_SLOPE)


def _channels(factors: Tensor, like: Tensor) -> Tensor:
    """Factors (C,) or (N, C, 1, 1) of the channels of (N, C, ...)."""
    return factors.view(-1, like.shape[1], *[1] * (like.dim() - 2))


def _if_alone(bias: Tensor, modulated: Modulated) -> Tensor | None:
    """The bias for the convolution, unless its result has to be multiplied first."""
    return None if modulated.after is not None else bias


def _addcmul(out: Tensor, offset: Tensor, x: Tensor, factor: Tensor) -> None:
    """Write offset + x * factor into ``out``, which is part of a larger map."""
    if out.device.type in ("cpu", "cuda"):
        torch.addcmul(offset, x, factor, out=out)
    else:
        # Not every backend supports a non-contiguous ``out``.
        out.copy_(torch.addcmul(offset, x, factor))


class ToRGB(Deriving):
    """Modulated 1 x 1 convolution to RGB; its result is added to the picture of the level below."""

    def __init__(self, in_channels: int, style_dim: int, *, upsample: bool = True) -> None:
        super().__init__()
        self.conv = ModulatedWeight(in_channels, 3, 1, style_dim)
        self.bias = parameter(1, 3, 1, 1)
        if upsample:
            self.upsample = Kernel(gain=4.0)

    def enlarge(self, rgb: Tensor) -> Tensor:
        """The picture of the level below (N, 3, H, W) at twice the height and width, to :meth:`add` to.

        Nothing yet where fused kernels do that together with adding.
        """
        if kernels_for(rgb) is not None:
            return empty_map(rgb, 3, 2 * rgb.shape[2], 2 * rgb.shape[3])
        return fir.upsample(rgb, self._filter(), None if _adds_slowly(rgb) else self.bias.flatten())

    def enlarged(self, below: Tensor, row: int) -> Enlarged:
        """The same, from ``row``, for fused kernels."""
        return Enlarged(below, self._filter(), self.bias.flatten(), row)

    def _filter(self) -> Tensor:
        kernel = self.upsample.kernel
        return self.derive("filter", (kernel,), lambda: fir.upsample_weight(kernel, 3))

    def add(self, x: Tensor, weight: Tensor, rgb: Tensor, *, with_bias: bool = True) -> None:
        """Add the convolution of (N, in, H, W) to ``rgb`` (N, 3, H, W), in place; weight: (N, 3, in)."""
        if _adds_slowly(rgb):
            rgb += F.conv2d(x, weight[0, :, :, None, None], self.bias.flatten() if with_bias else None)
            return
        pixels, colors = (one.permute(0, 2, 3, 1).view(len(one), -1, one.shape[1]) for one in (x, rgb))
        colors.baddbmm_(pixels, weight.mT)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The picture (N, 3, H, W) of the lowest level's map (N, in, H, W); weight: (N, 3, in)."""
        rgb = empty_map(x, 3, *x.shape[2:])
        rgb.copy_((torch.zeros_like(self.bias) if _adds_slowly(x) else self.bias).expand_as(rgb))
        self.add(x, weight, rgb)
        return rgb


def _adds_slowly(x: Tensor) -> bool:
    """Whether a bias of the filter, and a product that is added in place, cost more than the passes that they save."""
    return len(x) == 1 and x.device.type == "cpu" and kernels_for(x) is None

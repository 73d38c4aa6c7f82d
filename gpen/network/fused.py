"""Fused kernels in Triton: what follows a convolution, in one pass over the map.

Without them each step reads and writes whole maps. Both kernels compute in float32 and round what they write. Maps are
channels last, (N, C, H, W) in PyTorch's order of dimensions; ``row`` tells which rows of a map a strip holds.

They are registered as operators, without a gradient, so that they have shapes on pretended devices too.
"""

from __future__ import annotations

import re

import torch
import triton
import triton.language as tl
from torch import Tensor

from .fir import TAPS
from .fusion import Encoded, FromPicture
from .layers import LEAKY_SLOPE, empty_map

# A host may load this package under two names, and an operator can be registered once.
_NAMESPACE = re.sub(r"\W", "_", __name__)
_SLOPE = tl.constexpr(LEAKY_SLOPE)
_TAPS = tl.constexpr(TAPS)
ELEMENTS = 2048
"""Of a map that a program computes at a time."""
_MOST_CHANNELS = 64
"""Of those, at most; a power of two."""


@triton.jit
def _leaky_relu(x):  # type: ignore[no-untyped-def]
    return tl.where(x > 0, x, x * _SLOPE)


@triton.jit
def _encoder_input(pixels, at, channel_stride, weight, bias, c, inside, channels):  # type: ignore[no-untyped-def]
    """The encoder's largest map at pixels ``at`` (P,) and channels c (C,): (P, C)."""
    value = tl.load(bias + c, c < channels, 0).to(tl.float32)[None, :]
    for color in tl.static_range(3):
        x = tl.load(pixels + at + color * channel_stride, inside, 0).to(tl.float32)
        value += x[:, None] * tl.load(weight + 3 * c + color, c < channels, 0).to(tl.float32)[None, :]
    return _leaky_relu(value)


@triton.jit  # type: ignore[untyped-decorator]
def _finish_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913, C901 - one pass; the branches are compiled away
    x, x_n, x_h, x_w, x_rows, x_columns, row, taps, after, after_n, head_bias, tail_bias, factor,
    encoded, e_n, e_c, e_h, e_w, encoder_weight, encoder_bias,
    out, o_n, o_h, o_w, rgb, r_n, r_c, r_h, r_w, to_rgb, t_n, t_c,
    channels, height, width, pixels,
    filtered: tl.constexpr, has_after: tl.constexpr, has_encoded: tl.constexpr, from_picture: tl.constexpr,
    stored: tl.constexpr, in_rgb: tl.constexpr, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * block + tl.arange(0, block)
    inside = p < pixels
    n, i, j = (p // (height * width)).to(tl.int64), p // width % height, p % width
    red, green, blue = tl.zeros((block,), tl.float32), tl.zeros((block,), tl.float32), tl.zeros((block,), tl.float32)
    for first in range(0, channels, at_once):
        c = first + tl.arange(0, at_once)
        mask = inside[:, None] & (c < channels)[None, :]
        if filtered:
            head = tl.zeros((block, at_once), tl.float32)
            for k in tl.static_range(_TAPS):
                for m in tl.static_range(_TAPS):
                    h, w = i + row + k, j + m - 1
                    exists = (h >= 0) & (h < x_rows) & (w >= 0) & (w < x_columns)
                    at = n * x_n + h * x_h + w * x_w
                    value = tl.load(x + at[:, None] + c[None, :], mask & exists[:, None], 0).to(tl.float32)
                    head += value * tl.load(taps + k * _TAPS + m).to(tl.float32)
        else:
            at = n * x_n + i * x_h + j * x_w
            head = tl.load(x + at[:, None] + c[None, :], mask, 0).to(tl.float32)
        if has_after:
            head *= tl.load(after + (n * after_n)[:, None] + c[None, :], mask, 0).to(tl.float32)
        head = _leaky_relu(head + tl.load(head_bias + c, c < channels, 0).to(tl.float32)[None, :])
        tail = tl.zeros((block, at_once), tl.float32)
        if has_encoded:
            at = n * e_n + i * e_h + j * e_w
            if from_picture:
                tail = _encoder_input(encoded, at, e_c, encoder_weight, encoder_bias, c, inside, channels)
            else:
                tail = tl.load(encoded + at[:, None] + c[None, :], mask, 0).to(tl.float32)
            tail *= tl.load(factor).to(tl.float32)
        tail = _leaky_relu(tail + tl.load(tail_bias + c, c < channels, 0).to(tl.float32)[None, :])
        if stored:
            to = out + (n * o_n + i * o_h + j * o_w)[:, None] + c[None, :]
            tl.store(to, head.to(out.dtype.element_ty), mask)
            tl.store(to + channels, tail.to(out.dtype.element_ty), mask)
        if in_rgb:
            weight = to_rgb + (n * t_n)[:, None] + c[None, :]
            for color in tl.static_range(3):
                own = weight + color * t_c
                part = head * tl.load(own, mask, 0).to(tl.float32)
                part += tail * tl.load(own + channels, mask, 0).to(tl.float32)
                total = tl.sum(tl.where(mask, part, 0), axis=1)
                if color == 0:
                    red += total
                elif color == 1:
                    green += total
                else:
                    blue += total
    if in_rgb:
        to = rgb + n * r_n + i * r_h + j * r_w
        for color in tl.static_range(3):
            total = red if color == 0 else (green if color == 1 else blue)
            before = tl.load(to + color * r_c, inside, 0).to(tl.float32)
            tl.store(to + color * r_c, (before + total).to(rgb.dtype.element_ty), inside)


@triton.jit  # type: ignore[untyped-decorator]
def _filter_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - addresses and strides
    picture, p_n, p_c, p_h, p_w, rows, columns, row, padding, weight, bias, taps, out, o_n, o_h, o_w,
    channels, height, width, pixels, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * block + tl.arange(0, block)
    inside = p < pixels
    n, i, j = (p // (height * width)).to(tl.int64), p // width % height, p % width
    for first in range(0, channels, at_once):
        c = first + tl.arange(0, at_once)
        mask = inside[:, None] & (c < channels)[None, :]
        total = tl.zeros((block, at_once), tl.float32)
        for k in tl.static_range(_TAPS):
            for m in tl.static_range(_TAPS):
                h, w = i + row + k, j + m - padding
                exists = inside & (h >= 0) & (h < rows) & (w >= 0) & (w < columns)
                at = n * p_n + h * p_h + w * p_w
                value = _encoder_input(picture, at, p_c, weight, bias, c, exists, channels)
                # Beyond the border there are zeros, not the bias.
                total += tl.where(exists[:, None], value, 0) * tl.load(taps + k * _TAPS + m).to(tl.float32)
        to = out + (n * o_n + i * o_h + j * o_w)[:, None] + c[None, :]
        tl.store(to, total.to(out.dtype.element_ty), mask)


_library = torch.library.Library(_NAMESPACE, "DEF")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "finish(Tensor x, Tensor? taps, int row, Tensor? after, Tensor[] scaled, Tensor[] encoded, Tensor(a!)? out, "
    "Tensor(b!)? rgb, Tensor? to_rgb) -> ()"
)
_library.define("filter_picture(Tensor[] picture, Tensor taps, int row, int padding, Tensor(a!) out) -> ()")  # type: ignore[no-untyped-call]


def finish(
    x: Tensor,
    scaled: tuple[Tensor, Tensor, Tensor],
    encoded: Encoded | None,
    after: Tensor | None,
    out: Tensor | None = None,
    *,
    filtered: tuple[Tensor, int] | None = None,
    to_rgb: tuple[Tensor, Tensor] | None = None,
) -> None:
    """End a styled convolution, in one pass.

    x: (N, C, H, W), the convolution's result without its bias; with ``filtered`` before the filter. scaled: biases of
    the convolution (C,) and of the encoder's map, and the factor of that map. after: factors (N, C, 1, 1) of x. out:
    (N, 2 C, H, W), to write the result to, if it is needed. filtered: the filter's weight (C, 1, 4, 4), and the row of
    x that its first tap meets for the first row of the result; negative where that is above the map. to_rgb: a
    picture (N, 3, H, W) to which the result's convolution is added, and its weight (N, 3, 2 C).
    """
    taps, row = filtered or (None, 0)
    parts = [] if encoded is None else list(encoded) if isinstance(encoded, FromPicture) else [encoded]
    rgb, weight = to_rgb or (None, None)
    getattr(torch.ops, _NAMESPACE).finish(x, taps, row, after, list(scaled), parts, out, rgb, weight)


def filter_picture(picture: FromPicture, taps: Tensor, padding: int, *, row: int, height: int) -> Tensor:
    """``height`` rows of the filtered largest map of the encoder (N, C, height, W + 2 padding - 3).

    taps: the filter's weight (C, 1, 4, 4). row: the row of the picture that its first tap meets for the first row of
    the result; negative where that is above the picture.
    """
    width = picture.pixels.shape[3] + 2 * padding - TAPS + 1
    out = empty_map(picture.pixels, len(picture.bias), height, width)
    getattr(torch.ops, _NAMESPACE).filter_picture(list(picture), taps, row, padding, out)
    return out


def _finish(  # noqa: PLR0913 - what the operator is given
    x: Tensor,
    taps: Tensor | None,
    row: int,
    after: Tensor | None,
    scaled: list[Tensor],
    encoded: list[Tensor],
    out: Tensor | None,
    rgb: Tensor | None,
    to_rgb: Tensor | None,
) -> None:
    shaped = rgb if out is None else out
    assert shaped is not None
    (batch, channels), (height, width) = x.shape[:2], shaped.shape[2:]
    pixels, block, at_once = batch * height * width, *_block(channels)
    head_bias, tail_bias, factor = scaled
    e, encoder_weight, encoder_bias = (*encoded, x, x)[:3] if encoded else (x, x, x)
    written, picture, weight = (x if one is None else one for one in (out, rgb, to_rgb))
    assert x.stride(1) == 1
    assert out is None or out.stride(1) == 1
    # Pointers that a variant does not read are given any tensor.
    _finish_kernel[(triton.cdiv(pixels, block),)](
        x, x.stride(0), x.stride(2), x.stride(3), x.shape[2], x.shape[3], row, x if taps is None else taps,
        x if after is None else after, 0 if after is None else after.stride(0), head_bias, tail_bias, factor,
        e, *e.stride(), encoder_weight, encoder_bias,
        written, written.stride(0), *written.stride()[2:], picture, *picture.stride(),
        weight, weight.stride(0), weight.stride(1), channels, height, width, pixels,
        filtered=taps is not None, has_after=after is not None,
        has_encoded=bool(encoded), from_picture=len(encoded) > 1,
        stored=out is not None, in_rgb=rgb is not None, block=block, at_once=at_once,
    )  # fmt: skip


def _filter_picture(picture: list[Tensor], taps: Tensor, row: int, padding: int, out: Tensor) -> None:
    x, weight, bias = picture
    batch, channels, height, width = out.shape
    pixels, block, at_once = batch * height * width, *_block(channels)
    assert out.stride(1) == 1
    _filter_kernel[(triton.cdiv(pixels, block),)](
        x, *x.stride(), *x.shape[2:], row, padding, weight, bias, taps, out, out.stride(0), *out.stride()[2:],
        channels, height, width, pixels, block=block, at_once=at_once,
    )  # fmt: skip


def _block(channels: int) -> tuple[int, int]:
    """Pixels and channels that a program computes at a time: powers of two."""
    at_once = min(_MOST_CHANNELS, triton.next_power_of_2(channels))
    return ELEMENTS // at_once, at_once


def _nothing(*_: object) -> None:
    """What an operator computes on a device without values."""


for _name, _kernel in (("finish", _finish), ("filter_picture", _filter_picture)):
    _library.impl(_name, _kernel, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    _library.impl(_name, _nothing, "Meta")  # type: ignore[no-untyped-call]

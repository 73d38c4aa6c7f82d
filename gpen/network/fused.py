"""Fused kernels in Triton: filters, and what follows a convolution, in one pass over the map.

Without them each step reads and writes whole maps, and cuDNN's kernel for the filter takes several times as long as its
bytes. All kernels compute in float32 and round what they write. Maps are channels last, (N, C, H, W) in PyTorch's order
of dimensions; ``row`` tells which rows of a map a strip holds. A program computes all channels of some pixels of a row,
or of four rows below one another, whose filters share what they read.

They are registered as operators, without a gradient, so that they have shapes on pretended devices too.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from .fir import TAPS
from .fusion import Encoded, Enlarged, FromPicture
from .layers import LEAKY_SLOPE, empty_map

# A host may load this package under two names, and an operator can be registered once.
_NAMESPACE = re.sub(r"\W", "_", __name__)
_SLOPE = tl.constexpr(LEAKY_SLOPE)
_TAPS = tl.constexpr(TAPS)
ELEMENTS = 2048
"""Of a map that a program computes at a time."""
_ROWS = 4
"""That a program filters at a time, where there are enough pixels to keep a GPU busy."""
_UNIMPORTANT = (
    "x_rows", "x_columns", "row", "height", "width", "below_rows", "below_columns", "rgb_row",
    *(f"{picture}_{dimension}" for picture in ("r", "b") for dimension in "nchw"),
)  # fmt: skip
"""What is the same code for every value: Triton would compile a kernel for values of 1, for multiples of 16, and for
others."""
MANY_PIXELS = 64 * 64
"""Of a map that is filtered several rows at a time."""


@triton.jit
def _leaky_relu(x):  # type: ignore[no-untyped-def]
    return tl.where(x > 0, x, x * _SLOPE)


@triton.jit
def _of_channels(values, c, channels):  # type: ignore[no-untyped-def]
    """Values of the channels c (C,): (1, C)."""
    return tl.load(values, c < channels, 0).to(tl.float32)[None, :]


@triton.jit
def _encoder_input(pixels, at, channel_stride, red, green, blue, bias, inside):  # type: ignore[no-untyped-def]
    """The encoder's largest map at pixels ``at`` (P,), for weights (1, C) of the colours: (P, C)."""
    value = bias + tl.load(pixels + at, inside, 0).to(tl.float32)[:, None] * red
    value += tl.load(pixels + at + channel_stride, inside, 0).to(tl.float32)[:, None] * green
    value += tl.load(pixels + at + 2 * channel_stride, inside, 0).to(tl.float32)[:, None] * blue
    return _leaky_relu(value)


@triton.jit  # type: ignore[untyped-decorator]
def _filter_rows(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - the branches are compiled away
    x, x_n, x_h, x_w, rows, columns, row, padding, taps, n, top, j, inside, c, channels,
    count: tl.constexpr, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    """Filtered rows ``top`` (P,) to ``top + count`` at columns j (P,) and channels c (C,): four times (P, C).

    The filter is the product of a column and a row of taps, as that of StyleGAN2 is.
    """
    first = tl.load(taps).to(tl.float32)
    a0 = tl.zeros((block, at_once), tl.float32)
    a1 = tl.zeros((block, at_once), tl.float32)
    a2 = tl.zeros((block, at_once), tl.float32)
    a3 = tl.zeros((block, at_once), tl.float32)
    for k in tl.static_range(count + _TAPS - 1):
        h = top + row + k
        along = tl.zeros((block, at_once), tl.float32)
        for m in tl.static_range(_TAPS):
            w = j + m - padding
            exists = inside & (h >= 0) & (h < rows) & (w >= 0) & (w < columns)
            at = x + (n * x_n + h * x_h + w * x_w)[:, None] + c[None, :]
            value = tl.load(at, exists[:, None] & (c < channels)[None, :], 0).to(tl.float32)
            along += value * (tl.load(taps + m).to(tl.float32) / first)
        if k < _TAPS:
            a0 += along * tl.load(taps + k * _TAPS).to(tl.float32)
        if count > 1 and k >= 1 and k < 1 + _TAPS:
            a1 += along * tl.load(taps + (k - 1) * _TAPS).to(tl.float32)
        if count > 1 and k >= 2 and k < 2 + _TAPS:
            a2 += along * tl.load(taps + (k - 2) * _TAPS).to(tl.float32)
        if count > 1 and k >= 3:
            a3 += along * tl.load(taps + (k - 3) * _TAPS).to(tl.float32)
    return a0, a1, a2, a3


@triton.jit(do_not_specialize=["rows", "columns", "row", "padding", "height", "width"])  # type: ignore[untyped-decorator]
def _filter_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - addresses and strides
    x, x_n, x_h, x_w, rows, columns, row, padding, taps, out, o_n, o_h, o_w, channels, height, width,
    count: tl.constexpr, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    j, c = tl.program_id(0) * block + tl.arange(0, block), tl.arange(0, at_once)
    # A row for each column, although they are the same: Triton's interpreter cannot combine masks of other shapes.
    top, n = tl.program_id(1) * count + tl.zeros_like(j), tl.program_id(2).to(tl.int64)
    inside = j < width
    a0, a1, a2, a3 = _filter_rows(
        x, x_n, x_h, x_w, rows, columns, row, padding, taps, n, top, j, inside, c, channels, count, block, at_once,
    )  # fmt: skip
    for r in tl.static_range(count):
        value = a0 if r == 0 else (a1 if r == 1 else (a2 if r == 2 else a3))
        mask = (inside & (top + r < height))[:, None] & (c < channels)[None, :]
        to = out + (n * o_n + (top + r) * o_h + j * o_w)[:, None] + c[None, :]
        tl.store(to, value.to(out.dtype.element_ty), mask)


@triton.jit
def _enlarged(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - addresses and strides
    below, b_n, b_h, b_w, rows, columns, taps, n, i, j, inside
):  # fmt: skip
    """One colour of a picture at twice the height and width, at rows i (P,) and columns j (P,): (P,)."""
    total = tl.zeros(j.shape, tl.float32)
    for a in tl.static_range(2):
        k = (i + 1) % 2 + 2 * a
        h = (i + 1 - k) // 2
        for b in tl.static_range(2):
            m = (j + 1) % 2 + 2 * b
            w = (j + 1 - m) // 2
            # One more than i and j, which are not negative, is never less than k and m but for the border.
            exists = inside & (i + 1 >= k) & (h < rows) & (j + 1 >= m) & (w < columns)
            value = tl.load(below + n * b_n + h * b_h + w * b_w, exists, 0).to(tl.float32)
            total += value * tl.load(taps + k * _TAPS + m, inside, 0).to(tl.float32)
    return total


@triton.jit(do_not_specialize=_UNIMPORTANT)  # type: ignore[untyped-decorator]
def _finish_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913, C901 - one pass; the branches are compiled away
    x, x_n, x_h, x_w, x_rows, x_columns, row, taps, after, after_n, head_bias, tail_bias, factor,
    encoded, e_n, e_c, e_h, e_w, encoder_weight, encoder_bias, out, o_n, o_h, o_w,
    rgb, r_n, r_c, r_h, r_w, to_rgb, t_n, t_c, below, b_n, b_c, b_h, b_w, below_rows, below_columns, rgb_row,
    rgb_taps, rgb_bias, channels, height, width,
    filtered: tl.constexpr, has_after: tl.constexpr, has_encoded: tl.constexpr, from_picture: tl.constexpr,
    stored: tl.constexpr, in_rgb: tl.constexpr, count: tl.constexpr, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    j, c = tl.program_id(0) * block + tl.arange(0, block), tl.arange(0, at_once)
    # A row for each column, although they are the same: Triton's interpreter cannot combine masks of other shapes.
    top, n = tl.program_id(1) * count + tl.zeros_like(j), tl.program_id(2).to(tl.int64)
    of_width = j < width
    if filtered:
        a0, a1, a2, a3 = _filter_rows(
            x, x_n, x_h, x_w, x_rows, x_columns, row, 1, taps, n, top, j, of_width, c, channels, count, block, at_once,
        )  # fmt: skip
    if from_picture:
        red = _of_channels(encoder_weight + 3 * c, c, channels)
        green = _of_channels(encoder_weight + 3 * c + 1, c, channels)
        blue = _of_channels(encoder_weight + 3 * c + 2, c, channels)
        added = _of_channels(encoder_bias + c, c, channels)
    for r in tl.static_range(count):
        i = top + r
        inside = of_width & (i < height)
        mask = inside[:, None] & (c < channels)[None, :]
        if filtered:
            head = a0 if r == 0 else (a1 if r == 1 else (a2 if r == 2 else a3))
        else:
            head = tl.load(x + (n * x_n + i * x_h + j * x_w)[:, None] + c[None, :], mask, 0).to(tl.float32)
        if has_after:
            head *= _of_channels(after + n * after_n + c, c, channels)
        head = _leaky_relu(head + _of_channels(head_bias + c, c, channels))
        tail = tl.zeros((block, at_once), tl.float32)
        if has_encoded:
            at = n * e_n + i * e_h + j * e_w
            if from_picture:
                tail = _encoder_input(encoded, at, e_c, red, green, blue, added, inside)
            else:
                tail = tl.load(encoded + at[:, None] + c[None, :], mask, 0).to(tl.float32)
            tail *= tl.load(factor).to(tl.float32)
        tail = _leaky_relu(tail + _of_channels(tail_bias + c, c, channels))
        if stored:
            to = out + (n * o_n + i * o_h + j * o_w)[:, None] + c[None, :]
            tl.store(to, head.to(out.dtype.element_ty), mask)
            tl.store(to + channels, tail.to(out.dtype.element_ty), mask)
        if in_rgb:
            for color in tl.static_range(3):
                own = to_rgb + n * t_n + color * t_c + c
                part = head * _of_channels(own, c, channels) + tail * _of_channels(own + channels, c, channels)
                total = tl.sum(tl.where(mask, part, 0), axis=1) + tl.load(rgb_bias + color).to(tl.float32)
                total += _enlarged(
                    below + color * b_c, b_n, b_h, b_w, below_rows, below_columns,
                    rgb_taps + color * _TAPS * _TAPS, n, rgb_row + i, j, inside,
                )  # fmt: skip
                to = rgb + n * r_n + color * r_c + i * r_h + j * r_w
                tl.store(to, total.to(rgb.dtype.element_ty), inside)


@triton.jit  # type: ignore[untyped-decorator]
def _picture_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - addresses and strides
    picture, p_n, p_c, p_h, p_w, weight, bias, out, channels, height, width, pixels,
    block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    p, c = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block), tl.arange(0, at_once)
    at = p // (height * width) * p_n + p // width % height * p_h + p % width * p_w
    red, green = _of_channels(weight + 3 * c, c, channels), _of_channels(weight + 3 * c + 1, c, channels)
    blue, added = _of_channels(weight + 3 * c + 2, c, channels), _of_channels(bias + c, c, channels)
    value = _encoder_input(picture, at, p_c, red, green, blue, added, p < pixels)
    to, mask = out + (p * channels)[:, None] + c[None, :], (p < pixels)[:, None] & (c < channels)[None, :]
    tl.store(to, value.to(out.dtype.element_ty), mask)


@triton.jit  # type: ignore[untyped-decorator]
def _activate_kernel(x, bias, channels, pixels, block: tl.constexpr, at_once: tl.constexpr):  # type: ignore[no-untyped-def]
    p, c = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block), tl.arange(0, at_once)
    at, mask = x + (p * channels)[:, None] + c[None, :], (p < pixels)[:, None] & (c < channels)[None, :]
    value = tl.load(at, mask, 0).to(tl.float32) + _of_channels(bias + c, c, channels)
    tl.store(at, _leaky_relu(value).to(x.dtype.element_ty), mask)


_library = torch.library.Library(_NAMESPACE, "DEF")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "finish(Tensor x, Tensor? taps, int row, Tensor? after, Tensor[] scaled, Tensor[] encoded, Tensor(a!)? out, "
    "Tensor(b!)? rgb, Tensor[] to_rgb, int rgb_row) -> ()"
)
_library.define("filter(Tensor x, Tensor taps, int row, int padding, Tensor(a!) out) -> ()")  # type: ignore[no-untyped-call]
_library.define("of_picture(Tensor picture, Tensor weight, Tensor bias, Tensor(a!) out) -> ()")  # type: ignore[no-untyped-call]
_library.define("activate(Tensor(a!) x, Tensor bias) -> ()")  # type: ignore[no-untyped-call]


def finish(
    x: Tensor,
    scaled: tuple[Tensor, Tensor, Tensor],
    encoded: Encoded | None,
    after: Tensor | None,
    out: Tensor | None = None,
    *,
    filtered: tuple[Tensor, int] | None = None,
    to_rgb: tuple[Tensor, Tensor, Enlarged] | None = None,
) -> None:
    """End a styled convolution, in one pass.

    x: (N, C, H, W), the convolution's result without its bias; with ``filtered`` before the filter. scaled: biases of
    the convolution (C,) and of the encoder's map, and the factor of that map. after: factors (N, C, 1, 1) of x. out:
    (N, 2 C, H, W), to write the result to, if it is needed. filtered: the filter's weight (C, 1, 4, 4), and the row of
    x that its first tap meets for the first row of the result; negative where that is above the map. to_rgb: a
    picture (N, 3, H, W) to write the result's convolution to, the convolution's weight (N, 3, 2 C), and what is added.
    """
    taps, row = filtered or (None, 0)
    x = _channels_last(x)
    parts = [] if encoded is None else list(encoded) if isinstance(encoded, FromPicture) else [_channels_last(encoded)]
    rgb, others, rgb_row = None, [], 0
    if to_rgb is not None:
        rgb, weight, (below, rgb_taps, bias, rgb_row) = to_rgb
        others = [weight, below, rgb_taps, bias]
    getattr(torch.ops, _NAMESPACE).finish(x, taps, row, after, list(scaled), parts, out, rgb, others, rgb_row)


def filter_rows(x: Encoded, taps: Tensor, padding: int, *, row: int, height: int) -> Tensor:
    """``height`` rows of a filtered map (N, C, height, W + 2 padding - 3).

    x: rows of the map, or of the picture that it is computed from. taps: the filter's weight (C, 1, 4, 4). row: the row
    of x that its first tap meets for the first row of the result; negative where that is above the map.
    """
    if isinstance(x, FromPicture):
        # Computed for each tap anew, the map would cost more than its bytes.
        pixels, weight, bias = x
        x = empty_map(pixels, len(bias), *pixels.shape[2:])
        getattr(torch.ops, _NAMESPACE).of_picture(pixels, weight, bias, x)
    x = _channels_last(x)
    out = empty_map(x, x.shape[1], height, x.shape[3] + 2 * padding - TAPS + 1)
    getattr(torch.ops, _NAMESPACE).filter(x, taps, row, padding, out)
    return out


def activate(x: Tensor, bias: Tensor) -> Tensor:
    """Add a bias (C,) to (N, C, H, W), then the leaky ReLU, in place where channels are last."""
    x = _channels_last(x)
    getattr(torch.ops, _NAMESPACE).activate(x, bias)
    return x


def _channels_last(x: Tensor) -> Tensor:
    """x, or a copy if it has another memory layout: as convolutions return where weights cannot be laid out."""
    return x if x.stride(1) == 1 else x.contiguous(memory_format=torch.channels_last)


def _finish(  # noqa: PLR0913 - what the operator is given
    x: Tensor,
    taps: Tensor | None,
    row: int,
    after: Tensor | None,
    scaled: list[Tensor],
    encoded: list[Tensor],
    out: Tensor | None,
    rgb: Tensor | None,
    to_rgb: list[Tensor],
    rgb_row: int,
) -> None:
    shaped = rgb if out is None else out
    assert shaped is not None
    assert x.stride(1) == 1
    assert out is None or out.stride(1) == 1
    (batch, channels), (height, width) = x.shape[:2], shaped.shape[2:]
    grid, sizes = _programs(batch, channels, height, width, several_rows=taps is not None)
    head_bias, tail_bias, factor = scaled
    # Pointers that a variant does not read are given any tensor.
    e, encoder_weight, encoder_bias = (*encoded, x, x)[:3] if encoded else (x, x, x)
    weight, below, rgb_taps, rgb_bias = to_rgb or (x, x, x, x)
    written, picture = (x if one is None else one for one in (out, rgb))
    _finish_kernel[grid](
        x, x.stride(0), x.stride(2), x.stride(3), x.shape[2], x.shape[3], row, x if taps is None else taps,
        x if after is None else after, 0 if after is None else after.stride(0), head_bias, tail_bias, factor,
        e, *e.stride(), encoder_weight, encoder_bias, written, written.stride(0), *written.stride()[2:],
        picture, *picture.stride(), weight, weight.stride(0), weight.stride(1),
        below, *below.stride(), *below.shape[2:], rgb_row, rgb_taps, rgb_bias, channels, height, width,
        filtered=taps is not None, has_after=after is not None,
        has_encoded=bool(encoded), from_picture=len(encoded) > 1, stored=out is not None, in_rgb=rgb is not None,
        **sizes,
    )  # fmt: skip


def _filter(x: Tensor, taps: Tensor, row: int, padding: int, out: Tensor) -> None:
    batch, channels, height, width = out.shape
    assert x.stride(1) == out.stride(1) == 1
    grid, sizes = _programs(batch, channels, height, width, several_rows=True)
    _filter_kernel[grid](
        x, x.stride(0), *x.stride()[2:], *x.shape[2:], row, padding, taps, out, out.stride(0), *out.stride()[2:],
        channels, height, width, **sizes,
    )  # fmt: skip


def _of_picture(picture: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    channels, height, width = out.shape[1:]
    pixels, sizes = _pixels_of(out)
    _picture_kernel[(triton.cdiv(pixels, sizes["block"]),)](
        picture, *picture.stride(), weight, bias, out, channels, height, width, pixels, **sizes
    )


def _activate(x: Tensor, bias: Tensor) -> None:
    pixels, sizes = _pixels_of(x)
    _activate_kernel[(triton.cdiv(pixels, sizes["block"]),)](x, bias, x.shape[1], pixels, **sizes)


def _pixels_of(x: Tensor) -> tuple[int, dict[str, int]]:
    """The pixels of a map without gaps, and the pixels and channels of one program: powers of two."""
    assert x.is_contiguous(memory_format=torch.channels_last)
    at_once = triton.next_power_of_2(x.shape[1])
    return x.numel() // x.shape[1], {"block": max(1, ELEMENTS // at_once), "at_once": at_once}


def _programs(
    batch: int, channels: int, height: int, width: int, *, several_rows: bool
) -> tuple[tuple[int, int, int], dict[str, int]]:
    """The programs along columns, rows and pictures; the rows, and the columns and channels of one: powers of two."""
    at_once = triton.next_power_of_2(channels)
    count = _ROWS if several_rows and height * width >= MANY_PIXELS else 1
    # The filters of several rows need as many registers.
    elements = ELEMENTS // 2 if count > 1 else ELEMENTS
    block = min(max(1, elements // at_once), triton.next_power_of_2(width))
    grid = (triton.cdiv(width, block), triton.cdiv(height, count), batch)
    return grid, {"count": count, "block": block, "at_once": at_once}


def _nothing(*_: object) -> None:
    """What an operator computes on a device without values."""


def _on_its_device(kernel: Callable[..., None]) -> Callable[..., None]:
    """Triton starts kernels on the current device, which need not be that of the tensors."""

    @functools.wraps(kernel)
    def call(x: Tensor, *others: object) -> None:
        with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
            kernel(x, *others)

    return call


_OPERATORS: dict[str, Callable[..., None]] = {
    "finish": _finish,
    "filter": _filter,
    "of_picture": _of_picture,
    "activate": _activate,
}
for _name, _kernel in _OPERATORS.items():
    _library.impl(_name, _on_its_device(_kernel), "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    _library.impl(_name, _nothing, "Meta")  # type: ignore[no-untyped-call]

"""The kernels of :mod:`.fused`, in Triton. They read and write at addresses, with the strides of maps (n, c, h, w)."""

from __future__ import annotations

import triton
import triton.language as tl

from .fir import TAPS
from .layers import LEAKY_SLOPE

_SLOPE = tl.constexpr(LEAKY_SLOPE)
_TAPS = tl.constexpr(TAPS)
_UNIMPORTANT = (
    "x_rows", "x_columns", "row", "height", "width", "below_rows", "below_columns", "rgb_row",
    *(f"{picture}_{dimension}" for picture in ("r", "b") for dimension in "nchw"),
)  # fmt: skip
"""What needs no code of its own for values of 1, for multiples of 16, and for others."""


@triton.jit
def _leaky_relu(x):  # type: ignore[no-untyped-def]
    return tl.where(x > 0, x, x * _SLOPE)


@triton.jit
def _of_channels(values, c, channels):  # type: ignore[no-untyped-def]
    """Values of the channels c (C,): (1, C)."""
    return tl.load(values, c < channels, 0).to(tl.float32)[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def _places_and_channels(channels, block: tl.constexpr, at_once: tl.constexpr):  # type: ignore[no-untyped-def]
    """What a program computes: the places (P,) along a row or a map, and the channels (C,)."""
    parts = tl.cdiv(channels, at_once)
    places = tl.program_id(0) // parts * block + tl.arange(0, block)
    return places, tl.program_id(0) % parts * at_once + tl.arange(0, at_once)


@triton.jit  # type: ignore[untyped-decorator]
def _rows_and_picture(j, count: tl.constexpr):  # type: ignore[no-untyped-def]
    """The first row, for each of the columns j (P,), and the picture that a program computes."""
    # The same row each time: Triton's interpreter cannot combine masks of other shapes.
    return tl.program_id(1) * count + tl.zeros_like(j), tl.program_id(2).to(tl.int64)


@triton.jit
def _encoder_weights(weight, bias, c, channels):  # type: ignore[no-untyped-def]
    """Of the encoder's input layer, for channels c (C,): of red, green and blue, and the bias, (1, C) each."""
    red, green = _of_channels(weight + 3 * c, c, channels), _of_channels(weight + 3 * c + 1, c, channels)
    return red, green, _of_channels(weight + 3 * c + 2, c, channels), _of_channels(bias + c, c, channels)


@triton.jit
def _encoder_input(pixels, at, channel_stride, red, green, blue, bias, inside):  # type: ignore[no-untyped-def]
    """The encoder's largest map at pixels ``at`` (P,), for :func:`_encoder_weights`: (P, C)."""
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
def filter_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - addresses and strides
    x, x_n, x_h, x_w, rows, columns, row, padding, taps, out, o_n, o_h, o_w, channels, height, width,
    count: tl.constexpr, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    j, c = _places_and_channels(channels, block, at_once)
    top, n = _rows_and_picture(j, count)
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
def finish_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913, C901 - one pass; the branches are compiled away
    x, x_n, x_h, x_w, x_rows, x_columns, row, taps, after, after_n, head_bias, tail_bias, factor,
    encoded, e_n, e_c, e_h, e_w, encoder_weight, encoder_bias, out, o_n, o_h, o_w,
    rgb, r_n, r_c, r_h, r_w, to_rgb, t_n, t_c, below, b_n, b_c, b_h, b_w, below_rows, below_columns, rgb_row,
    rgb_taps, rgb_bias, channels, height, width,
    filtered: tl.constexpr, has_after: tl.constexpr, has_encoded: tl.constexpr, from_picture: tl.constexpr,
    stored: tl.constexpr, in_rgb: tl.constexpr, count: tl.constexpr, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    j, c = _places_and_channels(channels, block, at_once)
    top, n = _rows_and_picture(j, count)
    of_width = j < width
    if filtered:
        a0, a1, a2, a3 = _filter_rows(
            x, x_n, x_h, x_w, x_rows, x_columns, row, 1, taps, n, top, j, of_width, c, channels, count, block, at_once,
        )  # fmt: skip
    if from_picture:
        red, green, blue, added = _encoder_weights(encoder_weight, encoder_bias, c, channels)
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
def picture_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - addresses and strides
    picture, p_n, p_c, p_h, p_w, weight, bias, out, channels, height, width, pixels,
    block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    p, c = _places_and_channels(channels, block, at_once)
    p = p.to(tl.int64)
    at = p // (height * width) * p_n + p // width % height * p_h + p % width * p_w
    red, green, blue, added = _encoder_weights(weight, bias, c, channels)
    value = _encoder_input(picture, at, p_c, red, green, blue, added, p < pixels)
    to, mask = out + (p * channels)[:, None] + c[None, :], (p < pixels)[:, None] & (c < channels)[None, :]
    tl.store(to, value.to(out.dtype.element_ty), mask)


@triton.jit  # type: ignore[untyped-decorator]
def activate_kernel(x, bias, channels, pixels, block: tl.constexpr, at_once: tl.constexpr):  # type: ignore[no-untyped-def]
    p, c = _places_and_channels(channels, block, at_once)
    p = p.to(tl.int64)
    at, mask = x + (p * channels)[:, None] + c[None, :], (p < pixels)[:, None] & (c < channels)[None, :]
    value = tl.load(at, mask, 0).to(tl.float32) + _of_channels(bias + c, c, channels)
    tl.store(at, _leaky_relu(value).to(x.dtype.element_ty), mask)

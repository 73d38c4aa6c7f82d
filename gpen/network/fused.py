"""Fused kernels in Triton: filters, and what follows a convolution, in one pass over the map.

Without them each step reads and writes whole maps, and cuDNN's kernel for the filter takes several times as long as its
bytes. All kernels compute in float32 and round what they write. Maps are channels last, (N, C, H, W) in PyTorch's order
of dimensions; ``row`` tells which rows of a map a strip holds. A program computes some channels of some pixels of a
row, or of four rows, whose filters share what they read. Levels share what is compiled as far as they can.

They are registered as operators, without a gradient, so that they have shapes on pretended devices too.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable

import torch
import triton
from torch import Tensor

from .fir import TAPS
from .fused_kernels import activate_kernel, filter_kernel, finish_kernel, picture_kernel
from .fusion import Encoded, Enlarged, FromPicture
from .layers import empty_map

# A host may load this package under two names, and an operator can be registered once.
_NAMESPACE = re.sub(r"\W", "_", __name__)
ELEMENTS = 2048
"""Of a map that a program computes at a time."""
_ROWS = 4
"""That a program filters at a time, where there are enough pixels to keep a GPU busy."""
_MANY_PIXELS = 32 * 32
"""Of a map that is filtered several rows at a time."""
_CHANNELS = 64
"""That a program computes, where it does not need all of them."""
Grid = tuple[int, int, int]
"""Programs along columns and channels, along rows, and along pictures."""

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
    channels, (height, width) = x.shape[1], shaped.shape[2:]
    grid, sizes = _programs(x, height, width, filtered=taps is not None, whole=rgb is not None)
    head_bias, tail_bias, factor = scaled
    # Pointers that a variant does not read are given any tensor.
    e, encoder_weight, encoder_bias = (*encoded, x, x)[:3] if encoded else (x, x, x)
    weight, below, rgb_taps, rgb_bias = to_rgb or (x, x, x, x)
    written, picture = (x if one is None else one for one in (out, rgb))
    finish_kernel[grid](
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
    channels, height, width = out.shape[1:]
    assert x.stride(1) == out.stride(1) == 1
    grid, sizes = _programs(x, height, width, filtered=True, whole=False)
    filter_kernel[grid](
        x, x.stride(0), *x.stride()[2:], *x.shape[2:], row, padding, taps, out, out.stride(0), *out.stride()[2:],
        channels, height, width, **sizes,
    )  # fmt: skip


def _of_picture(picture: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    channels, height, width = out.shape[1:]
    grid, sizes = _programs_of(out)
    picture_kernel[grid](picture, *picture.stride(), weight, bias, out, channels, height, width, **sizes)


def _activate(x: Tensor, bias: Tensor) -> None:
    grid, sizes = _programs_of(x)
    activate_kernel[grid](x, bias, x.shape[1], **sizes)


def _programs_of(x: Tensor) -> tuple[tuple[int], dict[str, int]]:
    """The programs for a map without gaps; its pixels, and the pixels and channels of a program: powers of two."""
    assert x.is_contiguous(memory_format=torch.channels_last)
    channels, pixels = x.shape[1], x.numel() // x.shape[1]
    at_once = min(_CHANNELS, triton.next_power_of_2(channels))
    block = ELEMENTS // at_once
    grid = (triton.cdiv(pixels, block) * triton.cdiv(channels, at_once),)
    return grid, {"pixels": pixels, "block": block, "at_once": at_once}


def _programs(x: Tensor, height: int, width: int, *, filtered: bool, whole: bool) -> tuple[Grid, dict[str, int]]:
    """The programs for a result as wide and high; the rows, and the columns and channels of one: powers of two.

    whole: a program needs all channels.
    """
    batch, channels = x.shape[:2]
    at_once = triton.next_power_of_2(channels)
    at_once = at_once if whole else min(_CHANNELS, at_once)
    count = _ROWS if filtered and height * width >= _MANY_PIXELS else 1
    # The filters of several rows need as many registers.
    block = max(1, (ELEMENTS // 2 if count > 1 else ELEMENTS) // at_once)
    grid = (triton.cdiv(width, block) * triton.cdiv(channels, at_once), triton.cdiv(height, count), batch)
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

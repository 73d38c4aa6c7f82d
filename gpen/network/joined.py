"""A 3 x 3 convolution and the FIR filter before or after it as one convolution, which saves a pass over the maps.

Both are linear, so convolving with a kernel of 6 x 6, the two kernels' own convolution, gives the same result without
the map between them. That takes four times the products, and pays where a GPU waits for memory rather than for
arithmetic: in 16 bits at the largest level, which has the largest maps and the fewest channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_CHANNEL_PAIRS = 1024
"""Input times output channels of the widest convolution that is joined with its filter. At 3 TB/s and 400 TFLOP/s the
additional products then take about as long as the bytes that are saved; at the next level, twice as long."""


def pays(x: Tensor, in_channels: int, out_channels: int) -> bool:
    """Whether a convolution of ``x`` is faster joined with its filter."""
    in_16_bits_on_cuda = x.device.type == "cuda" and x.dtype.itemsize == 2
    return in_16_bits_on_cuda and in_channels * out_channels <= MOST_CHANNEL_PAIRS


def down_weight(weight: Tensor, kernel: Tensor, gain: float) -> Tensor:
    """The weight (out, in, 6, 6) of the filter with ``kernel`` (4, 4) times ``gain``, then a convolution.

    weight: (out, in, 3, 3), of the convolution. The result has its dtype, and channels last.
    """
    kernels = _correlated(weight, kernel * gain)
    return kernels.to(weight.dtype).contiguous(memory_format=torch.channels_last)


def down(x: Tensor, weight: Tensor, bias: Tensor, *, height: int, rows: tuple[int, int]) -> Tensor:
    """Rows ``rows`` (start, stop) of the map of half the height and width, before its leaky ReLU: (N, out, rows, W/2).

    x: the rows that :func:`gpen.network.fir.rows_to_blur` names, of a map (N, in, height, W). bias: (out,).
    """
    start, stop = rows
    at_border = start == 0 or 2 * stop == height
    out = F.conv2d(x, weight, bias, stride=2, padding=(2 if at_border else 0, 2))
    skipped = 1 if at_border and start else 0
    return out[:, :, skipped : skipped + stop - start]


def up_weight(weight: Tensor, kernel: Tensor) -> Tensor:
    """The float32 weights (4, out, in, 3, 3) of a transposed convolution of stride 2, then the filter.

    There is one for each position (0, 0), (0, 1), (1, 0), (1, 1) among 2 x 2 pixels of the result; together they hold
    the 36 values of the joined kernels. weight: (out, in, 3, 3), of the convolution. kernel: (4, 4), of the filter.
    Channels are last in memory.
    """
    kernels = _correlated(weight, kernel.flip(0, 1))
    each = [kernels[:, :, row::2, column::2].flip(2, 3) for row in (0, 1) for column in (0, 1)]
    return torch.stack(each).permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


class Pixels(NamedTuple):
    """Every other row of a part of a map."""

    rows: slice
    """Rows of the part."""
    values: Tensor
    """(N, C, rows, W, 2): each two neighbours in a row."""

    def place_in(self, part: Tensor) -> Tensor:
        """The view of a part (N, C, H, 2 W) that the values belong to."""
        return torch.unflatten(part[:, :, self.rows], 3, (-1, 2))


def up(x: Tensor, weight: Tensor, bias: Tensor | None, *, rows: tuple[int, int]) -> list[Pixels]:
    """Rows ``rows`` (start, stop) of the map of twice the height and width of ``x`` (N, in, H, W).

    weight: (4 out, in, 3, 3), of :func:`up_weight`. bias: (4 out,), or None.
    """
    start, stop = rows
    first, last = start // 2, (stop + 1) // 2
    begin, end = max(0, first - 1), min(x.shape[2], last + 1)
    at_border = first == 0 or last == x.shape[2]
    out = F.conv2d(x[:, :, begin:end], weight, bias, padding=(1 if at_border else 0, 1))
    out = out[:, :, first - begin :] if at_border else out
    halves = []
    for odd, half in enumerate(torch.chunk(out, 2, dim=1)):
        # The first and last pair of rows may be wanted in part.
        low, high = (start - odd + 1) // 2, (stop - odd + 1) // 2
        values = torch.unflatten(half[:, :, low - first : high - first], 1, (2, -1))
        halves.append(Pixels(slice(2 * low + odd - start, None, 2), values.permute(0, 2, 3, 4, 1)))
    return halves


def _correlated(weight: Tensor, taps: Tensor) -> Tensor:
    """Each 3 x 3 kernel, surrounded by zeros, filtered with 4 x 4 taps: (out, in, 6, 6), float32."""
    kernels = weight.float().reshape(-1, 1, *weight.shape[2:])
    return F.conv2d(kernels, taps.float()[None, None], padding=3).view(*weight.shape[:2], 6, 6)

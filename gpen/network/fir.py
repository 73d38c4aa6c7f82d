"""StyleGAN2's FIR resampling filters as depthwise convolutions.

Source of the paddings: StyleGAN2's ``upfirdn2d`` with the separable kernel [1, 3, 3, 1]. Every kernel passed in is the
4 x 4 buffer of a published checkpoint, already scaled (x 4 for upsampling). All functions take and return (N, C, H, W)
in the memory format of the input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 4


def published_kernel(gain: float = 1.0) -> Tensor:
    """The 4 x 4 kernel outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 times ``gain``, as checkpoints store it."""
    row = (1.0, 3.0, 3.0, 1.0)
    # In Python: on the device "meta", a tensor operation would take a second for imports of PyTorch.
    return torch.tensor([[gain / 64 * a * b for a in row] for b in row])


def blurred_height(height: int, padding: int) -> int:
    """Rows of a map of ``height`` rows after the filter."""
    return height + 2 * padding - TAPS + 1


def rows_to_blur(start: int, stop: int, height: int, padding: int) -> tuple[int, int]:
    """The rows of a map of ``height`` rows on which rows ``start`` to ``stop`` of the filtered map depend."""
    return max(0, start - padding), min(height, stop - padding + TAPS - 1)


def blur(
    x: Tensor,
    kernel: Tensor,
    padding: int,
    bias: Tensor | None = None,
    *,
    first: int = 0,
    height: int | None = None,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """Filter each channel with zero padding on all sides, then add ``bias`` (C,).

    Height and width become H + 2 padding - 3. x may be a strip, starting at row ``first``, of a map of ``height`` rows;
    ``rows`` are the rows of the result to compute, as (start, stop). The strip has to contain the rows that
    :func:`rows_to_blur` returns.
    """
    height = x.shape[2] if height is None else height
    start, stop = rows or (0, blurred_height(height, padding))
    begin, end = rows_to_blur(start, stop, height, padding)
    x = x[:, :, begin - first : end - first]
    at_border = start < padding or stop - padding + TAPS - 1 > height
    channels = x.shape[1]
    # upfirdn2d convolves, conv2d correlates: flip the kernel.
    weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, *kernel.shape)
    out = F.conv2d(x, weight, bias, padding=(padding if at_border else 0, padding), groups=channels)
    return out[:, :, start - begin : stop - begin] if at_border else out


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Double height and width: zeros between the pixels, then the filter."""
    channels = x.shape[1]
    weight = kernel.to(x.dtype).expand(channels, 1, *kernel.shape)
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=channels)

"""StyleGAN2's FIR resampling filters as depthwise convolutions.

Source of the paddings: StyleGAN2's ``upfirdn2d`` with the separable kernel [1, 3, 3, 1]. Kernels are the 4 x 4 buffers
of the published checkpoints, already scaled (x 4 for upsampling). Two functions make weights of them, once; the others
take such weights, and maps (N, C, H, W) whose memory format the results have.
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


def blur_weight(kernel: Tensor, channels: int, gain: float = 1.0) -> Tensor:
    """The weight (C, 1, 4, 4) with which :func:`blur` applies ``kernel`` times ``gain``."""
    # upfirdn2d convolves, conv2d correlates: flip the kernel.
    return _depthwise(kernel.flip(0, 1) * gain, channels)


def wide(weight: Tensor) -> Tensor:
    """A weight for :func:`blur` with zeros for a fifth tap: (C, 1, 5, 5).

    cuDNN has a fast kernel for 5 x 5 depthwise convolutions of maps whose channels are last. For 4 x 4 it takes ten
    times as long, measured on an H200 in float16 and float32.
    """
    return F.pad(weight, (1, 0, 1, 0))


def is_faster_wide(x: Tensor) -> bool:
    """Whether :func:`blur` should be given a :func:`wide` weight for maps on the device of ``x``."""
    return x.device.type == "cuda" and torch.version.hip is None


def upsample_weight(kernel: Tensor, channels: int) -> Tensor:
    """The weight (C, 1, 4, 4) with which :func:`upsample` applies ``kernel``."""
    return _depthwise(kernel, channels)


def _depthwise(kernel: Tensor, channels: int) -> Tensor:
    return kernel.expand(channels, 1, *kernel.shape).contiguous()


def blurred_height(height: int, padding: int) -> int:
    """Rows of a map of ``height`` rows after the filter."""
    return height + 2 * padding - TAPS + 1


def rows_to_blur(start: int, stop: int, height: int, padding: int) -> tuple[int, int]:
    """The rows of a map of ``height`` rows on which rows ``start`` to ``stop`` of the filtered map depend."""
    return max(0, start - padding), min(height, stop - padding + TAPS - 1)


def blur(
    x: Tensor,
    weight: Tensor,
    padding: int,
    bias: Tensor | None = None,
    *,
    first: int = 0,
    height: int | None = None,
    rows: tuple[int, int] | None = None,
    spare: bool = False,
) -> Tensor:
    """Filter each channel with zero padding on all sides, then add ``bias`` (C,).

    Height and width become H + 2 padding - 3. x may be a strip, starting at row ``first``, of a map of ``height`` rows;
    ``rows`` are the rows of the result to compute, as (start, stop). The strip has to contain the rows that
    :func:`rows_to_blur` returns. weight: (C, 1, 4, 4), or made :func:`wide`. spare: the result may have another row and
    column at its end, which mean nothing: cutting them off leaves gaps in memory.
    """
    height = x.shape[2] if height is None else height
    start, stop = rows or (0, blurred_height(height, padding))
    begin, end = rows_to_blur(start, stop, height, padding)
    x = x[:, :, begin - first : end - first]
    at_border = start < padding or stop - padding + TAPS - 1 > height
    extra = weight.shape[2] - TAPS
    padded = (extra + (padding if at_border else 0), extra + padding)
    out = F.conv2d(x, weight, bias, padding=padded, groups=x.shape[1])
    top, count = start - begin if at_border else 0, stop - start
    if extra and not (spare and top == 0 and out.shape[2] == count + extra):
        out = out[..., : out.shape[3] - extra]
        return out[:, :, top : top + count]
    return out[:, :, top : top + count] if at_border else out


def upsample(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Double height and width: zeros between the pixels, then the filter; add ``bias`` (C,)."""
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1, groups=x.shape[1])

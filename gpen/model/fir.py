"""StyleGAN2's FIR resampling filters as depthwise convolutions.

Source of the paddings: StyleGAN2's ``upfirdn2d`` with the separable kernel [1, 3, 3, 1]. Every kernel
passed in is the 4 x 4 buffer of a published checkpoint, already scaled (x 4 where the filter upsamples).
All functions take and return (N, C, H, W) in the memory format of the input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def published_kernel(gain: float = 1.0) -> Tensor:
    """The 4 x 4 kernel outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 times ``gain``, as checkpoints store it."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(row, row) * (gain / 64)


def blur(x: Tensor, kernel: Tensor, padding: int, bias: Tensor | None = None) -> Tensor:
    """Filter each channel; zero padding on all sides, then ``bias`` (C,) added.

    Height and width become H + 2 padding - 3.
    """
    channels = x.shape[1]
    # upfirdn2d convolves, conv2d correlates: the kernel is turned round.
    weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, *kernel.shape)
    return F.conv2d(x, weight, bias, padding=padding, groups=channels)


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Double height and width: zeros between the pixels, then the filter."""
    channels = x.shape[1]
    weight = kernel.to(x.dtype).expand(channels, 1, *kernel.shape)
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=channels)

"""3 x 3 convolution by Winograd's minimal filtering, F(2 x 2, 3 x 3).

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1. A tile of 2 x 2
outputs takes 16 multiplications per pair of channels instead of 36. The price is additions before and after, which pay
off for maps with many channels and few pixels. In float32 the result differs from a direct convolution about as much as
two direct convolutions differ from each other; lower precisions lose too much.
"""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 2
"""Outputs of a tile along each axis."""
_POINTS = 4
"""Inputs of a tile along each axis."""
_WEIGHT_TRANSFORM = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))

WORKING_BYTES = 8 << 20
"""Bytes of transformed input to compute at a time."""


def transform_weight(weight: Tensor) -> Tensor:
    """Transform (out, in, 3, 3) to (16, in, out), as :func:`convolve` takes it."""
    transform = torch.tensor(_WEIGHT_TRANSFORM, dtype=weight.dtype, device=weight.device)
    transform = torch.kron(transform, transform)
    taps = weight.flatten(2)
    out = weight.new_empty((_POINTS**2, weight.shape[1], weight.shape[0]))
    # One by one: as a whole, the intermediate result would be twice as large as the final one.
    for point, row in zip(out, transform, strict=True):
        point.copy_((taps @ row).mT)
    return out


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (1, in, H + 2, W) to (1, out, H, W), both channels last; pads columns with zeros, but not rows.

    weight: (16, in, out), from :func:`transform_weight`. H and W have to be even.
    """
    _, channels, height, width = x.shape
    height -= 2
    pixels = x[0].permute(1, 2, 0)
    out = torch.empty((height // TILE, TILE, width // TILE, TILE, weight.shape[2]), dtype=x.dtype, device=x.device)
    row_bytes = _POINTS**2 // TILE**2 * width * channels * x.element_size()
    step = max(TILE, WORKING_BYTES // row_bytes // TILE * TILE)
    for top in range(0, height, step):
        bottom = min(height, top + step)
        points = _transform_input(pixels[top : bottom + 2])
        products = torch.bmm(points.flatten(0, 1).flatten(1, 2), weight)
        _transform_output(products.view(*points.shape[:-1], -1), out[top // TILE : bottom // TILE])
    return out.view(1, height, width, -1).permute(0, 3, 1, 2)


def _transform_input(x: Tensor) -> Tensor:
    """(H + 2, W, C) to (4, 4, H / 2, W / 2, C)."""
    height, width, channels = x.shape
    height -= 2
    rows = x.new_empty((_POINTS, height // TILE, width + 2, channels))
    rows[:, :, 0] = 0
    rows[:, :, -1] = 0
    _combine_inputs([x[k : k + height - 1 : TILE] for k in range(_POINTS)], rows[:, :, 1:-1])
    points = x.new_empty((_POINTS, _POINTS, height // TILE, width // TILE, channels))
    _combine_inputs([rows[:, :, k : k + width - 1 : TILE] for k in range(_POINTS)], points.transpose(0, 1))
    return points


def _combine_inputs(x: list[Tensor], out: Tensor) -> None:
    torch.sub(x[0], x[2], out=out[0])
    torch.add(x[1], x[2], out=out[1])
    torch.sub(x[2], x[1], out=out[2])
    torch.sub(x[1], x[3], out=out[3])


def _transform_output(points: Tensor, out: Tensor) -> None:
    """(4, 4, H / 2, W / 2, C) to (H / 2, 2, W / 2, 2, C)."""
    columns = _combine_outputs(points.transpose(0, 1))
    for j in range(TILE):
        for i, rows in enumerate(_combine_outputs(columns[j])):
            out[:, i, :, j] = rows


def _combine_outputs(x: Tensor) -> tuple[Tensor, Tensor]:
    both, difference = x[1] + x[2], x[1] - x[2]
    return both.add_(x[0]), difference.sub_(x[3])

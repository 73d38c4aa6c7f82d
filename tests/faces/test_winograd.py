"""Convolutions in tiles, against direct ones in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpen.faces.winograd import TILE, Kind, TiledConv, enlarged, fill_border, plain, stride_2


def direct(kind: Kind, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Of a map without its border (H, W, in), in its dtype."""
    picture = x.permute(2, 0, 1)[None]
    if kind is enlarged():
        picture = F.interpolate(picture, scale_factor=2, mode="nearest")
    padded = F.pad(picture, (1, 1, 1, 1), mode="reflect")
    stride = 2 if kind is stride_2() else 1
    return F.conv2d(padded, weight.to(x), bias.to(x), stride=stride)[0].permute(1, 2, 0)


@pytest.mark.parametrize("kind", [plain(), enlarged(), stride_2()], ids=["plain", "enlarged", "stride 2"])
@pytest.mark.parametrize(("size", "channels"), [(16, (5, 7)), (64, (96, 40)), (256, (8, 3))])
def test_the_result_is_that_of_a_direct_convolution(kind: Kind, size: int, channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    before, after = channels
    weight, bias = torch.randn(after, before, 3, 3) / (9 * before) ** 0.5, torch.randn(after)
    length = size * kind.step // TILE
    # One map may hold the inputs of several convolutions.
    x = torch.randn(length + 2, length + 2, before + 3)[..., 2:-1]
    fill_border(x, kind)
    convolution = TiledConv(kind, weight, bias, size)
    rows = [
        convolution(x, start, min(start + convolution.rows_at_a_time, size // TILE))
        for start in range(0, size // TILE, convolution.rows_at_a_time)
    ]
    result = torch.cat(rows).reshape(size, size, after)
    inner = x[1:-1, 1:-1]
    exact = direct(kind, inner.double(), weight, bias)
    error, usual = (result - exact).abs().max(), (direct(kind, inner, weight, bias) - exact).abs().max()
    assert error < 1e-4
    assert error < 40 * usual


def test_fewer_multiplications_than_nine_per_output() -> None:
    counted = {
        kind: sum(rows.points * columns.points for rows, columns in kind().pairs) / TILE**2
        for kind in (plain, enlarged, stride_2)
    }
    assert counted == {plain: 2.25, enlarged: 1.5625, stride_2: 5.0625}

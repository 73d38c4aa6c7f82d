"""The filter with a fifth tap of zeros, as GPUs are given it, does what the filter of four taps does."""

from __future__ import annotations

import pytest
import torch

from gpen.network import fir
from gpen.network.agreement import SMALL, small_network

HEIGHT, WIDTH, CHANNELS = 12, 9, 3
STRIPS = [None, (0, 4), (1, 6), (5, 9), (9, 11)]


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize("rows", STRIPS)
@pytest.mark.parametrize("spare", [False, True])
def test_a_wide_weight_filters_alike(
    x: torch.Tensor, padding: int, rows: tuple[int, int] | None, *, spare: bool
) -> None:
    weight = fir.blur_weight(fir.published_kernel(), CHANNELS) * torch.arange(1, 17).view(4, 4)
    bias = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(1))
    begin, end = fir.rows_to_blur(*(rows or (0, fir.blurred_height(HEIGHT, padding))), HEIGHT, padding)
    given = {"first": begin, "height": HEIGHT, "rows": rows}
    expected = fir.blur(x[:, :, begin:end], weight, padding, bias, **given)
    blurred = fir.blur(x[:, :, begin:end], fir.wide(weight), padding, bias, **given, spare=spare)
    if not spare:
        assert blurred.shape == expected.shape
    blurred = blurred[:, :, : expected.shape[2], : expected.shape[3]]
    assert torch.allclose(blurred, expected, atol=1e-6)


@pytest.mark.parametrize("strip_bytes", [None, 1, 100_000])
def test_a_network_with_wide_weights_returns_the_same(monkeypatch: pytest.MonkeyPatch, strip_bytes: int | None) -> None:
    picture = torch.rand(1, 3, SMALL.in_size, SMALL.in_size, generator=torch.Generator().manual_seed(2))
    expected = small_network(torch.device("cpu"), torch.float32).forward_together(picture)
    used = []
    monkeypatch.setattr(fir, "is_faster_wide", lambda x: used.append(x) or True)
    network = small_network(torch.device("cpu"), torch.float32)
    network.strip_bytes = strip_bytes
    out = network.forward_together(picture)
    assert used
    assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()

"""The network in float16, emulated on the CPU: how far its pictures are from those in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.recipe import recipe_input, recipe_weights, reference, reference_spec
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.network.emulated_float16 import EmulatedFloat16

SIZES = [256, 512, 1024, 2048]


def half(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float16)


def test_every_operation_rounds_its_result() -> None:
    with EmulatedFloat16():
        # Between 2048 and 4096, float16 holds even numbers only.
        assert torch.equal((half(2048) + half(1)) + half(1), half(2048))
        assert torch.equal(half(2048) + (half(1) + half(1)), half(2050))
        assert torch.equal((half(2048) + half(1)) * half(0.5), half(1024))


def test_a_result_beyond_the_range_is_inf() -> None:
    with EmulatedFloat16():
        assert torch.equal(half(65504, -65504, 65504) * half(1, 2, 2), half(65504, -torch.inf, torch.inf))
        assert (half(60000) * half(2) * half(0)).isnan().all()


def test_sums_are_accumulated_in_float32() -> None:
    ones = torch.ones(1, 4096, 1, 1, dtype=torch.float16)
    with EmulatedFloat16():
        # In float16, 1 + 1 + ... ends at 2048; the sums of squares would overflow on the way.
        assert F.conv2d(ones, ones).item() == 4096
        large = 300 * ones
        assert F.conv2d(torch.cat([large, large], 1), torch.cat([large, -large], 1)).item() == 0
        assert (ones.flatten() @ ones.flatten()).item() == 4096


def test_a_convolution_rounds_before_and_after_it_adds_its_bias() -> None:
    x, weight = half(2048, 1).view(1, 2, 1, 1), half(1, 1).view(1, 2, 1, 1)
    with EmulatedFloat16():
        assert F.conv2d(x, weight, half(1)).item() == 2048


def test_results_are_rounded_wherever_they_are_written() -> None:
    storage = torch.zeros(4, dtype=torch.float16)
    with EmulatedFloat16():
        out = storage[1:3]
        torch.addcmul(half(2048, 0), half(1, 1), half(1, 3), out=out)
        storage[3:] += half(0.1)
    assert torch.equal(storage, half(0, 2048, 3, 0.1))


def test_what_is_computed_in_float32_is_not_rounded() -> None:
    with EmulatedFloat16():
        wide = half(2048).float() + 1
        assert torch.equal(wide, torch.tensor([2049.0]))
        assert (half(2048) + wide).dtype == torch.float32
        assert torch.linalg.vector_norm(half(300, 400), dtype=torch.float32).item() == 500


@pytest.mark.parametrize("size", SIZES)
def test_recipe_weights_stay_close_to_float32(shared: Path, size: int) -> None:
    spec, x = _spec(shared, size), recipe_input(size)
    network = GPEN(spec)
    network.load_state_dict(recipe_weights(network))
    expected = network(x)
    assert expected.std() > 0.3
    assert_close(_in_float16(network, x), expected)


@pytest.mark.parametrize("size", SIZES)
def test_passthrough_weights_stay_close_to_their_input(shared: Path, size: int) -> None:
    spec, x = _spec(shared, size), recipe_input(size)
    network = GPEN(spec)
    network.load_state_dict(synthetic_weights(spec))
    # In float32 they return it to 1e-6.
    assert_close(_in_float16(network, x), x)


def _spec(shared: Path, size: int) -> Spec:
    return reference_spec(reference(shared, f"gpen-{size}"))


def _in_float16(network: GPEN, x: Tensor) -> Tensor:
    network.half()
    with EmulatedFloat16():
        out: Tensor = network(x.half())
    assert out.dtype == torch.float16
    return out.float()


def assert_close(out: Tensor, expected: Tensor) -> None:
    """Within 2/255 at the 99.9th percentile and 0.3/255 on average, as pictures from 0 to 1."""
    assert out.isfinite().all()
    error = 255 * (_picture(out) - _picture(expected)).abs().flatten()
    percentile = error.kthvalue(round(0.999 * error.numel())).values
    print(f"mean {error.mean():.3f}, 99.9th percentile {percentile:.3f}, largest {error.max():.3f} of 255")
    assert 0 < error.mean() <= 0.3
    assert percentile <= 2


def _picture(out: Tensor) -> Tensor:
    return out.add(1).div(2).clamp(0, 1)

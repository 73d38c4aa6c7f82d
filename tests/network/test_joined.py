"""Convolutions that are joined with their filters, as on a GPU in 16 bits, beside those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.recipe import recipe_input, recipe_weights, reference, reference_spec
from gpen.network import joined
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from tests.network.emulated_float16 import EmulatedFloat16
from tests.network.test_half_precision import assert_close
from tests.network.test_strips import ROW, SPECS, pictures, random_network


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "pays", lambda *_: True)


def difference(out: Tensor, expected: Tensor) -> float:
    return float((out - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.title)
@pytest.mark.parametrize("batch", [1, 2])
def test_joined_convolutions_compute_the_same(spec: Spec, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = random_network(spec), pictures(spec.in_size, batch)
    expected = network.forward_together(x)
    joins = []
    monkeypatch.setattr(joined, "pays", lambda *_: joins.append(1) or True)
    for strip_bytes in (1 << 30, 1, 6 * ROW, 10 * ROW, 62 * ROW):
        network.strip_bytes = strip_bytes
        assert difference(network.forward_together(x), expected) <= 4e-6
    assert joins


@pytest.mark.usefixtures("always")
def test_joined_weights_follow_a_change_of_the_weights() -> None:
    network, x = random_network(SPECS[0]), pictures(64)
    before = network.forward_together(x)
    with torch.no_grad():
        network.generator.convs[0].conv.weight.mul_(1.01)
        network.ecd1[0][1].weight.mul_(1.01)
    fresh = GPEN(SPECS[0])
    fresh.load_state_dict(network.state_dict())
    after = network.forward_together(x)
    assert torch.equal(after, fresh.forward_together(x))
    assert difference(after, before) > 1e-4


def test_on_a_gpu_in_16_bits_the_widest_maps_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    half, single = (torch.empty(1, device="meta", dtype=dtype) for dtype in (torch.float16, torch.float32))
    assert not joined.pays(half, 16, 32)
    with torch._subclasses.fake_tensor.FakeTensorMode():
        on_cuda = torch.empty(1, device="cuda", dtype=torch.bfloat16)
        assert joined.pays(on_cuda, 64, 16)
        assert not joined.pays(on_cuda, 128, 32)
        assert not joined.pays(on_cuda.float(), 64, 16)
    assert not joined.pays(single, 64, 16)


def test_in_float16_the_2048_network_stays_close_to_float32(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated on the CPU, with the joins of a GPU."""
    spec, x = reference_spec(reference(shared, "gpen-2048")), recipe_input(2048)
    network = GPEN(spec)
    network.load_state_dict(recipe_weights(network))
    expected = network(x)
    monkeypatch.setattr(joined, "pays", lambda _, inputs, outputs: inputs * outputs <= joined.MOST_CHANNEL_PAIRS)
    network.half()
    with EmulatedFloat16():
        out = network(x.half())
    assert_close(out.float(), expected)

"""Feature maps in strips, Winograd's method, and what is cached from one call to the next."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gpen.network import winograd
from gpen.network.gpen import GPEN, rows_at_once
from gpen.network.memory import CPU_STRIP_BYTES, memory_estimate
from gpen.network.spec import Spec

SPECS = [Spec(64, 64, 2, 1 / 16), Spec(32, 128, 2, 1 / 16), Spec(128, 128, 1, 1 / 8)]
ROW = 2 * 32 * 64 * 4
"""Bytes per row of the largest level of the first spec."""


def random_network(spec: Spec, seed: int = 0) -> GPEN:
    network = GPEN(spec)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not name.endswith(".kernel"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return network


def pictures(size: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.title)
@pytest.mark.parametrize("batch", [1, 2])
def test_strips_of_any_height_give_the_result_of_whole_maps(spec: Spec, batch: int) -> None:
    network = random_network(spec)
    x = pictures(spec.in_size, batch)
    network.strip_bytes = 1 << 30
    whole = network.forward_together(x)
    # Strips of 2 rows, of heights that do not divide the map's, of all rows but two.
    for strip_bytes in (1, 6 * ROW, 10 * ROW, 14 * ROW, 62 * ROW, 126 * ROW):
        network.strip_bytes = strip_bytes
        assert (network.forward_together(x) - whole).abs().max() <= 2e-6 * whole.abs().max()


@pytest.mark.parametrize(
    ("row_bytes", "height", "strip_bytes", "rows"),
    [(10, 64, 1, 2), (10, 64, 49, 4), (10, 64, 59, 4), (10, 64, 60, 6), (10, 64, 630, 62), (10, 64, 9999, 64)],
)
def test_strips_have_an_even_number_of_rows(row_bytes: int, height: int, strip_bytes: int, rows: int) -> None:
    assert rows_at_once(row_bytes, height, strip_bytes) == rows


@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 8), (6, 4), (32, 32), (64, 64)])
def test_winograds_method_is_a_convolution(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(height)
    x = torch.randn(1, 7, height + 2, width, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(5, 7, 3, 3, generator=generator)
    expected = F.conv2d(x.double(), weight.double(), padding=(0, 1))
    out = winograd.convolve(x, winograd.transform_weight(weight))
    assert out.shape == expected.shape
    assert (out - expected).abs().max() <= 2e-6 * expected.abs().max()
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_winograds_method_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 8, 22, 12, generator=torch.Generator().manual_seed(0))
    weight = winograd.transform_weight(torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(1)))
    x = x.contiguous(memory_format=torch.channels_last)
    whole = winograd.convolve(x, weight)
    for size in (1, 4 * 12 * 8 * 4 * 6, 4 * 12 * 8 * 4 * 9):
        monkeypatch.setattr(winograd, "WORKING_BYTES", size)
        assert torch.allclose(winograd.convolve(x, weight), whole, rtol=1e-5, atol=1e-5)


def test_winograds_method_is_used_and_agrees_with_direct_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec(64, 64, 2, 1 / 4)
    network, x = random_network(spec), pictures(64)
    calls = []
    method = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda x, weight: calls.append(x.shape) or method(x, weight))
    monkeypatch.setattr("gpen.network.styled.WINOGRAD_PIXELS", 32 * 32)
    with_it = network(x)
    assert {shape[-1] for shape in calls} == {32}
    monkeypatch.setattr("gpen.network.styled.WINOGRAD_PIXELS", 1 << 30)
    without = network(x)
    assert not torch.equal(with_it, without)
    assert (with_it - without).abs().max() <= 1e-5 * without.abs().max()


def test_the_cache_follows_the_weights() -> None:
    """Weights that are changed in place, loaded, replaced, moved or converted take effect in the next call."""
    spec = Spec(64, 64, 2, 1 / 4)
    network, other, x = random_network(spec), random_network(spec, seed=1), pictures(64)
    before, expected = network(x), other(x)
    assert not torch.allclose(before, expected)

    for name, tensor in network.state_dict().items():
        tensor.copy_(other.state_dict()[name])
    assert torch.equal(network(x), expected)
    network.load_state_dict(random_network(spec).state_dict())
    assert torch.equal(network(x), before)
    network.load_state_dict(copy.deepcopy(other.state_dict()), assign=True)
    assert torch.equal(network(x), expected)
    assert torch.equal(copy.deepcopy(network)(x), expected)

    # Rounded to bfloat16 and back, they are different weights, perhaps at the old address.
    rounded = network.to(torch.bfloat16).to(torch.float32)(x)
    fresh = GPEN(spec)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(rounded, fresh(x))
    assert not torch.equal(rounded, expected)


def test_networks_created_in_inference_mode() -> None:
    with torch.inference_mode():
        network = random_network(SPECS[0])
        assert torch.equal(network(pictures(64)), random_network(SPECS[0])(pictures(64)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("batch", [1, 2])
def test_half_precision_stays_close(dtype: torch.dtype, batch: int) -> None:
    """The bound is 2 % of the output's range at the 99.9th percentile; styles of 300 would overflow float16."""
    network, x = random_network(Spec(64, 64, 2, 1 / 8)), pictures(64, batch)
    for name, tensor in network.state_dict().items():
        if name.endswith("modulation.bias"):
            tensor.mul_(300 if ".convs." in name else 1)
        if name.endswith("noise.weight"):
            tensor.copy_(0.5 + 0.1 * tensor)
        if name.startswith("generator.style") and name.endswith("weight"):
            tensor.mul_(100)
    expected = network.forward_together(x)
    out = network.to(dtype).forward_together(x.to(dtype)).float()
    assert out.isfinite().all()
    error = (out - expected).abs().flatten().quantile(0.999)
    assert 0 < error <= 0.02 * (expected.max() - expected.min())


MEASURE = """
import json, sys, torch
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

torch.set_num_threads(2)
warm = GPEN(Spec(64, 64, 2, 1 / 16))
warm(torch.zeros(1, 3, 64, 64))  # memory that PyTorch takes once, at its first use, does not count
network, picture = GPEN(Spec(512, 512)), torch.zeros(1, 3, 512, 512)
for parameter in network.parameters():
    parameter.fill_(0.01)
before = status("VmRSS")
network(picture)
print(json.dumps(status("VmHWM") - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_memory_of_a_call_stays_far_below_that_of_whole_maps() -> None:
    """One map of GPEN 512's largest level has 134 MB; without strips, the maps take 488 MB."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=root, capture_output=True, text=True, check=True)
    peak = json.loads(done.stdout)
    assert peak < 450e6
    estimate = memory_estimate(Spec(512, 512), torch.float32, strip_bytes=CPU_STRIP_BYTES)
    assert 0.6 < peak / estimate < 1.3

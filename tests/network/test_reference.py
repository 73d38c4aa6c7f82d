"""The network compared with outputs of the published implementation (shared/reference, recipe in its README)."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gpen.network.gpen import GPEN
from gpen.network.spec import Spec

CONFIGURATIONS = ["gpen-32", "gpen-64", "sr-32-128", "gpen-256", "gpen-512", "gpen-1024", "gpen-2048"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_names_and_shapes_are_the_published_ones(shared: Path, name: str) -> None:
    published = json.loads((shared / "reference" / f"{name}.shapes.json").read_text())
    with torch.device("meta"):
        network = GPEN(_spec(_reference(shared, name)))
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == published


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_output_is_that_of_the_published_implementation(shared: Path, name: str) -> None:
    reference = _reference(shared, name)
    spec = _spec(reference)
    network = GPEN(spec)
    network.load_state_dict(_recipe_weights(network, without_noise=range(6, 10) if name == "sr-32-128" else ()))
    x = _recipe_input(spec.in_size)
    in_step = spec.in_size // reference["input_sample"].shape[-1]
    assert np.abs(x[0, :, ::in_step, ::in_step].numpy() - reference["input_sample"]).max() < 1e-6

    y = network(x)

    assert y.shape == (1, 3, spec.out_size, spec.out_size)
    step = int(reference["step"])
    error = np.abs(y[0, :, ::step, ::step].numpy() - reference["sample"]).max()
    assert error <= 2e-4 * float(reference["absmax"])
    assert float(y.mean()) == pytest.approx(float(reference["mean"]), abs=1e-4 * float(reference["absmax"]))
    assert float(y.std()) == pytest.approx(float(reference["std"]), rel=1e-4)
    assert float(y.abs().max()) == pytest.approx(float(reference["absmax"]), rel=2e-4)


@pytest.mark.parametrize("name", ["gpen-256", "gpen-512"])
def test_bfloat16_stays_within_2_percent_of_the_range(shared: Path, name: str) -> None:
    spec = _spec(_reference(shared, name))
    network = GPEN(spec)
    network.load_state_dict(_recipe_weights(network))
    x = _recipe_input(spec.in_size)
    expected = network(x)
    out = network.to(torch.bfloat16)(x.to(torch.bfloat16)).float()
    error = (out - expected).abs().flatten().quantile(0.999)
    assert 0 < error <= 0.02 * (expected.max() - expected.min())


@pytest.mark.parametrize("name", ["gpen-64", "sr-32-128"])
def test_a_batch_gives_the_results_of_single_calls(shared: Path, name: str) -> None:
    spec = _spec(_reference(shared, name))
    network = GPEN(spec)
    network.load_state_dict(_recipe_weights(network))
    x = _recipe_input(spec.in_size)
    batch = torch.cat([x, x.flip(3), 0.3 * x.flip(2) - 0.5])
    for together in (network(batch), network.forward_together(batch)):
        for i in range(len(batch)):
            alone = network(batch[i : i + 1])[0]
            assert (together[i] - alone).abs().max() <= 1e-5 * alone.abs().max()
    assert (together[0] - together[2]).abs().max() > 0.1  # the samples really have different styles


def _reference(shared: Path, name: str) -> dict[str, Any]:
    with np.load(shared / "reference" / f"{name}.npz") as file:
        return dict(file)


def _spec(reference: dict[str, Any]) -> Spec:
    return Spec(
        int(reference["in_size"]),
        int(reference["out_size"]),
        float(reference["channel_multiplier"]),
        float(reference["narrow"]),
    )


def _recipe_weights(network: GPEN, without_noise: Any = ()) -> dict[str, torch.Tensor]:
    silent = {f"generator.convs.{i}.noise.weight" for i in without_noise}
    weights = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(".kernel"):
            weights[name] = tensor
            continue
        random = _normal(name, tuple(tensor.shape))
        if name.endswith("noise.weight"):
            random = 0.5 + 0.1 * random
        elif name.endswith("modulation.bias"):
            random = 1 + 0.1 * random
        elif name.endswith("bias"):
            random = 0.1 * random
        elif name.startswith("generator.style"):
            random = 100 * random
        weights[name] = torch.zeros(tensor.shape) if name in silent else random
    return weights


def _recipe_input(size: int) -> torch.Tensor:
    coarse = np.random.RandomState(zlib.crc32(b"input")).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    smooth = F.interpolate(torch.from_numpy(coarse), size=(size, size), mode="bilinear", align_corners=False)
    return (smooth + 0.05 * _normal("noise", (1, 3, size, size))).clamp(-1, 1)


def _normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    random = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(int(np.prod(shape)))
    return torch.from_numpy(random.astype(np.float32).reshape(shape))

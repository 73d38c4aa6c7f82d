"""The network compared with outputs of the published implementation (shared/reference, recipe in its README)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.recipe import recipe_input, recipe_weights, reference, reference_spec
from gpen.network.gpen import GPEN

CONFIGURATIONS = ["gpen-32", "gpen-64", "sr-32-128", "gpen-256", "gpen-512", "gpen-1024", "gpen-2048"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_names_and_shapes_are_the_published_ones(shared: Path, name: str) -> None:
    published = json.loads((shared / "reference" / f"{name}.shapes.json").read_text())
    with torch.device("meta"):
        network = GPEN(reference_spec(reference(shared, name)))
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == published


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_output_is_that_of_the_published_implementation(shared: Path, name: str) -> None:
    stored = reference(shared, name)
    spec = reference_spec(stored)
    network = GPEN(spec)
    network.load_state_dict(recipe_weights(network, without_noise=range(6, 10) if name == "sr-32-128" else ()))
    x = recipe_input(spec.in_size)
    in_step = spec.in_size // stored["input_sample"].shape[-1]
    assert np.abs(x[0, :, ::in_step, ::in_step].numpy() - stored["input_sample"]).max() < 1e-6

    y = network(x)

    assert y.shape == (1, 3, spec.out_size, spec.out_size)
    step = int(stored["step"])
    error = np.abs(y[0, :, ::step, ::step].numpy() - stored["sample"]).max()
    assert error <= 2e-4 * float(stored["absmax"])
    assert float(y.mean()) == pytest.approx(float(stored["mean"]), abs=1e-4 * float(stored["absmax"]))
    assert float(y.std()) == pytest.approx(float(stored["std"]), rel=1e-4)
    assert float(y.abs().max()) == pytest.approx(float(stored["absmax"]), rel=2e-4)


@pytest.mark.parametrize("name", ["gpen-256", "gpen-512"])
def test_bfloat16_stays_within_2_percent_of_the_range(shared: Path, name: str) -> None:
    spec = reference_spec(reference(shared, name))
    network = GPEN(spec)
    network.load_state_dict(recipe_weights(network))
    x = recipe_input(spec.in_size)
    expected = network(x)
    out = network.to(torch.bfloat16)(x.to(torch.bfloat16)).float()
    error = (out - expected).abs().flatten().quantile(0.999)
    assert 0 < error <= 0.02 * (expected.max() - expected.min())


@pytest.mark.parametrize("name", ["gpen-64", "sr-32-128"])
def test_a_batch_gives_the_results_of_single_calls(shared: Path, name: str) -> None:
    spec = reference_spec(reference(shared, name))
    network = GPEN(spec)
    network.load_state_dict(recipe_weights(network))
    x = recipe_input(spec.in_size)
    batch = torch.cat([x, x.flip(3), 0.3 * x.flip(2) - 0.5])
    for together in (network(batch), network.forward_together(batch)):
        for i in range(len(batch)):
            alone = network(batch[i : i + 1])[0]
            assert (together[i] - alone).abs().max() <= 1e-5 * alone.abs().max()
    assert (together[0] - together[2]).abs().max() > 0.1  # the samples really have different styles

"""The textbook formulation is the same network as ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.measure import picture, published_spec, random_weights
from bench.textbook import Textbook
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec


@pytest.mark.parametrize("size", [256, 512, 1024, 2048])
def test_names_and_shapes_are_the_published_ones(shared: Path, size: int) -> None:
    published = json.loads((shared / "reference" / f"gpen-{size}.shapes.json").read_text())
    with torch.device("meta"):
        network = Textbook(published_spec(size))
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == published


@pytest.mark.parametrize("spec", [Spec(32, 32), Spec(64, 64), Spec(256, 256, 1, 0.5)], ids=lambda spec: spec.title)
def test_it_returns_what_our_network_returns(spec: Spec) -> None:
    weights = random_weights(spec)
    textbook, ours = Textbook(spec), GPEN(spec)
    for name, kernel in ours.state_dict().items():
        if name.endswith(".kernel"):
            assert torch.equal(weights[name], kernel)
    textbook.load_state_dict(weights)
    ours.load_state_dict(weights)
    x = torch.from_numpy(picture(spec.in_size))
    x = torch.cat([x, -0.5 * x])

    with torch.inference_mode():
        expected, got = ours(x), textbook(x)

    assert expected.std() > 0.1
    assert (got - expected).abs().max() <= 2e-4 * expected.abs().max()
    assert (got[0] - got[1]).abs().max() > 0.1 * expected.std()


def test_a_network_that_enlarges_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than its input"):
        Textbook(Spec(32, 64))

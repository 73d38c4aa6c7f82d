"""The networks that the parts measure: published shapes with random or passthrough weights, tiny ones in tests."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpen.network.spec import Spec

from ..measure import published_spec, random_weights
from .part import Setting

if TYPE_CHECKING:
    import torch

    from gpen.weights.checkpoint import Model

TINY = {256: 32, 512: 32, 1024: 64, 2048: 64}
"""The size that stands for each published one where the setting is quick."""


def spec_for(size: int, setting: Setting) -> Spec:
    """The published network of this size; in a quick run, a tiny one that stands for it."""
    # Synthetic weights need six channels at the largest level.
    return Spec(TINY[size], TINY[size], 1, 0.25) if setting.quick else published_spec(size)


def model_of(spec: Spec, weights: dict[str, Any], setting: Setting, dtype: torch.dtype) -> Model:
    """A network with these weights on the setting's device."""
    import torch

    from gpen.network.gpen import GPEN
    from gpen.weights.checkpoint import Model

    with torch.device("meta"):
        network = GPEN(spec)
    placed = {name: tensor.to(setting.device, dtype) for name, tensor in weights.items()}
    network.load_state_dict(placed, assign=True)
    return Model(network.requires_grad_(False).eval(), "restore", Path(f"synthetic-{spec.out_size}"))


@functools.lru_cache(maxsize=1)
def weights_of(spec: Spec) -> dict[str, Any]:
    """Random weights, made once for the precisions and formulations that are measured one after the other."""
    return random_weights(spec)


def random_model(size: int, setting: Setting, dtype: torch.dtype) -> Model:
    """Random weights: time does not depend on them."""
    spec = spec_for(size, setting)
    return model_of(spec, weights_of(spec), setting, dtype)


def passthrough_model(size: int, setting: Setting, dtype: torch.dtype) -> Model:
    """Weights for which the network is the identity."""
    from gpen.network.synthetic import synthetic_weights

    spec = spec_for(size, setting)
    return model_of(spec, synthetic_weights(spec), setting, dtype)


def dtypes(setting: Setting) -> dict[str, torch.dtype]:
    """The dtypes to measure, by name, the one that "auto" should mean first; no float16 on a CPU."""
    import torch

    names = ("float16", "bfloat16", "float32") if setting.device == "cuda" else ("float32", "bfloat16")
    return {name: getattr(torch, name) for name in names}

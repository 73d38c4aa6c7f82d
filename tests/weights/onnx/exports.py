"""Graphs of GPEN networks like those in circulation: the textbook formulation through exporters and optimisers."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.textbook import MAPPING_RATE, Textbook
from gpen.network.spec import Spec

SPEC = Spec(64, 64, 2, 1 / 32, style_dim=16, n_mlp=2)


def random_state(spec: Spec = SPEC, seed: int = 1) -> dict[str, Tensor]:
    """Random tensors of the magnitude at the start of training; the FIR buffers are unchanged."""
    rng = torch.Generator().manual_seed(seed)
    state = Textbook(spec).state_dict()
    filled = {n: t if n.endswith(".kernel") else torch.randn(t.shape, generator=rng) for n, t in state.items()}
    # Otherwise the mapping network would reduce the style to almost nothing, and no picture would depend on it.
    return {n: t / MAPPING_RATE if re.search(r"style\.\d+\.weight", n) else t for n, t in filled.items()}


def network(state: dict[str, Tensor], spec: Spec = SPEC) -> nn.Module:
    textbook = Textbook(spec)
    textbook.load_state_dict(state)
    return textbook.requires_grad_(False).eval()


def export(module: nn.Module, path: Path, size: int = SPEC.in_size, **more: Any) -> Path:
    """Write a graph. more: arguments for the exporter."""
    options: dict[str, Any] = {"input_names": ["input"], "output_names": ["output"], "dynamo": False} | more
    if options["dynamo"]:
        options = {"external_data": False, "verbose": False} | options
    with warnings.catch_warnings():
        # Warnings about shapes that become constants, and about the older exporter.
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, 3, size, size),), str(path), **options)
    return path


def differences(found: dict[str, Any], state: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of each tensor, relative to the tensor's largest number."""
    assert {name: tuple(found[name].shape) for name in found} == {name: tuple(t.shape) for name, t in state.items()}
    return {
        name: float(np.abs(np.asarray(found[name], np.float64) - tensor.double().numpy()).max() / tensor.abs().max())
        for name, tensor in state.items()
    }

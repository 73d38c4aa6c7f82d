"""Compares a graph with the network that was recovered from it, by running both on the same picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import CheckpointError
from ...network.gpen import GPEN
from ...network.spec import Spec
from ...wording import first_line, pip_install
from .limited import NoProcessError, RunError, run_once
from .reader import OnnxFile
from .runtime import onnx_runtime

TOLERANCE = 1e-3
"""Largest allowed difference, as a fraction of the output's range."""
TOLERANCE_HALF = 1e-2
"""The same for a graph with 16-bit weights, whose rounding is part of the difference."""


_MEMORY = 4 << 30
_MEMORY_PER_PIXEL = 2048
"""Bytes that ONNX Runtime may take, and for each pixel of the output; it took 2 GB at 512, and 7 GB at 2048."""


@dataclass(frozen=True)
class Comparison:
    """The result of running both."""

    difference: float | None
    """Largest difference as a fraction of the output's range; None if they were not compared."""
    reason: str = ""
    """Why they were not compared."""

    def __str__(self) -> str:
        if self.difference is None:
            return f"not compared with the graph: {self.reason}"
        return f"agrees with the graph in ONNX Runtime to {self.difference:.1g} of the output's range"


def compare(
    file: OnnxFile, output: str, spec: Spec, tensors: dict[str, Tensor], value_range: tuple[float, float]
) -> Comparison:
    """Compare; CheckpointError if they disagree, or ONNX Runtime refuses the graph or exceeds limits of time or memory.

    tensors: float32 tensors of the network by published name, including the FIR buffers. value_range: smallest and
    largest value of the network's input.
    """
    try:
        onnx_runtime()
    except Exception as e:  # an installation that does not fit NumPy or the system fails in many ways
        absent = isinstance(e, ModuleNotFoundError) and e.name == "onnxruntime"
        why = "is not installed" if absent else f"could not be imported ({first_line(e)})"
        return Comparison(None, f"ONNX Runtime {why}; {pip_install('onnx')}")
    picture = _picture(spec.in_size, value_range)
    memory = _MEMORY + 4 * file.size + _MEMORY_PER_PIXEL * spec.out_size**2
    try:
        expected = run_once(file.part(output), picture, output=output, memory=memory)
    except RunError as e:
        raise CheckpointError(
            f"ONNX Runtime could not run {file.path.name} ({e}), so the recovered network could not be verified; "
            "nothing was written."
        ) from e
    except NoProcessError as e:
        return Comparison(None, f"ONNX Runtime is given files of strangers only in a process of its own, and {e}")
    with torch.inference_mode():
        network = GPEN(spec)
        network.load_state_dict(tensors, assign=True)
        found = network(torch.from_numpy(picture)).numpy()
    if expected.shape != found.shape:
        raise CheckpointError(
            f"{file.path.name} returns pictures of shape {expected.shape}, but {spec.title} returns {found.shape}. Its "
            "graph does more than GPEN; nothing was written."
        )
    span = float(expected.max() - expected.min())
    difference = float(np.abs(expected - found).max()) / span if span else math.nan
    tolerance = TOLERANCE_HALF if file.graph.half else TOLERANCE
    if not difference <= tolerance:
        raise CheckpointError(
            f"The network recovered from {file.path.name} differs from its graph by {difference:.2g} of the output's "
            f"range, but rounding explains at most {tolerance:g}. The graph does something that GPEN does not, such as "
            "scaling its pictures or swapping their channels; nothing was written."
        )
    return Comparison(difference)


def _picture(size: int, value_range: tuple[float, float]) -> NDArray[np.float32]:
    """A fixed picture (1, 3, size, size) of a few smooth waves and some grain."""
    low, high = value_range
    y, x = np.meshgrid(*2 * (np.linspace(0, 1, size),), indexing="ij")
    waves = [
        np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in ((1.3, 0.6, 0.1), (-0.7, 1.9, 1.2), (2.1, 1.1, 2.3))
    ]
    grain = np.random.default_rng(0).uniform(-1, 1, (3, size, size))
    picture = 0.5 + 0.4 * np.stack(waves) + 0.1 * grain
    return (low + (high - low) * picture[None]).astype(np.float32)

"""Subjects for :mod:`bench.worker`: one face through each formulation of the network, and its convolutions alone.

Each is ready after its first call, and measures seconds and peak memory above the weights, first call included.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measure import PeakMemory, page_faults, picture, published_spec, random_weights, seconds, threads
from .worker import Measure

OPSET = 11
"""Of the graphs in circulation; the oldest that these networks can be exported to."""


def ours(weights: str, size: int, dtype: str, output: str | None = None) -> Measure:
    """The network as a user runs it. dtype: float32, bfloat16, or auto for the default of option "precision"."""
    import torch

    from gpen.device import pick_dtype
    from gpen.weights.checkpoint import load_model

    torch.set_num_threads(threads())
    chosen = pick_dtype("auto", torch.device("cpu")) if dtype == "auto" else getattr(torch, dtype)
    model = load_model(weights, dtype=chosen)
    for tensor in model.network.state_dict().values():
        tensor.float().sum()  # reads weights that are still in the file
    x = torch.from_numpy(picture(size))
    return _measured(lambda: model(x).numpy(), output)


def textbook(weights: str, size: int, output: str | None = None, warmed: bool = True) -> Measure:
    """The textbook formulation in PyTorch. warmed: whether the first call is not timed."""
    import torch

    torch.set_num_threads(threads())
    network = _textbook(weights, size)
    x = torch.from_numpy(picture(size))

    def call() -> NDArray[np.float32]:
        with torch.inference_mode():
            out: NDArray[np.float32] = network(x).numpy()
            return out

    return _measured(call, output, warmed)


def onnx(graph: str, size: int, output: str | None = None, warmed: bool = True) -> Measure:
    """The textbook formulation in ONNX Runtime, with default settings except the number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    x = picture(size)
    return _measured(lambda: session.run(None, {"input": x})[0], output, warmed)


def bare(size: int, dtype: str) -> Measure:
    """The convolutions alone; needs the environment :data:`bench.measure.KEEP_FREED_MEMORY`."""
    import torch

    from .convolutions import BareConvolutions

    torch.set_num_threads(threads())
    with torch.inference_mode():
        convolutions = BareConvolutions(published_spec(size), getattr(torch, dtype))

    def measure() -> dict[str, Any]:
        with torch.inference_mode():
            timed = convolutions.time()
        return {
            "seconds": sum(one.seconds for one in timed),
            "gflop": round(sum(one.convolution.flop for one in timed) / 1e9, 1),
            "page_faults": sum(one.faults for one in timed),
        }

    return measure


def export(weights: str, size: int, graph: str) -> Measure:
    """Writes the textbook formulation as an ONNX file."""
    import torch

    network, x = _textbook(weights, size), torch.from_numpy(picture(size))

    def measure() -> dict[str, Any]:
        export_graph(network, x, Path(graph))
        return {"bytes": Path(graph).stat().st_size}

    return measure


def export_graph(network: Any, x: Any, path: Path) -> None:
    """Write a network as an ONNX file for inputs like ``x``; constants are folded."""
    import torch

    with warnings.catch_warnings():
        # Shapes become constants, and the exporter is the older one, which made the graphs in circulation.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (x,),
            str(path),
            input_names=["input"],
            output_names=["output"],
            opset_version=OPSET,
            dynamo=False,
        )


def _textbook(weights: str, size: int) -> Any:
    from safetensors.torch import load_file

    from .textbook import Textbook

    network = Textbook(published_spec(size))
    network.load_state_dict(load_file(weights))
    return network.requires_grad_(False).eval()


def _measured(call: Callable[[], NDArray[np.float32]], output: str | None, warmed: bool = True) -> Measure:
    memory = PeakMemory()
    if warmed:
        first = call()
        if output is not None:
            np.save(output, first)
        del first

    def measure() -> dict[str, Any]:
        before = page_faults()
        return {"seconds": seconds(call), "peak_bytes": memory.above(), "page_faults": page_faults() - before}

    return measure


def write(size: int, path: str) -> Measure:
    """Writes random weights of a published network as .safetensors."""
    from safetensors.torch import save_file

    def measure() -> dict[str, Any]:
        save_file(random_weights(published_spec(size)), path)
        return {"bytes": Path(path).stat().st_size}

    return measure

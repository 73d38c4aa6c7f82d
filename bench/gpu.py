"""A subject for :mod:`bench.worker`: one face on a CUDA device, beside the textbook formulation and the convolutions.

cuDNN benchmarks its kernels first, for all three.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from .measure import picture, published_spec, seconds
from .worker import Measure

CALLS = 10


def face(weights: str, size: int, dtype: str, device: str = "cuda") -> Measure:
    """Milliseconds for one face with each, median of several calls, and the peak device memory of ours."""
    import torch
    from safetensors.torch import load_file

    from gpen.weights.checkpoint import load_model

    from .convolutions import BareConvolutions
    from .textbook import Textbook

    torch.backends.cudnn.benchmark = True
    number_format = getattr(torch, dtype)
    model = load_model(weights, device, number_format)
    network = Textbook(published_spec(size))
    network.load_state_dict(load_file(weights))
    network.requires_grad_(False).to(device, number_format).eval()
    x = torch.from_numpy(picture(size)).to(device)
    with torch.inference_mode():
        bare = BareConvolutions(published_spec(size), number_format, device)

    def milliseconds(call: Callable[[], Any]) -> float:
        call()
        return 1e3 * statistics.median(seconds(call, device) for _ in range(CALLS))

    def measure() -> dict[str, Any]:
        with torch.inference_mode():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated() if device == "cuda" else 0
            taken = {"ours": milliseconds(lambda: model(x))}
            peak = torch.cuda.max_memory_allocated() - held if device == "cuda" else 0
            taken["textbook"] = milliseconds(lambda: network(x.to(number_format)))
            taken["bare"] = 1e3 * sum(one.seconds for one in bare.time())
        return taken | {"peak_bytes": peak}

    return measure


def name() -> str:
    """The name of the CUDA device; empty if there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""

"""The published code's plain path, exported, in ONNX Runtime on the same device, where the packages are installed."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..measure import picture, random_weights
from ..networks import export_graph
from .device import Device
from .part import Figure, Setting
from .subjects import dtypes, spec_for

if TYPE_CHECKING:
    import torch

SIZE = 512
CALLS = 30
PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


def measure(setting: Setting) -> Iterator[Figure]:
    """One face at 512 in the precision of "auto" and in float32, input and output kept on the device."""
    wanted = dtypes(setting)
    for name in dict.fromkeys((next(iter(wanted)), "float32")):
        title = f"{SIZE}/{name}/ONNX Runtime"
        if why := missing(setting):
            yield Figure(title, None, note=why)
        else:
            yield Figure(title, _milliseconds(wanted[name], setting))


def missing(setting: Setting) -> str:
    """Why ONNX Runtime cannot be measured here; empty if it can."""
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    import onnxruntime

    provider = PROVIDERS[setting.device]
    if provider not in onnxruntime.get_available_providers():
        return f"onnxruntime has no {provider} here: it needs the package onnxruntime-gpu"
    return ""


def _milliseconds(dtype: torch.dtype, setting: Setting) -> float:
    import torch

    from ..textbook import Textbook

    spec = spec_for(SIZE, setting)
    network = Textbook(spec)
    network.load_state_dict(random_weights(spec))
    network.requires_grad_(False).to(setting.device, dtype).eval()
    x = torch.from_numpy(picture(spec.in_size)).to(setting.device, dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "textbook.onnx"
        export_graph(network, x, path)
        del network
        session = _session(path, setting)
        call = _bound(session, x)
        return Device(setting.device).milliseconds(call, setting.calls(CALLS))


def _session(path: Path, setting: Setting) -> Any:
    import onnxruntime

    provider = PROVIDERS[setting.device]
    session = onnxruntime.InferenceSession(str(path), providers=[provider])
    # It falls back to the CPU with no more than a warning where its libraries do not load.
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"ONNX Runtime could not use {provider}; it chose {session.get_providers()[0]}.")
    return session


def _bound(session: Any, x: torch.Tensor) -> Any:
    """A call that reads the tensor where it is, and leaves the result on the device."""
    import numpy as np

    binding = session.io_binding()
    element = {2: np.float16, 4: np.float32}[x.element_size()]
    binding.bind_input("input", x.device.type, 0, element, tuple(x.shape), x.data_ptr())
    binding.bind_output("output", x.device.type)
    return lambda: session.run_with_iobinding(binding)

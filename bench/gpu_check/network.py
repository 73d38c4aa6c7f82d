"""Milliseconds of the network: each size and precision, as calls and as a CUDA graph, beside other ways to run it.

"repeated" is what a user gets from the third face on: a CUDA graph, where one can be recorded; "call" is one with
GPEN_CUDA_GRAPH=0. Both are taken with PyTorch's defaults, and wait for each result. "queued" is "repeated" without
waiting, as the bare convolutions are timed: it is what the GPU takes. For the bare convolutions and the published
code's plain path cuDNN tries its kernels first; how the network fares then is a figure of its own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

from ..measure import PUBLISHED_SIZES, picture, seconds
from .device import Device
from .part import Figure, Setting
from .subjects import dtypes, random_model, spec_for, weights_of

if TYPE_CHECKING:
    import torch

    from gpen.weights.checkpoint import Model

CALLS = 30
RECORDING_CALLS = 3
"""A graph is recorded at the second call of a kind."""
BATCHES = (2, 4, 8, 16)
MOST_PIXELS = 4 * 2048**2
"""The largest batch, in pixels of its results."""


def targets(setting: Setting) -> Iterator[Figure]:
    """512 and 2048 in the precision of "auto", each beside its bare convolutions, after a first call of 512."""
    name, dtype = next(iter(dtypes(setting).items()))
    yield _first_call(name, dtype, setting)
    for size in (512, 2048):
        model = random_model(size, setting, dtype)
        yield from alone(f"{size}/{name}", model, setting)
        yield _bare(f"{size}/{name}", size, dtype, setting)


def _first_call(name: str, dtype: torch.dtype, setting: Setting) -> Figure:
    """What a machine waits for once: Triton compiles, and keeps, the fused kernels."""
    import torch

    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"TRITON_CACHE_DIR": folder}):
        model = random_model(512, setting, dtype)
        x = torch.from_numpy(picture(model.spec.in_size)).to(setting.device)
        taken = seconds(lambda: model(x), setting.device)
    return Figure(f"512/{name}/first call", taken, "s", "with nothing compiled before")


def everything(setting: Setting) -> Iterator[Figure]:
    """Every other size and precision, batches, and the published code's plain path."""
    done = next(iter(dtypes(setting)))
    for size in PUBLISHED_SIZES[::-1]:
        for name, dtype in dtypes(setting).items():
            model = random_model(size, setting, dtype)
            if not (name == done and size in (512, 2048)):
                yield from alone(f"{size}/{name}", model, setting)
                yield _bare(f"{size}/{name}", size, dtype, setting)
            if name == done:
                yield _best_batch(f"{size}/{name}", model, setting)
            del model
            yield _textbook(f"{size}/{name}", size, dtype, setting)


def alone(name: str, model: Model, setting: Setting) -> Iterator[Figure]:
    """One network: a call, its memory, a call after cuDNN tried its kernels, and repeated calls."""
    import torch

    device, calls = Device(setting.device), setting.calls(CALLS)
    x = torch.from_numpy(picture(model.spec.in_size)).to(setting.device)
    with _graphs(False):
        yield Figure(f"{name}/call", device.milliseconds(lambda: model(x), calls))
        yield Figure(f"{name}/memory", device.peak_above(lambda: model(x)) / 1e9, "GB", "above the weights")
        with device.benchmarked():
            yield Figure(f"{name}/call, cuDNN tries", device.milliseconds(lambda: model(x), calls))
    with _graphs(True):
        yield from _repeated(name, model, x, setting)


def _repeated(name: str, model: Model, x: torch.Tensor, setting: Setting) -> Iterator[Figure]:
    for _ in range(RECORDING_CALLS):
        model(x)
    note = "no graph was recorded" if model.network.repeated_calls.recording is None else "replays of a CUDA graph"
    device, calls = Device(setting.device), setting.calls(CALLS)
    yield Figure(f"{name}/repeated", device.milliseconds(lambda: model(x), calls), note=note)

    def queue() -> None:
        for _ in range(calls):
            model(x)

    yield Figure(f"{name}/queued", device.milliseconds(queue, 3, warm=1) / calls)


def _bare(name: str, size: int, dtype: torch.dtype, setting: Setting) -> Figure:
    import torch

    from ..convolutions import BareConvolutions

    with torch.inference_mode(), Device(setting.device).benchmarked():
        timed = BareConvolutions(spec_for(size, setting), dtype, setting.device).time()
    return Figure(f"{name}/bare convolutions", 1e3 * sum(one.seconds for one in timed))


def _best_batch(name: str, model: Model, setting: Setting) -> Figure:
    import torch

    from gpen.device import is_out_of_memory

    device = Device(setting.device)
    x = torch.from_numpy(picture(model.spec.in_size)).to(setting.device)
    each: dict[int, float] = {}
    with _graphs(False):
        for batch in (1, *BATCHES[: setting.calls(len(BATCHES))]):
            if batch > 1 and batch * model.spec.out_size**2 > MOST_PIXELS:
                break
            pictures = x.expand(batch, -1, -1, -1).contiguous()
            try:
                each[batch] = device.milliseconds(lambda p=pictures: model(p), setting.calls(CALLS // 3)) / batch
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                break
    best = min(each, key=lambda batch: each[batch])
    return Figure(f"{name}/best batch", each[best], "ms per face", f"batch {best}", details={"ms_per_face": each})


def _textbook(name: str, size: int, dtype: torch.dtype, setting: Setting) -> Figure:
    import torch

    from ..textbook import Textbook

    spec, device = spec_for(size, setting), Device(setting.device)
    network = Textbook(spec)
    network.load_state_dict(weights_of(spec))
    network.requires_grad_(False).to(setting.device, dtype).eval()
    x = torch.from_numpy(picture(spec.in_size)).to(setting.device, dtype)
    with torch.inference_mode(), device.benchmarked():
        taken = device.milliseconds(lambda: network(x), setting.calls(CALLS // 3))
        peak = device.peak_above(lambda: network(x)) / 1e9
    return Figure(f"{name}/textbook", taken, details={"peak_gb": peak})


@contextlib.contextmanager
def _graphs(allowed: bool) -> Iterator[None]:
    """With or without recording; what was recorded before is not replayed."""
    from gpen.network.cuda_graph import SWITCH

    before: Any = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1" if allowed else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before

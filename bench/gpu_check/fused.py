"""Whether the fused kernels agree with the plain operations on this GPU, and what the network takes without them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from .device import Device
from .network import alone
from .part import Figure, Setting
from .subjects import dtypes, random_model


def measure(setting: Setting) -> Iterator[Figure]:
    """How far they are from the plain operations; 512 and 2048 without them, as where Triton is not installed."""
    import torch

    from gpen.network.fusion import using_fused

    if why := missing(setting):
        yield Figure("fused", None, note=why)
    else:
        from gpen.network.agreement import difference

        for name, dtype in dtypes(setting).items():
            found, bound = difference(torch.device(setting.device), dtype)
            yield Figure(f"fused/{name}", found, "×", "largest difference from the plain operations", bound)
    name, dtype = next(iter(dtypes(setting).items()))
    for size in (512, 2048):
        with using_fused(False):
            yield from alone(f"plain/{size}/{name}", random_model(size, setting, dtype), setting)


def missing(setting: Setting) -> str:
    """Why fused kernels cannot be used here; empty if they can."""
    if not Device(setting.device).is_cuda:
        return "they need CUDA; tests run them in Triton's interpreter"
    return "" if importlib.util.find_spec("triton") else "triton is not installed"

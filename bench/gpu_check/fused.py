"""Whether the optional fused kernels agree with the plain operations on this GPU, and whether they pay."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from .device import Device
from .network import alone
from .part import Figure, Setting
from .subjects import dtypes, random_model


def measure(setting: Setting) -> Iterator[Figure]:
    """512 and 2048 with fused kernels, in the precision of "auto": beside the figures of the same names without."""
    if why := missing(setting):
        yield Figure("fused", None, note=why)
        return
    import torch

    from gpen.network.agreement import difference
    from gpen.network.fusion import using_fused

    for name, dtype in dtypes(setting).items():
        found, bound = difference(torch.device(setting.device), dtype)
        yield Figure(f"fused/{name}", found, "×", "largest difference from the plain operations", bound)
    name, dtype = next(iter(dtypes(setting).items()))
    for size in (2048, 512):
        with using_fused(True):
            yield from alone(f"fused/{size}/{name}", random_model(size, setting, dtype), setting)


def missing(setting: Setting) -> str:
    """Why fused kernels cannot be measured here; empty if they can."""
    if not Device(setting.device).is_cuda:
        return "they need CUDA; tests run them in Triton's interpreter"
    return "" if importlib.util.find_spec("triton") else "triton is not installed"

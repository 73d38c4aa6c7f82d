"""The network on the device beside outputs of the published implementation, and beside itself in float32.

float32 is compared without TF32 first: that is the arithmetic that the bound is for. By default PyTorch lets
convolutions on CUDA compute in TF32, so that figure stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..recipe import recipe_input, recipe_weights, reference, reference_spec
from .device import Device
from .part import Figure, Setting
from .subjects import dtypes, model_of, passthrough_model

if TYPE_CHECKING:
    import torch

SIZES = (512, 2048, 256, 1024)
QUICK_SIZES = (32,)
SAME = 2e-4
"""Largest difference in float32, relative to the largest value of the output."""
HALF_TAIL, HALF_MEAN = 2 / 255, 0.3 / 255
"""Largest difference of half precision from float32 after mapping to [0, 1]: its 99.9th percentile, and its mean."""


def measure(setting: Setting) -> Iterator[Figure]:
    """float32 against the references, half precision against float32; passthrough weights against their input."""
    if setting.shared is None:
        yield Figure("parity/reference", None, "×", "the folder shared/reference is not there")
    for size in QUICK_SIZES if setting.quick else SIZES:
        if setting.shared is not None:
            yield from _reference(size, setting)
    yield from _passthrough(512, setting)
    yield from _passthrough(2048, setting)


def _reference(size: int, setting: Setting) -> Iterator[Figure]:
    import torch

    from gpen.network.gpen import GPEN

    assert setting.shared is not None
    stored = reference(setting.shared, f"gpen-{size}")
    spec = reference_spec(stored)
    weights = recipe_weights(GPEN(spec))
    x = recipe_input(spec.in_size)
    step, scale = int(stored["step"]), float(stored["absmax"])

    def error(out: torch.Tensor) -> float:
        sampled = out[0, :, ::step, ::step].cpu().numpy()
        return float(np.abs(sampled - stored["sample"]).max()) / scale

    model = model_of(spec, weights, setting, torch.float32)
    with Device(setting.device).exact_float32():
        exact = model(x)
    yield Figure(f"parity/{size}/float32", error(exact), "×", "largest difference / largest value", bound=SAME)
    yield Figure(f"parity/{size}/float32 as called", error(model(x)), "×", "with PyTorch's defaults, TF32 on CUDA")
    for name, dtype in dtypes(setting).items():
        if dtype != torch.float32:
            half = model_of(spec, weights, setting, dtype)(x)
            # bfloat16 has three bits less: its figures are for information.
            yield from _half(f"parity/{size}/{name}", half, exact, bounded=dtype == torch.float16)


def _half(name: str, half: torch.Tensor, exact: torch.Tensor, *, bounded: bool) -> Iterator[Figure]:
    import torch

    one, other = ((out / 2 + 0.5).clamp(0, 1) for out in (half.float(), exact))
    difference = (one - other).abs().flatten()
    tail = float(torch.kthvalue(difference, round(0.999 * len(difference))).values)
    yield Figure(f"{name}, 99.9 %", 255 * tail, "/255", bound=255 * HALF_TAIL if bounded else None)
    yield Figure(f"{name}, mean", 255 * float(difference.mean()), "/255", bound=255 * HALF_MEAN if bounded else None)


def _passthrough(size: int, setting: Setting) -> Iterator[Figure]:
    """How far the network is from the identity for which its weights were made."""
    import torch

    for name, dtype in dtypes(setting).items():
        model = passthrough_model(size, setting, dtype)
        x = torch.rand(1, 3, model.spec.in_size, model.spec.in_size, generator=torch.Generator().manual_seed(1)) * 2 - 1
        with Device(setting.device).exact_float32():
            difference = (model(x).cpu() - x).abs().flatten() / 2
        tail = float(torch.kthvalue(difference, round(0.999 * len(difference))).values)
        bound = {torch.float32: 1e-4, torch.float16: HALF_TAIL}.get(dtype)
        yield Figure(
            f"passthrough/{size}/{name}, 99.9 %", 255 * tail, "/255", bound=None if bound is None else 255 * bound
        )

"""What happens when memory runs out, and whether memory stays flat over many photos."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..measure import picture, seconds
from ..portrait import portrait
from .device import Device
from .part import Figure, Setting
from .subjects import passthrough_model

if TYPE_CHECKING:
    import torch

CAPS = (80, 16, 8, 6, 4)
"""Gigabytes that PyTorch may take in all, weights included."""
LADDER = ((2048, "float32", 1), (512, "float32", 16), (2048, "float16", 1))
"""Size, dtype, and number of crops at once."""
SAME_TAIL = 2 / 255
"""At the 99.9th percentile: a ladder may end in bfloat16, whose figures are for information."""
PHOTOS = 1000
SETTLED = 100
"""Photos after which memory has to stay as it is."""
FLAT_MEGAPIXELS = (1.0, 0.7, 2.0)
SLACK = 1 << 20
"""Bytes that the GPU's memory may grow by over the other photos."""
PROCESS_SLACK = 64 << 20
"""The same for the process's own memory."""


def ladder(setting: Setting) -> Iterator[Figure]:
    """Faces through the network with less and less memory: how it went on, and how far the result is from before."""
    import torch

    for size, dtype, number in LADDER:
        if setting.device == "cpu" and dtype == "float16":
            continue
        expected: torch.Tensor | None = None
        for cap in CAPS[: setting.calls(len(CAPS))]:
            name = f"ladder/{size}/{dtype}/{number} faces/{cap} GB"
            with Device(setting.device).capped(cap):
                figure, out = _capped(name, size, getattr(torch, dtype), number, setting)
            if expected is None:
                expected = out
            yield figure
            kept_dtype = figure.details["continued in"] == dtype
            yield Figure(
                f"{name}, 99.9 %", 255 * _tail(out, expected), "/255", bound=255 * SAME_TAIL if kept_dtype else None
            )


def _capped(name: str, size: int, dtype: torch.dtype, number: int, setting: Setting) -> tuple[Figure, torch.Tensor]:
    import torch

    from gpen.restoration.inference import run_within_memory

    model = passthrough_model(size, setting, dtype)
    x = torch.from_numpy(picture(model.spec.in_size)).expand(number, -1, -1, -1)
    device = Device(setting.device)
    out: list[torch.Tensor] = []
    peak = device.peak_above(lambda: out.append(run_within_memory(model, x)))
    again = seconds(lambda: run_within_memory(model, x), setting.device)
    details: dict[str, Any] = {
        "continued in": str(model.dtype).removeprefix("torch."),
        "strip_bytes": model.network.strip_bytes,
        "peak_gb": peak / 1e9,
    }
    how = f"in {details['continued in']}, strips {model.network.strip_bytes or 'as by default'}"
    return Figure(name, 1e3 * again, "ms", f"{how}; peak {peak / 1e9:.2f} GB", details=details), out[0].cpu()


def _tail(one: torch.Tensor, other: torch.Tensor) -> float:
    import torch

    difference = (one - other).abs().flatten() / 2
    return float(torch.kthvalue(difference, max(1, round(0.999 * len(difference)))).values)


def flat(setting: Setting) -> Iterator[Figure]:
    """Many photos of several sizes with one face each: the growth after the first ones."""
    import torch

    import gpen

    model = passthrough_model(512, setting, torch.float16 if setting.device == "cuda" else torch.float32)
    sizes = [0.05] if setting.quick else FLAT_MEGAPIXELS
    photos = [portrait(megapixels) for megapixels in sizes]
    settled, last = (3, 6) if setting.quick else (SETTLED, PHOTOS)
    device = Device(setting.device)
    before = [0, 0]
    taken = 0.0
    for number in range(last):
        pixels, face = photos[number % len(photos)]
        taken += seconds(lambda p=pixels, f=face: gpen.restore(p, model, [f], keep_crops=False), setting.device)
        if number + 1 == settled:
            before = [device.allocated(), _resident()]
    grown = [after - earlier for after, earlier in zip((device.allocated(), _resident()), before, strict=True)]
    said = f"from photo {settled} to photo {last}"
    yield Figure("flat/GPU", grown[0] / 1e6, "MB", said, SLACK / 1e6)
    yield Figure("flat/process", grown[1] / 1e6, "MB", said, None if setting.quick else PROCESS_SLACK / 1e6)
    yield Figure("flat/photo", 1e3 * taken / last)


def _resident() -> int:
    """The most memory that the process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""Whether everything around the network stays on the device, and how often it makes the CPU wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..geometry import OneFace
from .device import Device
from .part import Figure, Setting
from .subjects import dtypes, passthrough_model

if TYPE_CHECKING:
    from torch import Tensor

MEGAPIXELS = 1.0
QUICK_MEGAPIXELS = 0.25


def measure(setting: Setting) -> Iterator[Figure]:
    """Synchronisations of each step, after a call that does not count; raises where a result left the device."""
    face = OneFace.of(QUICK_MEGAPIXELS if setting.quick else MEGAPIXELS, 512, setting.device)
    for name, call in steps(face, setting).items():
        for result in call():
            if result.device.type != setting.device:
                raise AssertionError(f"{name} returned a tensor on {result.device}, not on {setting.device}.")
        waits = Device(setting.device).synchronizations(call)
        yield Figure(f"clean/{name}", waits, "waits", "of the CPU for the GPU, uploads of small tensors included")


def steps(face: OneFace, setting: Setting) -> dict[str, Callable[[], list[Tensor]]]:
    """Each step of the pipeline, as a function that returns its tensors."""
    from gpen.restoration.inference import restore_crops

    crop, mask = face.crop(), face.mask()
    model = passthrough_model(512, setting, next(iter(dtypes(setting).values())))
    small = OneFace.of(QUICK_MEGAPIXELS, model.spec.in_size, setting.device).crop()
    return {
        "crop": lambda: [face.crop()],
        "mask": lambda: [face.mask()],
        "paste": lambda: list(face.paste(crop, mask)),
        "network": lambda: restore_crops(model, [small]),
    }

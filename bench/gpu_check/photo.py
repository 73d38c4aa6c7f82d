"""From decoded photo to decoded photo: the whole of it, the share of each stage, and what is around the network alone.

The stages are timed in further runs, in which each waits for the device before and after, so that they do not overlap
as in a run that only counts as a whole.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from ..geometry import OneFace
from ..measure import seconds
from ..portrait import portrait
from .device import Device
from .part import Figure, Setting
from .subjects import dtypes, passthrough_model

if TYPE_CHECKING:
    from gpen.faces.detection.detector import FaceDetector

CALLS = 15
PHOTOS = ((2048, 12), (512, 12), (512, 1), (2048, 1))
"""Size of the network, megapixels of the photo."""
QUICK_MEGAPIXELS = 0.25
DETECTOR_FILE = "weights/face_detection_yunet_2023mar.onnx"


def measure(setting: Setting) -> Iterator[Figure]:
    """Each photo with each network, detection included where the detector's weights are there."""
    _, dtype = next(iter(dtypes(setting).items()))
    detector, why = _detector(setting)
    for size, megapixels in PHOTOS:
        model = passthrough_model(size, setting, dtype)
        side = QUICK_MEGAPIXELS if setting.quick else megapixels
        name = f"{size}/{megapixels} MP"
        yield from _around(name, OneFace(side, model.spec.in_size, setting.device), setting)
        pixels, face = portrait(side, setting.shared)
        yield from _whole(f"photo/{name}/faces given", pixels, model, [face], setting)
        if detector is None:
            yield Figure(f"photo/{name}/detected", None, note=why)
        else:
            yield from _whole(f"photo/{name}/detected", pixels, model, detector, setting)


def _detector(setting: Setting) -> tuple[FaceDetector | None, str]:
    """YuNet on the device; None and the reason where it cannot be had."""
    import gpen

    if setting.shared is None or not (setting.shared / DETECTOR_FILE).exists():
        return None, f"{Path(DETECTOR_FILE).name} is not there"
    return gpen.make_detector("yunet", [setting.shared / "weights"], setting.device), ""


def _around(name: str, face: OneFace, setting: Setting) -> Iterator[Figure]:
    """The steps with the photo on the device already; blending includes copying the changed rectangle back."""
    import torch

    from gpen.images.staging import to_device

    device, calls = Device(setting.device), setting.calls(CALLS)
    face.photo.whole()
    crop = face.crop()
    mask = face.mask(crop)
    canvas = face.add(crop, mask)
    pixels = torch.from_numpy(face.pixels)
    steps: dict[str, Callable[[], Any]] = {
        "crop, mask, paste": face.around,
        "crop": face.crop,
        "mask": lambda: face.mask(crop),
        "add to the canvas": lambda: face.add(crop, mask),
        "blend and copy back": lambda: face.blend(canvas),
        "blend into a copy": lambda: canvas.blend(1.0),
        "photo to the device": lambda: to_device(pixels, torch.device(setting.device)),
    }
    for step, call in steps.items():
        yield Figure(f"around/{name}/{step}", device.milliseconds(call, calls))


def _whole(name: str, pixels: Any, model: Any, faces: Any, setting: Setting) -> Iterator[Figure]:
    import gpen

    device, calls = Device(setting.device), setting.calls(CALLS)
    found: list[int] = []

    def call() -> None:
        found.append(len(gpen.restore(pixels, model, faces, keep_crops=False).faces))

    yield Figure(
        name,
        device.milliseconds(call, calls, warm=setting.calls(4)),
        details={"peak_gb": device.peak_above(call) / 1e9},
    )
    if set(found) != {1}:
        raise AssertionError(f"{name}: {sorted(set(found))} faces were restored, not 1.")
    rounds = []
    for _ in range(calls):
        with _timed_stages(faces, setting) as stages:
            stages["whole"] = seconds(call, setting.device)
        rounds.append(stages)
    whole = statistics.median(one["whole"] for one in rounds)
    for stage in rounds[0]:
        if stage != "whole":
            taken = statistics.median(one[stage] for one in rounds)
            yield Figure(f"{name}: {stage}", 1e3 * taken, note=f"{taken / whole:.0%} of a run that waits after each")


@contextlib.contextmanager
def _timed_stages(faces: Any, setting: Setting) -> Iterator[dict[str, float]]:
    """Seconds of each stage of the pipeline, summed while this is open. faces: a detector, or a list of faces."""
    from gpen.faces.paste import Canvas
    from gpen.restoration import inference
    from gpen.restoration.processors import FaceProcessor

    stages: dict[str, tuple[Any, str]] = {
        "crop": (FaceProcessor, "crop"),
        "network": (inference, "restore_crops"),
        "mask": (FaceProcessor, "mask"),
        "paste": (Canvas, "add"),
        "blend": (Canvas, "blend"),
    }
    if not isinstance(faces, list):
        stages["detection"] = (type(faces), "detect")
    taken: dict[str, float] = defaultdict(float)

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            out: list[Any] = []
            taken[stage] += seconds(lambda: out.append(function(*arguments, **keywords)), setting.device)
            return out[0]

        return call

    with contextlib.ExitStack() as stack:
        for stage, (owner, attribute) in stages.items():
            replaced = timed(stage, getattr(owner, attribute))
            stack.enter_context(mock.patch.object(owner, attribute, replaced))
        yield taken

"""Whether everything around the network stays on the device, and how often it makes the CPU wait for it.

Every copy between ordinary memory and the device counts as a wait, also that of a matrix of six numbers. One from
pinned memory, which the device makes when it comes to it, does not.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..geometry import OneFace
from ..parsing import saved
from .device import Device
from .part import Figure, Setting
from .subjects import dtypes, passthrough_model

MEGAPIXELS = 1.0
QUICK_MEGAPIXELS = 0.25
NETWORK = 512


def measure(setting: Setting) -> Iterator[Figure]:
    """The waits of each step, after a call that does not count; raises where a tensor is on another device."""
    megapixels = QUICK_MEGAPIXELS if setting.quick else MEGAPIXELS
    face = OneFace(megapixels, NETWORK, setting.device)
    yield from _steps(_geometry(face), setting)
    yield from _steps({"network": _network(setting, megapixels)}, setting)
    if setting.shared is None:
        yield Figure("clean/detector", None, "waits", "the detector's weights are not there")
    else:
        yield from _steps({"detector": _detector(face, setting)}, setting)
    if importlib.util.find_spec("facexlib") is None:
        yield Figure("clean/parser", None, "waits", "facexlib is not installed")
    else:
        yield from _steps(_helpers(face, setting), setting)


def _steps(steps: dict[str, Callable[[], Any]], setting: Setting) -> Iterator[Figure]:
    import torch

    for name, call in steps.items():
        result = call()
        for one in result if isinstance(result, list | tuple) else [result]:
            if isinstance(one, torch.Tensor) and one.device.type != setting.device:
                raise AssertionError(f"{name} returned a tensor on {one.device}, not on {setting.device}.")
        yield Figure(f"clean/{name}", Device(setting.device).synchronizations(call), "waits")


def _geometry(face: OneFace) -> dict[str, Callable[[], Any]]:
    face.photo.whole()
    crop = face.crop()
    mask = face.mask(crop)
    canvas = face.add(crop, mask)
    return {
        "crop": face.crop,
        "mask": lambda: face.mask(crop),
        "add to the canvas": lambda: face.add(crop, mask),
        "blend and copy back": lambda: face.blend(canvas),
    }


def _network(setting: Setting, megapixels: float) -> Callable[[], Any]:
    from gpen.restoration.inference import restore_crops

    model = passthrough_model(NETWORK, setting, next(iter(dtypes(setting).values())))
    crop = OneFace(megapixels, model.spec.in_size, setting.device).crop()
    return lambda: restore_crops(model, [crop])


def _detector(face: OneFace, setting: Setting) -> Callable[[], Any]:
    import gpen

    assert setting.shared is not None
    detector = gpen.make_detector("yunet", [setting.shared / "weights"], setting.device)
    return lambda: detector.detect(face.pixels)


def _helpers(face: OneFace, setting: Setting) -> dict[str, Callable[[], Any]]:
    """The face parser and the identity guard, with random weights."""
    from facexlib.parsing.parsenet import ParseNet
    from facexlib.recognition.arcface_arch import Backbone

    from gpen.faces.masks.parsing import SIZE, FaceParser
    from gpen.faces.recognition.identity import FaceRecognizer, IdentityGuard

    with tempfile.TemporaryDirectory() as folder:
        parsenet = saved(ParseNet(in_size=SIZE, out_size=SIZE, parsing_ch=19), Path(folder) / "parsenet.pth")
        arcface = saved(Backbone(50, 0.6, "ir_se"), Path(folder) / "arcface.pth")
        parser = FaceParser("parsenet", parsenet, setting.device)
        guard = IdentityGuard(FaceRecognizer(arcface, setting.device), 1.0, blend=False)
    crop = face.crop()
    return {
        "parser": lambda: parser.parse(crop),
        "guard": lambda: guard.judge(crop, crop * 0.9, face.placement.landmarks, 1.0).factor,
    }

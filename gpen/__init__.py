"""GPEN Face Restore: faces in photographs restored with GPEN networks, up to 2048 x 2048 per face.

Importing this package imports neither PyTorch nor OpenCV; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import GpenError
    from .faces.detect import FaceDetector, available_detectors, make_detector
    from .faces.face import Face
    from .faces.identity import IdentityGuard, make_guard
    from .faces.parsing import make_parser
    from .images import Picture, read_picture, write_picture
    from .model.checkpoint import CheckpointInfo, Model, inspect, load_model
    from .model.convert import convert
    from .model.spec import Spec
    from .options import OPTIONS, Option, Options
    from .pipeline import restore
    from .restoration import Restoration, RestoredFace, SkippedFace
    from .tasks import colorize, inpaint, luma, synthesize
    from .upscale import Upscaler, load_upscaler

_HOMES = {
    "GpenError": "errors",
    "FaceDetector": "faces.detect",
    "available_detectors": "faces.detect",
    "make_detector": "faces.detect",
    "Face": "faces.face",
    "IdentityGuard": "faces.identity",
    "make_guard": "faces.identity",
    "make_parser": "faces.parsing",
    "Picture": "images",
    "read_picture": "images",
    "write_picture": "images",
    "CheckpointInfo": "model.checkpoint",
    "Model": "model.checkpoint",
    "inspect": "model.checkpoint",
    "load_model": "model.checkpoint",
    "convert": "model.convert",
    "Spec": "model.spec",
    "OPTIONS": "options",
    "Option": "options",
    "Options": "options",
    "Restoration": "restoration",
    "RestoredFace": "restoration",
    "SkippedFace": "restoration",
    "restore": "pipeline",
    "colorize": "tasks",
    "inpaint": "tasks",
    "luma": "tasks",
    "synthesize": "tasks",
    "Upscaler": "upscale",
    "load_upscaler": "upscale",
}

__all__ = [
    "OPTIONS",
    "CheckpointInfo",
    "Face",
    "FaceDetector",
    "GpenError",
    "IdentityGuard",
    "Model",
    "Option",
    "Options",
    "Picture",
    "Restoration",
    "RestoredFace",
    "SkippedFace",
    "Spec",
    "Upscaler",
    "available_detectors",
    "colorize",
    "convert",
    "inpaint",
    "inspect",
    "load_model",
    "load_upscaler",
    "luma",
    "make_detector",
    "make_guard",
    "make_parser",
    "read_picture",
    "restore",
    "synthesize",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value

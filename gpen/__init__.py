"""GPEN Face Restore: restores faces in photos with GPEN networks, up to 2048 x 2048 pixels per face.

Importing this package does not import PyTorch or OpenCV; each name is loaded on first use.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import GpenError
    from .faces.detection.detector import FaceDetector, available_detectors, make_detector
    from .faces.face import Face
    from .faces.masks.occlusion import make_occluder
    from .faces.masks.parsing import make_parser
    from .faces.recognition.identity import IdentityGuard
    from .images import Picture, left_out, read_picture, write_picture
    from .images.tensors import luma
    from .network.spec import Spec
    from .options import OPTIONS, Option, Options
    from .restoration.api import colorize, inpaint, restore, run, synthesize
    from .restoration.components import make_guard, make_people
    from .restoration.result import Restoration, RestoredFace, SkippedFace
    from .restoration.upscaler import Upscaler, load_upscaler
    from .weights.checkpoint import CheckpointInfo, Model, inspect, load_model
    from .weights.convert import convert

_HOMES = {
    "GpenError": "errors",
    "FaceDetector": "faces.detection.detector",
    "available_detectors": "faces.detection.detector",
    "make_detector": "faces.detection.detector",
    "Face": "faces.face",
    "IdentityGuard": "faces.recognition.identity",
    "make_guard": "restoration.components",
    "make_people": "restoration.components",
    "make_occluder": "faces.masks.occlusion",
    "make_parser": "faces.masks.parsing",
    "Picture": "images",
    "left_out": "images",
    "read_picture": "images",
    "write_picture": "images",
    "CheckpointInfo": "weights.checkpoint",
    "Model": "weights.checkpoint",
    "inspect": "weights.checkpoint",
    "load_model": "weights.checkpoint",
    "convert": "weights.convert",
    "Spec": "network.spec",
    "OPTIONS": "options",
    "Option": "options",
    "Options": "options",
    "Restoration": "restoration.result",
    "RestoredFace": "restoration.result",
    "SkippedFace": "restoration.result",
    "restore": "restoration.api",
    "colorize": "restoration.api",
    "inpaint": "restoration.api",
    "run": "restoration.api",
    "synthesize": "restoration.api",
    "luma": "images.tensors",
    "Upscaler": "restoration.upscaler",
    "load_upscaler": "restoration.upscaler",
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
    "left_out",
    "load_model",
    "load_upscaler",
    "luma",
    "make_detector",
    "make_guard",
    "make_occluder",
    "make_parser",
    "make_people",
    "read_picture",
    "restore",
    "run",
    "synthesize",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The version that pyproject.toml states: beside a checkout, which hosts load as it is, else as pip recorded it."""
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    if pyproject.is_file():
        text = pyproject.read_text(encoding="utf-8")
        found = re.search(r'^name = "gpen-face-restore"\nversion = "([^"]+)"$', text, re.MULTILINE)
        if found is not None:
            return found[1]
    from importlib import metadata

    return metadata.version("gpen-face-restore")

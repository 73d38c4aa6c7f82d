"""`gpen doctor`: whether everything that this program needs is there and works, as text to paste into an issue."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from ..device import dtype_name, pick_device, pick_dtype
from ..errors import GpenError
from ..images import read_picture
from ..images.picture import FloatImage
from ..images.resize import resize
from ..images.tensors import as_array, as_tensor
from ..restoration.inference import restore_crops
from ..tasks import find_task
from ..weights.catalog import KINDS, PUBLISHED
from ..weights.checkpoint import load_model
from ..weights.search import find_file, list_networks, search_folders
from ..wording import count, first_line

PORTRAIT = Path(__file__).with_name("portrait.jpg")
"""An aligned face, in the public domain (made by demo/portrait.py)."""

_COARSE = 16  # pixels a side at which a restored portrait has to look like the portrait
_LARGEST_ERROR = 0.1  # of these pixels, on average; trained networks stay below a third of it
_OK, _WARNING, _WRONG = "ok", "note", "WRONG"


@dataclass(frozen=True)
class _Package:
    module: str
    name: str
    """As pip knows it."""
    purpose: str
    needed: bool = False


_PACKAGES = (
    _Package("torch", "torch", "networks", needed=True),
    _Package("numpy", "numpy", "pictures", needed=True),
    _Package("cv2", "opencv-python", "pictures, YuNet, SFace", needed=True),
    _Package("PIL", "pillow", "picture files", needed=True),
    _Package("tifffile", "tifffile", "TIFF", needed=True),
    _Package("safetensors", "safetensors", "model files", needed=True),
    _Package("facexlib", "facexlib", "RetinaFace, parsed mask, ArcFace", needed=True),
    _Package("onnxruntime", "onnxruntime", "faster detection on a CPU, occlusion models"),
    _Package("onnx", "onnx", "gpen convert of ONNX files"),
    _Package("spandrel", "spandrel", "--background-model, gpen compare"),
    _Package("spandrel_extra_arches", "spandrel-extra-arches", "CodeFormer in gpen compare"),
    _Package("av", "av", "films"),
    _Package("gradio", "gradio", "gpen app"),
    _Package("ray", "ray", "--engine ray"),
    _Package("pi_heif", "pi-heif", "HEIC"),
    _Package("imagecodecs", "imagecodecs", "AVIF, JPEG 2000, JPEG XL, JPEG with 12 bits"),
    _Package("pylibjxl", "pylibjxl", "JPEG XL with an ICC profile"),
    _Package("rawpy", "rawpy", "cameras' raw files"),
    _Package("c2pa", "c2pa-python", "--sign"),
    _Package("cryptography", "cryptography", "--sign"),
    _Package("argcomplete", "argcomplete", "completion"),
)


@dataclass(frozen=True)
class _Finding:
    state: str
    text: str


def run(arguments: argparse.Namespace) -> int:
    """Print the report; returns 1 if something that is needed does not work, else 0."""
    wrong = 0
    for title, findings in (
        ("System", _system(arguments.device)),
        ("Packages", _packages()),
        ("Models", _models(arguments.models_path, show_paths=arguments.paths)),
        ("Networks, each with one portrait", _networks(arguments.models_path, arguments.device)),
    ):
        print(f"{title}:")
        for finding in findings:
            print(f"    {finding.state:5}  {finding.text}", flush=True)
            wrong += finding.state == _WRONG
    print("Everything that is needed works." if not wrong else f"{count(wrong, 'problem')} found: see {_WRONG}.")
    return 1 if wrong else 0


def _system(device_name: str) -> Iterator[_Finding]:
    from .. import __version__

    yield _Finding(_OK, f"GPEN Face Restore {__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield _Finding(_OK, f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} CPUs")
    try:
        device = pick_device(device_name)
    except GpenError as error:
        yield _Finding(_WRONG, str(error))
        return
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    yield _Finding(_OK, f"device {device}{name}, precision {dtype_name(pick_dtype('auto', device))}")
    if device.type == "cpu" and torch.version.cuda and not torch.cuda.is_available():
        yield _Finding(_WARNING, "PyTorch is built for CUDA, and finds no GPU: everything runs on the CPU.")
    memory = _free_memory(device)
    if memory is not None:
        yield _Finding(_OK, f"{memory / 1e9:.1f} GB of memory free on {device}")


def _free_memory(device: torch.device) -> int | None:
    """In bytes; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _packages() -> Iterator[_Finding]:
    for package in _PACKAGES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs are no news to a user
                importlib.import_module(package.module)
        except Exception as error:  # broken packages raise anything
            is_missing = isinstance(error, ModuleNotFoundError) and error.name == package.module
            why = "is not installed" if is_missing else f"does not import ({type(error).__name__}: {first_line(error)})"
            state = _WRONG if package.needed or not is_missing else _WARNING
            yield _Finding(state, f"{package.name} {why}: for {package.purpose}")
            continue
        yield _Finding(_OK, f"{package.name} {_version(package.name)}: for {package.purpose}")


def _version(name: str) -> str:
    for known in (name, f"{name}-headless"):
        try:
            return metadata.version(known)
        except metadata.PackageNotFoundError:
            continue
    return "of an unknown version"


def _models(folders: list[Path], *, show_paths: bool) -> Iterator[_Finding]:
    searched = dict.fromkeys([*search_folders(folders), *search_folders(folders, kind="detector")])
    for number, folder in enumerate(searched, 1):
        shown = str(folder) if show_paths else f"folder {number}"
        yield _Finding(_OK, f"{shown}: {'is searched' if folder.is_dir() else 'would be searched, does not exist'}")
    for kind in KINDS[1:]:
        published = [row for row in PUBLISHED if row.kind == kind]
        found = [row.name for row in published if find_file(row, search_folders(folders, kind=kind)) is not None]
        if found:
            yield _Finding(_OK, f"{kind}: {', '.join(found)}")
        else:
            state = _WRONG if kind == "detector" else _WARNING
            yield _Finding(state, f"no {kind} on disk; gpen download {published[0].name} gets one")


def _networks(folders: list[Path], device_name: str) -> Iterator[_Finding]:
    networks = list_networks(search_folders(folders))
    if not networks:
        yield _Finding(_WRONG, "no network on disk; gpen download GPEN-BFR-512 gets one")
    portrait = read_picture(PORTRAIT, 1).photo
    for path in networks:
        try:
            yield _timed(path, portrait, pick_device(device_name))
        except GpenError as error:
            # A file that is something else is no fault of this program's.
            yield _Finding(_WARNING, f"{path.name}: {str(error).replace(str(path), 'it')}")


def _timed(path: Path, portrait: FloatImage, device: torch.device) -> _Finding:
    start = time.perf_counter()
    model = load_model(path, device, pick_dtype("auto", device))
    loaded = time.perf_counter()
    face = resize(portrait, (model.spec.in_size, model.spec.in_size))
    task = find_task(model.task)
    if task.adds_color:
        face[:] = face.mean(axis=2, keepdims=True)
    (restored,) = restore_crops(model, [as_tensor(face).to(device)])
    after = as_array(restored)
    seconds = time.perf_counter() - loaded
    took = f"loaded in {loaded - start:.2f} s, first face in {seconds:.2f} s"
    text = f"{path.name} ({model.spec.title}, {task.name}): {took}"
    if not task.keeps_photo:  # a portrait is no segmentation map
        return _Finding(_OK, text)
    seen, given = (resize(picture, (_COARSE, _COARSE)).mean(axis=2) for picture in (after, face))
    error = float(abs(seen - given).mean())
    if error > _LARGEST_ERROR:
        return _Finding(_WRONG, f"{text}; the result is not the portrait (off by {error:.2f} of 1 on average)")
    return _Finding(_OK, f"{text}; the result is the portrait (off by {error:.3f})")

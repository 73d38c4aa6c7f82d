"""What the extension needs from SD-WebUI: its folders, device and memory, settings, progress and job."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from modules import devices, paths, shared
from numpy.typing import NDArray

from gpen.device import memory_estimate, pick_dtype
from gpen.faces.detect import FaceDetector, make_detector
from gpen.faces.parsing import FaceParser, make_parser
from gpen.files.folders import default_network, find_network, list_networks, search_folders
from gpen.model.checkpoint import Model, load_model
from gpen.options import OPTIONS, Options
from gpen.pipeline import OnProgress, Restoration, RestoredFace, restore
from gpen.wording import count

NAME = "GPEN"
AUTO = "auto"
"""Stands for the network that suits most faces, of those that are there."""

_FOLDERS = ("GPEN", "GFPGAN", "facerestore_models", "facedetection", "facexlib")


def folders() -> list[Path]:
    """Where weights may lie, first choice first; guides tell people to use other programs' folders too."""
    models = Path(paths.models_path)
    given = (getattr(shared.cmd_opts, name, None) for name in ("gpen_models_path", "gfpgan_models_path"))
    ours, gfpgan = (Path(folder) if folder else None for folder in given)
    places = [ours, models / _FOLDERS[0], gfpgan, *(models / name for name in _FOLDERS[1:])]
    return [place for place in places if place is not None]


def networks() -> list[str]:
    """What can be chosen as the model: "auto", then the names of the weight files that are there."""
    return [AUTO, *dict.fromkeys(path.name for path in list_networks(search_folders(folders())))]


def network_path(name: str | None) -> Path:
    """The weight file of that name; FilesError says what to get where it is missing."""
    searched = search_folders(folders())
    if name in (None, "", AUTO):
        # Any network is better than none, if it is the only one that a user has.
        there = list_networks(searched)
        return default_network(searched) or (there[0] if len(there) == 1 else find_network(None, searched))
    return find_network(name, searched)


def setting(name: str) -> Any:
    """A value from the settings page, which is never built with --nowebui: then its default."""
    value = getattr(shared.opts, f"gpen_{name}", None)
    return DEFAULTS[name] if value is None else value


DEFAULTS: dict[str, Any] = {
    "model": AUTO,
    "keep_in_memory": True,
    **{name: OPTIONS[name].default for name in ("detector", "precision", "strength", "upscale")},
}
"""The settings, without the prefix that they have in the host."""


def options_from(values: dict[str, Any]) -> Options:
    """Options by name; where one is None or missing, the setting or the default. GpenError for a bad value."""
    settings = {name: setting(name) for name in ("detector", "precision", "strength", "upscale")}
    given = {name: value for name, value in values.items() if name in OPTIONS and value is not None}
    return Options(**(settings | given))


class Engine:
    """The loaded network, detector and parser, kept between pictures where the settings say so."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def restore(self, image: NDArray[np.uint8], weights: Path, options: Options) -> Restoration:
        """Restore the faces of a picture (H, W, 3), RGB. GpenError for everything that a user can cause.

        Interrupt and Skip stop it between faces: the result is the picture so far.
        """
        device = devices.get_device_for("gpen")
        model: Model | None = None
        try:
            with _progress() as on_progress:
                model = self._model(weights, device, options.precision)
                self._move(model, device)
                return restore(
                    image.astype(np.float32) / 255,
                    model,
                    self._keep("detector", (options.detector, str(device)), self._make_detector),
                    options,
                    on_progress=on_progress,
                    parser=self._keep("parser", str(device), self._make_parser) if options.mask == "parsed" else None,
                    keep_crops=False,
                )
        finally:
            if not setting("keep_in_memory"):
                self._kept.clear()
            elif model is not None and getattr(shared.opts, "face_restoration_unload", False):
                model.network.to("cpu")
            devices.torch_gc()

    def _model(self, path: Path, device: torch.device, precision: str) -> Model:
        stat = path.stat()
        no_half = getattr(shared.cmd_opts, "no_half", False)
        dtype = pick_dtype("fp32" if no_half else precision)
        key = (path, stat.st_mtime_ns, stat.st_size, str(device), dtype)
        return self._keep("model", key, lambda key: load_model(path, device, dtype))

    def _move(self, model: Model, device: torch.device) -> None:
        """To the device, from which it may have been unloaded; Forge's memory manager makes room there."""
        try:
            from backend import memory_management
        except ImportError:  # only Forge has it
            memory_management = None
        if memory_management is not None and torch.device(device).type != "cpu":
            memory_management.free_memory(memory_estimate(model.spec, model.dtype), device)
        # Forge generates in inference mode, in which the weights would become tensors of that mode.
        with torch.inference_mode(False):
            model.network.to(device)

    def _make_detector(self, key: tuple[str, str]) -> FaceDetector:
        return make_detector(key[0], folders(), key[1])

    def _make_parser(self, device: str) -> FaceParser:
        return make_parser(folders(), device)

    def _keep(self, what: str, key: Any, make: Callable[[Any], Any]) -> Any:
        if what not in self._kept or self._kept[what][0] != key:
            self._kept.pop(what, None)  # before the new one takes memory
            self._kept[what] = (key, make(key))
        return self._kept[what][1]


@contextlib.contextmanager
def _progress() -> Iterator[OnProgress]:
    """Shows each face in the host's progress bar; afterwards the bar is as it was."""
    state = shared.state
    before = {name: getattr(state, name, None) for name in ("sampling_step", "sampling_steps", "textinfo")}

    def show(done: int, total: int, face: RestoredFace | None) -> bool:
        state.sampling_steps, state.sampling_step = total, done
        state.textinfo = f"GPEN: {done} of {count(total, 'face')}"
        return not (state.interrupted or state.skipped)

    try:
        yield show
    finally:
        for name, value in before.items():
            setattr(state, name, value)


class Job:
    """The generation that runs, which the host does not tell its face restorers about."""

    def __init__(self) -> None:
        self._processing: Callable[[], Any] = lambda: None

    def begin(self, processing: Any) -> None:
        """Remember it until :meth:`end`."""
        self._processing = weakref.ref(processing)

    def end(self) -> None:
        """Forget it."""
        self._processing = lambda: None

    def note(self, name: str, value: Any) -> None:
        """Put something into the infotext of its pictures."""
        processing = self._processing()
        if processing is not None:
            processing.extra_generation_params[name] = value


engine = Engine()
job = Job()

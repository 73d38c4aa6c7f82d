"""What the extension needs from SD-WebUI: its folders, device and memory, settings, progress and job."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from modules import devices, paths, shared
from numpy.typing import NDArray

from gpen.errors import GpenError
from gpen.images.picture import FloatImage
from gpen.network.memory import memory_estimate
from gpen.options import OPTIONS, Options
from gpen.restoration.api import face_source
from gpen.restoration.components import ComponentCache, ComponentLoader, HostHooks, Needs
from gpen.restoration.pipeline import Keep, OnProgress, run_task
from gpen.restoration.processors import PhotoInputs
from gpen.restoration.result import Restoration, RestoredFace
from gpen.tasks import RESTORE, Task
from gpen.weights.checkpoint import Model, inspect
from gpen.weights.search import default_network, find_network, list_networks, may_be_network, search_folders
from gpen.wording import count, first_line

_log = logging.getLogger(__name__)

NAME = "GPEN"
AUTO = "auto"
"""Stands for the network that suits most faces, of those that are there."""

# Of the host and of guides for it, which keep them in the same folders.
_OTHERS = ("gfpgan", "codeformer", "restoreformer")
_FOLDERS = ("GPEN", "GFPGAN", "facerestore_models", "facedetection", "facexlib")


def folders() -> list[Path]:
    """Where weights may lie, first choice first; guides tell people to use other programs' folders too."""
    models = Path(paths.models_path)
    given = (getattr(shared.cmd_opts, name, None) for name in ("gpen_models_path", "gfpgan_models_path"))
    ours, gfpgan = (Path(folder) if folder else None for folder in given)
    places = [ours, models / _FOLDERS[0], gfpgan, *(models / name for name in _FOLDERS[1:])]
    return [place for place in places if place is not None]


def make_folder() -> None:
    """The folder that messages say to put weights into, as the host has one for each of its own networks."""
    with contextlib.suppress(OSError):
        folders()[0].mkdir(parents=True, exist_ok=True)


def networks(task: Task = RESTORE) -> list[str]:
    """What can be chosen as the model for a task: "auto", then the names of the model files that are there."""
    return [AUTO, *dict.fromkeys(path.name for path in _listed(task))]


def _listed(task: Task) -> list[Path]:
    there = list_networks(search_folders(folders()))
    ours = [path for path in there if not path.name.casefold().startswith(_OTHERS)]
    return [path for path in ours if may_be_network(path.name, task.name)]


def network_path(name: str | None, task: Task = RESTORE) -> Path:
    """The model file of that name, or the one to use for a task; FilesError says what to download if it is missing."""
    searched = search_folders(folders())
    if name in (None, "", AUTO):
        # Any network is better than none, if it is the only one that a user has.
        there = _listed(task)
        only = there[0] if len(there) == 1 else None
        return default_network(searched, task.name) or only or find_network(None, searched, task.name)
    return find_network(name, searched)


def default_model(task: Task) -> str:
    """What is chosen as the model where nothing else is: the setting is about restoring."""
    return str(setting("model")) if task is RESTORE else AUTO


def setting(name: str) -> Any:
    """A value from the settings page, which is never built with --nowebui: then its default."""
    value = getattr(shared.opts, f"gpen_{name}", None)
    return DEFAULTS[name] if value is None else value


IN_SETTINGS = ("detector", "precision", "strength", "upscale", "identity_guard", "identity_action")
"""The options that have a setting."""

DEFAULTS: dict[str, Any] = {
    "model": AUTO,
    "keep_in_memory": True,
    **{name: OPTIONS[name].default for name in IN_SETTINGS},
}
"""The settings, without the prefix that they have in the host."""


def options_from(values: dict[str, Any]) -> Options:
    """Options by name; where one is None or missing, the setting or the default. GpenError for a bad value."""
    settings = {name: setting(name) for name in IN_SETTINGS}
    given = {name: value for name, value in values.items() if name in OPTIONS and value is not None}
    return Options(**(settings | given))


def samples_of(photo: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A photo, or its alpha, from 0 to 1 in the host's 0 to 255."""
    return np.rint(photo * 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureRequest:
    """What is to be done to a picture."""

    task: Task = RESTORE
    """The task."""
    weights: Path
    """The network's file."""
    options: Options
    """The product's options."""
    damage: FloatImage | None = None
    """(H, W), for inpainting."""
    aligned: bool = False
    """Whether all of the picture is the face."""


class Engine:
    """The loaded components, kept between pictures where the settings say so."""

    def __init__(self) -> None:
        self._cache = ComponentCache()

    def run(self, image: NDArray[np.uint8], request: PictureRequest) -> Restoration:
        """Do a task to the faces of a picture (H, W, 3), RGB. GpenError for everything that a user can cause.

        Interrupt and Skip stop it between faces: the result is the picture so far.
        """
        task, options, device = request.task, request.options, _device()
        if getattr(shared.cmd_opts, "no_half", False):
            options = dataclasses.replace(options, precision="fp32")
        hooks = HostHooks(before_model=lambda path, dtype: _make_room(path, device, dtype))
        loader = ComponentLoader(folders(), device, cache=self._cache, hooks=hooks)
        try:
            with _progress() as on_progress:
                needs = Needs.of(task, options, aligned=request.aligned)
                components = loader.load(task, request.weights, options, needs)
                with torch.inference_mode(False):
                    components.model.network.to(device)
                return run_task(
                    task,
                    image.astype(np.float32) / 255,
                    face_source(task, options, components.detector, aligned=task.is_aligned(request.aligned)),
                    components,
                    options,
                    inputs=PhotoInputs(damage=request.damage),
                    keep=Keep(crops=False),
                    on_progress=on_progress,
                )
        finally:
            self._put_away()
            devices.torch_gc()

    def _put_away(self) -> None:
        """What the settings want gone after a picture: out of memory, or off the device."""
        if not setting("keep_in_memory"):
            self._cache.drop()
        elif getattr(shared.opts, "face_restoration_unload", False):
            model = self._cache.peek("model")
            if isinstance(model, Model):
                with torch.inference_mode(False):
                    model.network.to("cpu")
            # Small, and quickly loaded again.
            self._cache.drop("detector", "parser", "recognizer")


def _device() -> torch.device:
    # Forge knows the flag and does not look at it.
    on_cpu = {"gpen", "all"}.intersection(getattr(shared.cmd_opts, "use_cpu", None) or ())
    return torch.device("cpu" if on_cpu else devices.get_device_for("gpen"))


def _make_room(path: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Let Forge's memory manager unload other networks where the one in that file needs their memory."""
    try:
        from backend import memory_management
    except ImportError:  # only Forge has it
        return
    if device.type != "cpu":
        info = inspect(path)
        weights = info.parameters * torch.empty((), dtype=dtype).element_size()
        memory_management.free_memory(weights + memory_estimate(info.spec, dtype), device)


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

    def note(self, facts: dict[str, Any]) -> None:
        """Put what became of a picture into its infotext, in place of what became of the one before."""
        processing = self._processing()
        if processing is not None:
            parameters = processing.extra_generation_params
            for name in (ERROR, *RESULT):
                parameters.pop(name, None)
            parameters.update({name: value for name, value in facts.items() if value is not None})


ERROR = "GPEN error"
RESULT = ("GPEN model", "GPEN strength", "GPEN upscale", "GPEN faces", "GPEN task", "GPEN note")
"""What the infotext says of a restored picture. None leaves a thing out."""


def facts_of(result: Restoration, request: PictureRequest) -> dict[str, Any]:
    """Of a picture that a task was done to, for its infotext."""
    task, options = request.task, request.options
    facts = (
        request.weights.name,
        options.strength if "strength" in task.options else None,
        options.upscale if task.accepts_background and options.upscale != 1 else None,
        len(result.faces),
        task.name if task is not RESTORE else None,
        result.note or None,
    )
    return dict(zip(RESULT, facts, strict=True))


def failure(error: Exception) -> dict[str, Any]:
    """Log why a picture stays as it was; the same for its infotext."""
    if isinstance(error, GpenError):
        _log.error("GPEN left the picture as it was: %s", error)
        return {ERROR: first_line(error)}
    _log.error("GPEN left the picture as it was.", exc_info=error)
    return {ERROR: f"{type(error).__name__}: {first_line(error)}"}


engine = Engine()
job = Job()

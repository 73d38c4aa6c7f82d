"""What the extension needs from SD-WebUI: its folders, device and memory, settings, progress and job."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from modules import devices, paths, shared
from numpy.typing import NDArray

from gpen.device import pick_dtype
from gpen.errors import GpenError
from gpen.faces.detect import FaceDetector, make_detector
from gpen.faces.identity import make_guard
from gpen.faces.parsing import FaceParser, make_parser
from gpen.files.folders import default_network, find_network, list_networks, may_be_network, search_folders
from gpen.model.checkpoint import Model, inspect, load_model
from gpen.model.memory import memory_estimate
from gpen.options import OPTIONS, OPTIONS_OF, Options
from gpen.pipeline import OnProgress
from gpen.restoration import Restoration, RestoredFace
from gpen.tasks import run
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


def networks(task: str = "restore") -> list[str]:
    """What can be chosen as the model for a task: "auto", then the names of the weight files that are there."""
    return [AUTO, *dict.fromkeys(path.name for path in _listed(task))]


def _listed(task: str) -> list[Path]:
    there = list_networks(search_folders(folders()))
    ours = [path for path in there if not path.name.casefold().startswith(_OTHERS)]
    return [path for path in ours if may_be_network(path.name, task)]


def network_path(name: str | None, task: str = "restore") -> Path:
    """The weight file of that name, or the one to use for a task; FilesError says what to get where it is missing."""
    searched = search_folders(folders())
    if name in (None, "", AUTO):
        # Any network is better than none, if it is the only one that a user has.
        there = _listed(task)
        only = there[0] if len(there) == 1 else None
        return default_network(searched, task) or only or find_network(None, searched, task)
    return find_network(name, searched)


def default_model(task: str) -> str:
    """What is chosen as the model where nothing else is: the setting is about restoring."""
    return str(setting("model")) if task == "restore" else AUTO


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


class Engine:
    """The loaded network, detector and parser, kept between pictures where the settings say so."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def run(
        self,
        image: NDArray[np.uint8],
        weights: Path,
        options: Options,
        task: str = "restore",
        *,
        damage: NDArray[np.float32] | None = None,
        aligned: bool = False,
    ) -> Restoration:
        """Do a task to the faces of a picture (H, W, 3), RGB. GpenError for everything that a user can cause.

        damage: (H, W), for inpainting. aligned: all of the picture is the face. Interrupt and Skip stop it between
        faces: the result is the picture so far.
        """
        device = _device()
        aligned = task != "restore" and (aligned or task == "segmentation")
        try:
            with _progress() as on_progress:
                model = self._model(weights, device, options.precision).for_task(task)
                detector = parser = guard = None
                if not aligned:
                    detector = self._keep("detector", (options.detector, str(device)), self._make_detector)
                    if options.mask == "parsed" and "mask" in OPTIONS_OF[task]:
                        parser = self._keep("parser", str(device), self._make_parser)
                if options.identity_guard and task == "restore":
                    asked = (options.identity_guard, options.identity_action, str(device))
                    guard = self._keep("guard", asked, lambda key: make_guard(options, folders(), key[-1]))
                return run(
                    task,
                    image.astype(np.float32) / 255,
                    model,
                    detector,
                    options,
                    damage=damage,
                    on_progress=on_progress,
                    parser=parser,
                    guard=guard,
                    keep_crops=False,
                )
        finally:
            self._put_away()
            devices.torch_gc()

    def _model(self, path: Path, device: torch.device, precision: str) -> Model:
        dtype = pick_dtype("fp32" if getattr(shared.cmd_opts, "no_half", False) else precision, device)
        _make_room(path, device, dtype)
        stat = path.stat()
        key = (path, stat.st_mtime_ns, stat.st_size, str(device), dtype)
        model: Model = self._keep("model", key, lambda key: load_model(path, device, dtype))
        with torch.inference_mode(False):
            model.network.to(device)
        return model

    def _make_detector(self, key: tuple[str, str]) -> FaceDetector:
        return make_detector(key[0], folders(), key[1])

    def _make_parser(self, device: str) -> FaceParser:
        return make_parser(folders(), device)

    def _keep(self, what: str, key: Any, make: Callable[[Any], Any]) -> Any:
        if what not in self._kept or self._kept[what][0] != key:
            self._kept.pop(what, None)  # before the new one takes memory
            # Forge generates in inference mode, in which the weights would become tensors of that mode.
            with torch.inference_mode(False):
                made = make(key)
            if made is None:
                # What it needs may be there for the next picture; until then the reason is said each time.
                return None
            self._kept[what] = (key, made)
        return self._kept[what][1]

    def _put_away(self) -> None:
        """What the settings want gone after a picture: out of memory, or off the device."""
        if not setting("keep_in_memory"):
            self._kept.clear()
        elif getattr(shared.opts, "face_restoration_unload", False):
            if "model" in self._kept:
                with torch.inference_mode(False):
                    self._kept["model"][1].network.to("cpu")
            # Small, and quickly loaded again.
            self._kept.pop("detector", None)
            self._kept.pop("parser", None)
            self._kept.pop("guard", None)


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


def facts_of(result: Restoration, weights: Path, options: Options, task: str = "restore") -> dict[str, Any]:
    """Of a picture that a task was done to, for its infotext."""
    heeded = OPTIONS_OF[task]
    strength = options.strength if "strength" in heeded else None
    upscale = options.upscale if "upscale" in heeded and options.upscale != 1 else None
    facts = (
        weights.name,
        strength,
        upscale,
        len(result.faces),
        task if task != "restore" else None,
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

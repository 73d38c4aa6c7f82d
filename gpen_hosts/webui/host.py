"""What the extension needs from SD-WebUI: its folders, device, memory, settings, progress and running job."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
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

from gpen.errors import FilesError, GpenError, named
from gpen.images.picture import FloatImage
from gpen.network.memory import memory_estimate
from gpen.options import OPTIONS, Option, Options
from gpen.restoration.api import face_source
from gpen.restoration.components import FURTHER_NETWORK, ComponentCache, ComponentLoader, HostHooks
from gpen.restoration.first_use import missing_models
from gpen.restoration.needs import Needs
from gpen.restoration.pipeline import Keep, OnProgress, PhotoWork, run_task
from gpen.restoration.processors import PhotoInputs
from gpen.restoration.result import Restoration, RestoredFace
from gpen.tasks import RESTORE, Task
from gpen.weights.catalog import Published
from gpen.weights.checkpoint import Model, inspect
from gpen.weights.downloads import downloads_problem
from gpen.weights.search import (
    AUTO,
    NetworkFiles,
    default_network,
    find_networks,
    list_networks,
    may_be_network,
    search_folders,
)
from gpen.wording import count, first_line

_log = logging.getLogger(__name__)

NAME = "GPEN"
SCRIPT = "gpen_webui.py"
"""The file in scripts/, after which the host names what it saves."""

# The host, and guides to it, keep the files of these restorers in the same folders.
_OTHERS = ("gfpgan", "codeformer", "restoreformer")
_FOLDERS = ("GPEN", "GFPGAN", "facerestore_models", "facedetection", "facexlib")

# AUTOMATIC1111's and SD.Next's, Forge's and reForge's, and Forge Neo's.
_FLOAT32_FLAGS = ("no_half", "all_in_fp32", "force_fp32")


def restorer_lists() -> list[list[Any]]:
    """The host's lists of face restorers to choose from; none in SD.Next since July 2026."""
    # The second is that of SD.Next in the months before.
    lists = (getattr(shared, name, None) for name in ("face_restorers", "detailers"))
    return [restorers for restorers in lists if restorers is not None]


def folders() -> list[Path]:
    """Folders to search for model files, first choice first; guides send people to other programs' folders too."""
    models = Path(paths.models_path)
    given = (getattr(shared.cmd_opts, name, None) for name in ("gpen_models_path", "gfpgan_models_path"))
    ours, gfpgan = (Path(folder) if folder else None for folder in given)
    found = [ours, models / _FOLDERS[0], gfpgan, *(models / name for name in _FOLDERS[1:])]
    return [folder for folder in found if folder is not None]


def make_folder() -> None:
    """Create the folder that messages say to put model files into, as the host does for its own restorers."""
    with contextlib.suppress(OSError):
        folders()[0].mkdir(parents=True, exist_ok=True)


def networks(task: Task = RESTORE) -> list[str]:
    """The choices for the model of a task: "auto", then the names of the installed model files."""
    return [AUTO, *dict.fromkeys(path.name for path in _network_files(task))]


def _network_files(task: Task) -> list[Path]:
    files = list_networks(search_folders(folders()))
    ours = [path for path in files if not path.name.casefold().startswith(_OTHERS)]
    return [path for path in ours if may_be_network(path.name, task.name)]


def network_files(name: str | None, task: Task = RESTORE) -> NetworkFiles:
    """The model file of that name; for "auto", those of which each face gets the one of its size, or the default.

    FilesError says what to download if it is missing.
    """
    searched = search_folders(folders())
    if name in (None, "", AUTO):
        # Any network is better than none, if it is the only one that a user has.
        files = _network_files(task)
        if len(files) == 1 and default_network(searched, task.name) is None:
            return NetworkFiles(files[0], ())
        name = AUTO
    return find_networks(name, searched, task.name)


def missing() -> list[Published]:
    """The published models that restoring still needs."""
    return missing_models(RESTORE, has_network=len(networks()) > 1, folders=folders())


def default_model(task: Task) -> str:
    """The model that is preselected for a task: the setting, which is about restoring, or "auto"."""
    return str(setting("model")) if task is RESTORE else AUTO


def setting(name: str) -> Any:
    """A value from the settings page, or its default: with --nowebui the page is never built."""
    value = getattr(shared.opts, f"gpen_{name}", None)
    return DEFAULTS[name] if value is None else value


IN_SETTINGS = ("detector", "precision", "mask", "strength", "upscale", "identity_guard", "identity_action")
"""The options that have a setting."""

DEFAULTS: dict[str, Any] = {
    "model": AUTO,
    "keep_in_memory": True,
    **{name: OPTIONS[name].default for name in IN_SETTINGS},
}
"""The settings, without the prefix that they have in the host."""


def options_from(values: dict[str, Any]) -> Options:
    """Options by name; where one is None or missing, the setting or the default. OptionError for a bad value."""
    settings = {name: setting(name) for name in IN_SETTINGS}
    given = {name: value for name, value in values.items() if name in OPTIONS and value is not None}
    return Options(**(settings | given))


def saved_default(option: Option) -> Any:
    """The default of a control in Extras; of a choice, what the user saved as default while it was a checkbox.

    The host itself drops saved defaults that are not among the choices.
    """
    if not option.switch:
        return option.default
    try:
        saved = json.loads(Path(shared.cmd_opts.ui_config_file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return option.default
    value = saved.get(f"customscript/{SCRIPT}/extras/{option.label}/value")
    return option.check(value) if isinstance(value, bool) else option.default


def to_float(samples: NDArray[np.uint8]) -> FloatImage:
    """The host's 0 to 255 as float32, [0, 1]."""
    return np.asarray(samples.astype(np.float32) / 255, np.float32)


def to_samples(photo: FloatImage) -> NDArray[np.uint8]:
    """A photo or its alpha, [0, 1], as the host's 0 to 255."""
    return np.rint(photo * 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureRequest:
    """What to do to a picture."""

    task: Task = RESTORE
    """The task."""
    networks: NetworkFiles
    """The model file, or several."""
    options: Options
    """Its options; those that the task does not support have no effect."""
    damage: FloatImage | None = None
    """(H, W), above 0.5 where the picture is damaged; for inpainting."""
    protect: FloatImage | None = None
    """(H, W), above 0.5 where the picture stays as it is; ignored for tasks that make a new one."""
    people: tuple[Path, ...] = ()
    """Photos of the people whose faces are worked on; none for everybody's."""
    aligned: bool = False
    """Whether the whole picture is one aligned face; ignored for tasks that do not accept that."""


class Engine:
    """Runs tasks, and keeps the loaded components between pictures where the settings say so."""

    def __init__(self) -> None:
        self.cache = ComponentCache()

    def run(self, image: NDArray[np.uint8], request: PictureRequest) -> Restoration:
        """Do a task to the faces of a picture (H, W, 3), RGB. GpenError for everything that a user can cause.

        Interrupt and Skip stop it between faces: the result is the picture so far.
        """
        task, options, device = request.task, request.options, _device()
        # The panel shows the checkbox, and the API has the field, for every task.
        aligned = task.is_aligned(request.aligned and task.accepts_aligned)
        if any(getattr(shared.cmd_opts, flag, False) for flag in _FLOAT32_FLAGS):
            options = dataclasses.replace(options, precision="fp32")
        hooks = HostHooks(before_model=lambda path, dtype: make_room(path, device, dtype))
        loader = ComponentLoader(folders(), device, cache=self.cache, hooks=hooks)
        try:
            with _progress() as on_progress:
                needs = Needs.of(task, options, aligned=aligned, people=request.people)
                networks = request.networks
                with named(*request.people):
                    components = loader.load(task, networks.first, options, needs, networks.others)
                with torch.inference_mode(False):
                    components.model.network.to(device)
                work = PhotoWork(
                    photo=to_float(image),
                    source=face_source(task, options, components.detector, aligned=aligned, people=components.people),
                    inputs=PhotoInputs(damage=request.damage, protect=request.protect if task.keeps_photo else None),
                    keep=Keep(crops=False),
                    on_progress=on_progress,
                )
                return run_task(task, work, components, options)
        finally:
            self._free_memory()
            devices.torch_gc()

    def _free_memory(self) -> None:
        """Unload what the settings do not want kept after a picture, or move it off the device."""
        if not setting("keep_in_memory"):
            self.cache.drop()
        elif getattr(shared.opts, "face_restoration_unload", False):
            model = self.cache.peek("model")
            if isinstance(model, Model):
                with torch.inference_mode(False):
                    model.network.to("cpu")
            # Small, and quickly loaded again; or seldom needed.
            further = [kind for kind in self.cache.kinds() if kind.startswith(FURTHER_NETWORK)]
            self.cache.drop("detector", "parser", "recognizer", "occluder", *further)


def _device() -> torch.device:
    # Forge accepts the flag and ignores it.
    on_cpu = {"gpen", "all"}.intersection(getattr(shared.cmd_opts, "use_cpu", None) or ())
    if on_cpu:
        return torch.device("cpu")
    # SD.Next has one device for all.
    choose = getattr(devices, "get_device_for", None)
    return torch.device(devices.device if choose is None else choose("gpen"))


def make_room(path: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Have the host's memory manager unload other models where the network in this file needs their memory."""
    manager = _memory_manager()
    if manager is not None and device.type != "cpu":
        info = inspect(path)
        weights = info.parameters * torch.empty((), dtype=dtype).element_size()
        manager.free_memory(weights + memory_estimate(info.spec, dtype), device)


def _memory_manager() -> Any:
    """That of Forge or of reForge; None in other hosts."""
    for name in ("backend.memory_management", "ldm_patched.modules.model_management"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


@contextlib.contextmanager
def _progress() -> Iterator[OnProgress]:
    """Count the faces in the host's progress bar, and restore the bar afterwards."""
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
    """The running generation, which the host does not pass to its face restorers.

    Other extensions run one within another, between its pictures.
    """

    def __init__(self) -> None:
        self._running: list[Callable[[], Any]] = []

    def begin(self, processing: Any) -> None:
        """Remember a generation until :meth:`end`."""
        self.end(processing)
        # Of one that has failed, the host does not say that it has ended.
        there = [running for running in self._running if running() is not None]
        self._running = [*there, weakref.ref(processing)]

    def end(self, processing: Any) -> None:
        """Forget it, and those that were begun within it and have failed."""
        same = [place for place, running in enumerate(self._running) if running() is processing]
        del self._running[same[0] if same else len(self._running) :]

    def note(self, facts: dict[str, Any]) -> None:
        """Write facts about a picture into its infotext, in place of those about the one before."""
        processing = self._running[-1]() if self._running else None
        if processing is not None:
            parameters = processing.extra_generation_params
            for name in (ERROR, *RESULT):
                parameters.pop(name, None)
            parameters.update({name: value for name, value in facts.items() if value is not None})


ERROR = "GPEN error"
DOWNLOADS = "gpen_downloads"
"""The setting that is a button, where the host has a place for it."""
RESULT = ("GPEN model", "GPEN mask", "GPEN strength", "GPEN upscale", "GPEN faces", "GPEN task", "GPEN note")
"""Infotext keys of a picture that a task was done to. A value of None is left out."""


def facts_of(result: Restoration, request: PictureRequest) -> dict[str, Any]:
    """The infotext of a picture that a task was done to."""
    task, options = request.task, request.options
    facts = (
        # What makes the same picture again where it is pasted as a setting.
        AUTO if request.networks.others else request.networks.first.name,
        result.mask_shape or None,
        options.strength if "strength" in task.options else None,
        options.upscale if task.accepts_background and options.upscale != 1 else None,
        len(result.faces),
        task.name if task is not RESTORE else None,
        result.note or None,
    )
    return dict(zip(RESULT, facts, strict=True))


def _download_here() -> str:
    has_setting = DOWNLOADS in shared.opts.data_labels
    place = "in Settings, GPEN, and in Extras, GPEN" if has_setting else "in the panel GPEN, in Extras or Process"
    return f"The button that downloads what is missing is {place}."


def failure(error: Exception) -> dict[str, Any]:
    """The infotext of a picture that is returned unchanged because of an error, which is logged."""
    if isinstance(error, GpenError):
        is_offered = isinstance(error, FilesError) and missing() and not downloads_problem()
        where = f" {_download_here()}" if is_offered else ""
        _log.error("GPEN left the picture unchanged: %s%s", str(error), where)
        return {ERROR: first_line(error) + where}
    _log.error("GPEN left the picture unchanged.", exc_info=error)
    return {ERROR: f"{type(error).__name__}: {first_line(error)}"}


engine = Engine()
job = Job()

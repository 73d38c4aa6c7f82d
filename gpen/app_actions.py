"""What happens when the page's controls are used: from what they hold to what they show."""

from __future__ import annotations

import functools
import html
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from .app_batch import Batch, run_batch
from .app_engine import Engine
from .app_work import Opened, Shelf, before_and_after, blend, find, open_photograph, work, write_result
from .errors import GpenError
from .files.catalog import PUBLISHED, Published, find_published
from .files.fetch import fetch
from .files.folders import download_folder, find_file, search_folders
from .images import READABLE_SUFFIXES
from .options import FRAMES_ONLY, OPTIONS, OPTIONS_OF, PRESETS, Options, preset_values
from .restoration import RestoredFace
from .wording import count

TASKS = {
    "restore": "Restore",
    "colorize": "Colorize",
    "inpaint": "Fill in damage",
    "segmentation": "Face from a map",
}
SHOWN = ("strength", "upscale", "mask", "select")
"""The options that are not folded away."""

NOT_SHOWN = ("only_faces", "max_megapixels", *FRAMES_ONLY)
"""Clicks take the place of the first; the second is a limit of whoever runs the page; and there are no frames here."""

CONTROLS = (*SHOWN, *(name for name in OPTIONS if name not in (*SHOWN, *NOT_SHOWN)))
"""The options that have a control, in the order of the page."""

UNPACKED = 4
"""How many times more bytes than one file may be uploaded with all photographs of a batch may have."""

_KEPT_BATCHES = 4


@dataclass(frozen=True)
class Limits:
    """What is refused: files with more bytes, pictures with more megapixels."""

    upload_bytes: int
    megapixels: float


class Actions:
    """What happens on the page of an engine. folder: for files that are made, removed by whoever made it."""

    def __init__(self, engine: Engine, limits: Limits, folder: Path) -> None:
        self.engine = engine
        self.limits = limits
        self.shelf = Shelf()
        self._folder = folder
        self._batches: deque[Path] = deque()
        self._stops: dict[str, threading.Event] = {}
        self._closing = threading.Event()

    def options(self, task: str, given: dict[str, Any]) -> Options:
        """Of the options that were given those that the task heeds; OptionError for a bad value."""
        heeded = {name: value for name, value in given.items() if name in OPTIONS_OF[task]}
        return Options(**{**heeded, "max_megapixels": self.limits.megapixels})

    # Weights.

    def networks(self, task: str = "restore") -> list[str]:
        """Names of the weight files for a task."""
        if task not in TASKS:
            raise gr.Error(f"The task is {task!r}; there are {', '.join(TASKS)}.", print_exception=False)
        return self.engine.places.networks(task)

    def list_weights(self, task: str, weights: str | None) -> Any:
        """The weights to choose from, the chosen one if it is still there, and what has to be got."""
        places = self.engine.places
        there, missing = places.networks(task), places.missing(task)
        absent = [published for published in PUBLISHED if self._place_of(published) is None]
        names = [published.name for published in absent if published.task in (None, task)]
        wanted = missing[0].name if missing else (names[0] if names else None)
        return (
            gr.update(choices=there, value=weights if weights in there else next(iter(there), None)),
            gr.update(open=bool(missing), visible=bool(names)),
            _needed(missing),
            gr.update(choices=names, value=wanted),
            False,
        )

    def _place_of(self, published: Published) -> Path | None:
        return find_file(published, search_folders(self.engine.places.folders, kind=published.kind))

    def fetch_weights(
        self,
        task: str,
        weights: str | None,
        name: str | None,
        accepted: bool,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Any:
        """Download a published file, once its licence is accepted."""
        if name is None:
            raise GpenError("Choose first what to download.")
        published = find_published(name)
        if not accepted:
            raise GpenError(f"Nothing was downloaded: the terms of {published.name} have to be accepted first.")

        def show(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            progress(done / total if total else None, desc=f"{published.saved_as}, {done / 1e6:.1f}{of} MB")

        fetch(
            published,
            download_folder(search_folders(self.engine.places.folders, kind=published.kind)),
            on_progress=show,
        )
        gr.Info(f"{published.name} is there now.")
        return self.list_weights(task, weights)

    def preset(self, name: str) -> Any:
        """The weights and the values of a preset."""
        preset = PRESETS[name]
        published = find_published(preset.model)
        there = self._place_of(published)
        if there is None:
            raise GpenError(
                f"{preset.label} needs {published.name}, which is not on this computer. Download it under "
                '"Get weights".'
            )
        return [there.name, *preset_values(name, {}).values()]

    # One photograph.

    def _options(self, task: str, values: Sequence[Any]) -> Options:
        return self.options(task, dict(zip(CONTROLS, values, strict=True)))

    def open(self, photo: str, key: str | None, aligned: bool, task: str, *values: Any) -> Any:
        """Read a photograph in the place of the one before, and find its faces."""
        options = self._options(task, values)
        opened = self.engine.call(open_photograph, Path(photo), self._folder, self.limits.megapixels)
        self.shelf.drop(key)
        key = self.shelf.put(opened)
        try:
            seen = self._seen(opened, aligned, task, options)
        except GpenError as error:
            # The photograph can be read: what is missing, such as a detector, may be there the next time.
            gr.Warning(_text(error))
            seen = (opened.shown, gr.update(choices=[], value=[], visible=False), "")
        return (key, *seen, None, _no_result())

    def forget(self, key: str | None) -> Any:
        """Forget a photograph."""
        self.shelf.drop(key)
        return None, None, gr.update(choices=[], value=[], visible=False), "", None, _no_result()

    def find_faces(self, key: str | None, aligned: bool, task: str, *values: Any) -> Any:
        """Find the faces anew where other options ask for it, and choose those that the options choose."""
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self._seen(self.shelf.get(key), aligned, task, self._options(task, values))

    def look_again(self, key: str | None, aligned: bool, task: str, *values: Any) -> Any:
        """Find the faces of a photograph that was dropped before there was a detector."""
        if any(published.kind == "detector" for published in self.engine.places.missing(task)):
            return gr.skip(), gr.skip(), gr.skip()
        return self.find_faces(key, aligned, task, *values)

    def _seen(self, opened: Opened, aligned: bool, task: str, options: Options) -> Any:
        """The faces of a photograph, drawn and listed, and a sentence about them."""
        if task == "segmentation" or (aligned and task != "restore"):
            return opened.shown, gr.update(choices=[], value=[], visible=False), "All of the picture is one face."
        chosen = self.engine.call(find, self.engine, opened, options)
        self.shelf.make_room()
        numbers = range(len(opened.faces))
        listed = gr.update(choices=[(str(n), n) for n in numbers], value=chosen, visible=bool(numbers))
        text = f"{count(len(numbers), 'face')} found, {len(chosen)} chosen."
        if not numbers:
            text = "No face was found. Lower the detection threshold under More options."
        return opened.drawn(chosen), listed, text

    def click(self, key: str | None, chosen: list[int], event: gr.SelectData) -> Any:
        """Choose the face whose box was clicked, or leave it out."""
        opened = self.shelf.get(key)
        number = opened.face_at(*event.index)
        if number is None:
            return gr.skip(), gr.skip()
        changed = sorted(set(chosen) ^ {number})
        return opened.drawn(changed), changed

    def draw(self, key: str | None, chosen: list[int]) -> Any:
        """The photograph with its faces."""
        return self.shelf.get(key).drawn(chosen)

    def restore_photograph(
        self,
        key: str | None,
        weights: str | None,
        chosen: list[int],
        damage: str | None,
        aligned: bool,
        task: str,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Any:
        """Do the task to the chosen faces of a photograph."""
        opened, options, stop = self.shelf.get(key), self._options(task, values), self._stop_of(request)

        def show(done: int, total: int, face: RestoredFace | None) -> bool:
            progress((done, total), desc=f"{done} of {count(total, 'face')}", unit="faces")
            return not stop.is_set()

        progress(0, desc="loading the network")
        mask = Path(damage) if damage else None
        return self.engine.call(self._worked, opened, task, weights or "", options, chosen, mask, aligned, show)

    def _worked(self, opened: Opened, task: str, weights: str, options: Options, *how: Any) -> Any:
        chosen, mask, aligned, show = how
        restoration = work(
            self.engine, opened, task, weights, options, chosen, damage=mask, aligned=aligned, on_progress=show
        )
        self.shelf.make_room()
        return self._made(opened, restoration.summary)

    def change_strength(self, key: str | None, strength: float) -> Any:
        """Make the last result again at another strength, without the network."""
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self.engine.call(self._blended, self.shelf.get(key), OPTIONS["strength"].check(strength))

    def _blended(self, opened: Opened, strength: float) -> Any:
        restoration = blend(opened, strength)
        if restoration is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self._made(opened, restoration.summary)

    def _made(self, opened: Opened, text: str) -> Any:
        """The slider, the download and a sentence, for the last restoration."""
        result = write_result(opened)
        shown = before_and_after(opened)
        return shown, gr.update(value=result, interactive=True), text

    def restore_file(self, task: str, photo: str | None, weights: str, given: dict[str, Any], **more: Any) -> Any:
        """Do a task to an uploaded photograph: the file of the result, and a sentence. more: as for ``work``."""
        if photo is None:
            raise GpenError("There is no photograph: give one.")
        options = self.options(task, given)

        def run() -> Any:
            opened = open_photograph(Path(photo), self._folder, self.limits.megapixels)
            self.shelf.put(opened)
            restoration = work(
                self.engine,
                opened,
                task,
                weights,
                options,
                None,
                on_progress=lambda done, total, face: not self._closing.is_set(),
                **more,
            )
            self.shelf.make_room()
            return str(write_result(opened)), restoration.summary

        return self.engine.call(run)

    # Many photographs.

    def restore_photographs(
        self,
        files: list[str] | None,
        weights: str | None,
        masks: list[str] | None,
        aligned: bool,
        task: str,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Any:
        """Do the task to many photographs."""
        options, stop = self._options(task, values), self._stop_of(request)

        def show(done: float, text: str) -> bool:
            progress(done, desc=text)
            return not stop.is_set()

        batch = self.batch(files, task, weights or "", options, masks, aligned, show)
        return str(batch.path), batch.summary

    def batch(
        self,
        files: Sequence[str] | None,
        task: str,
        weights: str,
        options: Options,
        masks: Sequence[str] | None,
        aligned: bool,
        show: Callable[[float, str], bool] = lambda done, text: True,
    ) -> Batch:
        """Do a task to uploaded photographs; see :func:`gpen.app_batch.run_batch`."""
        if not files:
            raise GpenError("There are no photographs yet: drop some, or a zip of them, first.")
        if task == "inpaint" and not masks:
            raise GpenError("To inpaint, masks are needed that are white where the photographs are damaged.")
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        self._batches.append(folder)
        if len(self._batches) > _KEPT_BATCHES:
            shutil.rmtree(self._batches.popleft(), ignore_errors=True)

        def run() -> Batch:
            return run_batch(
                self.engine,
                [Path(file) for file in files],
                folder,
                task,
                weights,
                options,
                most_bytes=UNPACKED * self.limits.upload_bytes,
                damage=[Path(mask) for mask in masks or () if task == "inpaint"],
                aligned=aligned,
                on_progress=lambda done, text: show(done, text) and not self._closing.is_set(),
            )

        return self.engine.call(run)

    # Stopping.

    def begin(self, request: gr.Request) -> None:
        """Forget that Stop was pressed before."""
        self._stop_of(request).clear()

    def stop(self, request: gr.Request) -> None:
        """Let what runs for this visitor end after the face that it is at."""
        self._stop_of(request).set()

    def leave(self, request: gr.Request) -> None:
        """Somebody closed the page: what runs for nobody would only let others wait."""
        stop = self._stops.pop(str(request.session_hash), None)
        if stop is not None:
            stop.set()

    def close(self) -> None:
        """Let everything that runs end soon."""
        self._closing.set()
        for stop in list(self._stops.values()):
            stop.set()
        self.engine.close()

    def _stop_of(self, request: gr.Request) -> threading.Event:
        return self._stops.setdefault(str(request.session_hash), threading.Event())


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose GpenErrors the page shows; what it showed before stays."""

    @functools.wraps(function)
    def shown(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except GpenError as error:
            text = _text(error)
        except MemoryError:
            text = "There is not enough memory for this. Close other programs, or take a smaller photograph or network."
        raise gr.Error(text, duration=None, title="Not done", print_exception=False)

    return shown


def _text(error: GpenError) -> str:
    """What an error says, as the page shows it: names of files may look like HTML."""
    return html.escape(str(error)).replace("\n", "<br>")


def _no_result() -> Any:
    return gr.update(value=None, interactive=False)


def licence(name: str | None) -> tuple[str, bool]:
    """The licence of a published file, which is not accepted yet."""
    return (f"**Licence.** {find_published(name).licence}" if name is not None else ""), False


def _needed(missing: Sequence[Published]) -> str:
    """What has to be got before anything can be done."""
    if not missing:
        return "Published files that are not on this computer yet:"
    what = " and ".join(f"**{published.name}** ({published.kind})" for published in missing)
    return f"To begin, get {what}, here or by hand into one of the folders that `gpen models` lists."


def joined(files: list[str] | None, more: list[str] | None) -> list[str]:
    """Files, and the pictures among more of them."""
    pictures = [file for file in more or () if Path(file).suffix.lower() in READABLE_SUFFIXES]
    return [*(files or ()), *pictures]

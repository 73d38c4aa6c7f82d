"""Event handlers of the page: they take the values of its controls and return updates for them."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import GpenError
from ..options import FRAME_OPTIONS, OPTIONS, PRESETS, Options, preset_values
from ..restoration.result import RestoredFace
from ..tasks import Task, find_task
from ..weights.catalog import PUBLISHED, find_published
from ..weights.download import fetch
from ..weights.downloads import downloads_problem
from ..weights.search import download_folder, search_folders
from ..wording import count
from .batch import BatchOutput, BatchRequest, run_batch
from .engine import Engine
from .session import (
    PhotoSession,
    SessionCache,
    WorkRequest,
    before_and_after,
    blend,
    find,
    open_photo,
    work,
    write_result,
)
from .texts import error_text, missing_text

SHOWN = ("strength", "upscale", "mask", "select")
"""Options that are always visible."""

NOT_SHOWN = ("only_faces", "max_megapixels", *FRAME_OPTIONS)
"""Options without a control: clicks choose faces, whoever runs the page sets the limit, and there is no video."""

CONTROLS = (*SHOWN, *(name for name in OPTIONS if name not in (*SHOWN, *NOT_SHOWN)))
"""Options with a control, in the page's order."""

UNPACKED = 4
"""The most bytes of an unpacked batch, as a multiple of the most bytes of one upload."""

_KEPT_BATCHES = 4


@dataclass(frozen=True)
class Limits:
    """The largest uploads that are accepted."""

    upload_bytes: int
    """Bytes of one file."""
    megapixels: float
    """Megapixels of one picture, and of one result."""


class Actions:
    """The event handlers.

    folder: for results; the caller removes it when the page is closed. provenance: note in results what was done.
    """

    def __init__(self, engine: Engine, limits: Limits, folder: Path, *, provenance: bool = True) -> None:
        self._provenance = provenance
        self.engine = engine
        """Computes everything."""
        self.limits = limits
        """What is refused."""
        self.sessions = SessionCache()
        """The open photos."""
        self._folder = folder
        self._batches: deque[Path] = deque()
        self._stops: dict[str, threading.Event] = {}
        self._closing = threading.Event()

    def options(self, task: Task, given: dict[str, Any]) -> Options:
        """The given options that the task supports, within the page's limits; OptionError for a bad value."""
        supported = {name: value for name, value in given.items() if name in task.options}
        return Options(**{**supported, "max_megapixels": self.limits.megapixels})

    # Models.

    def networks(self, task: str = "restore") -> list[str]:
        """Names of the model files for a task, the default one first."""
        try:
            return self.engine.locator.networks(find_task(task))
        except GpenError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def list_models(self, task: str, chosen: str | None) -> Any:
        """Update the list of models and "Get models", which opens if the task still needs one."""
        row, locator = find_task(task), self.engine.locator
        available, missing = locator.networks(row), locator.missing(row)
        absent = [published for published in PUBLISHED if locator.path_of(published) is None]
        names = [published.name for published in absent if published.task in (None, row.name)]
        suggested = missing[0].name if missing else next(iter(names), None)
        return (
            gr.update(choices=available, value=chosen if chosen in available else next(iter(available), None)),
            gr.update(open=bool(missing), visible=bool(names)),
            missing_text(missing),
            gr.update(choices=names, value=suggested),
            False,
        )

    def download_model(
        self,
        task: str,
        chosen: str | None,
        name: str | None,
        accepted: bool,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Any:
        """Download a published model, once its licence is accepted."""
        problem = downloads_problem()
        if problem:
            raise GpenError(problem)
        if name is None:
            raise GpenError("No model is selected. Choose one to download first.")
        published = find_published(name)
        if not accepted:
            raise GpenError(f"Nothing was downloaded. Accept the terms of {published.name} first.")

        def show(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            progress(done / total if total else None, desc=f"{published.saved_as}, {done / 1e6:.1f}{of} MB")

        fetch(
            published,
            download_folder(search_folders(self.engine.locator.folders, kind=published.kind)),
            on_progress=show,
        )
        gr.Info(f"{published.name} was downloaded.")
        return self.list_models(task, chosen)

    def preset(self, name: str) -> Any:
        """The model and the option values of a preset."""
        preset = PRESETS[name]
        published = find_published(preset.model)
        path = self.engine.locator.path_of(published)
        if path is None:
            raise GpenError(
                f'{preset.label} needs {published.name}, which is not on this computer. Download it under "Get models".'
            )
        return [path.name, *preset_values(name, {}).values()]

    # One photo.

    def _options(self, task: str, values: Sequence[Any]) -> Options:
        return self.options(find_task(task), dict(zip(CONTROLS, values, strict=True)))

    def open(
        self, photo: str, key: str | None, people: list[str] | None, aligned: bool, task: str, *values: Any
    ) -> Any:
        """Open a photo instead of the one before, and find its faces."""
        options = self._options(task, values)
        session = self.engine.call(open_photo, Path(photo), self._folder, self.limits.megapixels)
        self.sessions.drop(key)
        key = self.sessions.put(session)
        try:
            seen = self._seen(session, people, aligned, task, options)
        except GpenError as error:
            # The photo itself is fine: what is missing, such as a detector, may be downloaded later.
            gr.Warning(error_text(error))
            seen = (session.shown, _no_faces(), "")
        return (key, *seen, *_no_result())

    def forget(self, key: str | None) -> Any:
        """Close a photo."""
        self.sessions.drop(key)
        return (None, None, _no_faces(), "", *_no_result())

    def find_faces(self, key: str | None, people: list[str] | None, aligned: bool, task: str, *values: Any) -> Any:
        """Find the faces with the current options, and tick those that the options choose.

        people: photos of those whose faces are ticked; none for everybody's.
        """
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self._seen(self.sessions.get(key), people, aligned, task, self._options(task, values))

    def look_again(self, key: str | None, people: list[str] | None, aligned: bool, task: str, *values: Any) -> Any:
        """Find the faces of a photo that was dropped before a detector was downloaded."""
        if any(published.kind == "detector" for published in self.engine.locator.missing(find_task(task))):
            return gr.skip(), gr.skip(), gr.skip()
        return self.find_faces(key, people, aligned, task, *values)

    def _seen(
        self, session: PhotoSession, people: Sequence[str] | None, aligned: bool, task: str, options: Options
    ) -> Any:
        """The photo with its faces drawn, their list, and a sentence about them."""
        row = find_task(task)
        if row.is_aligned(aligned and row.accepts_aligned):
            return session.shown, _no_faces(), "The whole picture is one face."
        chosen = self.engine.call(find, self.engine, session, options, [Path(person) for person in people or ()])
        self.sessions.evict()
        numbers = range(len(session.faces))
        listed = gr.update(choices=[(str(n), n) for n in numbers], value=chosen, visible=bool(numbers))
        text = f"{count(len(numbers), 'face')} found, {len(chosen)} chosen."
        if not numbers:
            text = "No face was found. Lower the detection threshold under More options."
        return session.drawn(chosen), listed, text

    def click(self, key: str | None, chosen: list[int], event: gr.SelectData) -> Any:
        """Tick or untick the face whose box was clicked."""
        session = self.sessions.get(key)
        number = session.face_at(*event.index)
        if number is None:
            return gr.skip(), gr.skip()
        changed = sorted(set(chosen) ^ {number})
        return session.drawn(changed), changed

    def draw(self, key: str | None, chosen: list[int]) -> Any:
        """The photo with its faces drawn."""
        return self.sessions.get(key).drawn(chosen)

    def restore_photo(
        self,
        key: str | None,
        model: str | None,
        chosen: list[int],
        damage: str | None,
        protect: str | None,
        aligned: bool,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Any:
        """Do a task to the ticked faces of the open photo. values: the task, and those of the controls."""
        task, *controls = values
        session, stop = self.sessions.get(key), self._stop_of(request)
        asked = WorkRequest(
            task=find_task(task),
            options=self._options(task, controls),
            model=model or "",
            chosen=chosen,
            damage=Path(damage) if damage else None,
            protect=Path(protect) if protect else None,
            # The checkbox keeps its value while it is hidden.
            aligned=aligned and find_task(task).accepts_aligned,
        )

        def show(done: int, total: int, face: RestoredFace | None) -> bool:
            progress((done, total), desc=f"{done} of {count(total, 'face')}", unit="faces")
            return not stop.is_set()

        def run() -> Any:
            work(self.engine, session, asked, show)
            self.sessions.evict()
            return self._made(session)

        progress(0, desc="loading the model")
        return self.engine.call(run)

    def change_strength(self, key: str | None, strength: float) -> Any:
        """Blend the last result again at another strength, without running the network."""
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self.engine.call(self._blended, self.sessions.get(key), OPTIONS["strength"].check(strength))

    def _blended(self, session: PhotoSession, strength: float) -> Any:
        if blend(session, strength) is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self._made(session)

    def _made(self, session: PhotoSession) -> Any:
        """The slider, the download and a sentence, for the last result."""
        result, text = write_result(session, note=self._provenance)
        return before_and_after(session), gr.update(value=result, interactive=True), text

    def restore_file(self, photo: str | None, asked: WorkRequest) -> Any:
        """Do a task to an uploaded photo, for the API; returns the file of the result and a sentence."""
        if photo is None:
            raise GpenError("There is no photo. Upload one first.")

        def run() -> Any:
            session = open_photo(Path(photo), self._folder, self.limits.megapixels)
            self.sessions.put(session)
            work(self.engine, session, asked, lambda *_: not self._closing.is_set())
            self.sessions.evict()
            file, text = write_result(session, note=self._provenance)
            return str(file), text

        return self.engine.call(run)

    # Many photos.

    def restore_photos(
        self,
        files: list[str] | None,
        model: str | None,
        masks: list[str] | None,
        protect: list[str] | None,
        people: list[str] | None,
        aligned: bool,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Any:
        """Do a task to the photos of a batch. values: the task, and those of the controls."""
        task, *controls = values
        stop = self._stop_of(request)

        def show(done: float, text: str) -> bool:
            progress(done, desc=text)
            return not stop.is_set()

        options = self._options(task, controls)
        asked = self.batch_request(task, files, model or "", options, masks, protect, people, aligned)
        output = self.batch(asked, show)
        return str(output.path), output.summary

    def batch_request(
        self,
        task: str,
        files: Sequence[str] | None,
        model: str,
        options: Options,
        masks: Sequence[str] | None,
        protect: Sequence[str] | None,
        people: Sequence[str] | None,
        aligned: bool,
    ) -> BatchRequest:
        """A task for uploaded photos; GpenError if there are none, or masks are missing."""
        row = find_task(task)
        if not files:
            raise GpenError("There are no photos yet. Drop some, or a zip of them, first.")
        if row.needs_damage_mask and not masks:
            raise GpenError("There are no masks. Inpainting needs one for each photo, white where it is damaged.")
        return BatchRequest(
            task=row,
            options=options,
            photos=[Path(file) for file in files],
            most_bytes=UNPACKED * self.limits.upload_bytes,
            model=model,
            damage=[Path(mask) for mask in masks or () if row.needs_damage_mask],
            protect=[Path(mask) for mask in protect or () if row.keeps_photo],
            people=[Path(person) for person in people or ()],
            aligned=aligned and row.accepts_aligned,
            provenance=self._provenance,
        )

    def batch(self, asked: BatchRequest, show: Callable[[float, str], bool] = lambda done, text: True) -> BatchOutput:
        """Do a task to uploaded photos; see :func:`gpen.app.batch.run_batch`."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        self._batches.append(folder)
        if len(self._batches) > _KEPT_BATCHES:
            shutil.rmtree(self._batches.popleft(), ignore_errors=True)

        def on_progress(done: float, text: str) -> bool:
            return show(done, text) and not self._closing.is_set()

        return self.engine.call(run_batch, self.engine, asked, folder, on_progress)

    # Stopping.

    def begin(self, request: gr.Request) -> None:
        """Clear an earlier press of Stop."""
        self._stop_of(request).clear()

    def stop(self, request: gr.Request) -> None:
        """Stop this visitor's run after the current face."""
        self._stop_of(request).set()

    def leave(self, request: gr.Request) -> None:
        """Stop the run of a visitor who closed the page, so that others need not wait for it."""
        stop = self._stops.pop(str(request.session_hash), None)
        if stop is not None:
            stop.set()

    def close(self) -> None:
        """Stop every run and close the engine."""
        self._closing.set()
        for stop in list(self._stops.values()):
            stop.set()
        self.engine.close()

    def _stop_of(self, request: gr.Request) -> threading.Event:
        return self._stops.setdefault(str(request.session_hash), threading.Event())


def _no_faces() -> Any:
    return gr.update(choices=[], value=[], visible=False)


def _no_result() -> tuple[Any, Any]:
    """An empty slider, and a download that is off."""
    return None, gr.update(value=None, interactive=False)

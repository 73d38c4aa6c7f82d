"""Event handlers of the page: they take the values of its controls and return updates for them."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import GpenError, PhotoError
from ..options import FRAME_OPTIONS, OPTIONS, Options
from ..tasks import Task, find_task
from ..video.ffmpeg import pyav
from ..video.plan import is_film
from ..wording import command
from .batch import BatchOutput, BatchRequest, run_batch
from .batch_table import BatchTable
from .browser_pictures import address
from .engine import Engine
from .session import SessionCache, WorkRequest, open_photo, work, write_result

SHOWN = ("strength", "upscale")
"""Options that are always visible."""

NOT_SHOWN = ("only_faces", "max_megapixels", *FRAME_OPTIONS)
"""Options without a control: clicks choose faces, whoever runs the page sets the limit, and films are steady."""

MANY = "many"
"""The tab for many photos."""

CONTROLS = (*SHOWN, *(name for name in OPTIONS if name not in (*SHOWN, *NOT_SHOWN)))
"""Options with a control, in the page's order."""

UNPACKED = 4
"""The most bytes of an unpacked batch, as a multiple of the most bytes of one upload."""

FILM = 20
"""The most bytes of a film, as a multiple of the most bytes of another upload."""

_KEPT = 4
"""The folders of results that are kept, of the page's batches and of calls of the API, whose results Gradio copies."""

_SECONDS_BETWEEN_TABLES = 0.3
"""A table of many rows takes its time to be shown."""


@dataclass(frozen=True)
class Limits:
    """The largest uploads that are accepted."""

    upload_bytes: int
    """Bytes of one file that is not a film."""
    megapixels: float
    """Megapixels of one picture, and of one result."""

    @property
    def film_bytes(self) -> int:
        """Bytes of one film."""
        return FILM * self.upload_bytes

    def check(self, *files: Path) -> None:
        """PhotoError for a file that is too large. Gradio's limit is one for all uploads, models among them."""
        for file in files:
            if not file.exists():
                raise PhotoError(f"{file.name} was removed: newer uploads needed its room. Upload it again.")
            if is_film(file):
                if file.stat().st_size > self.film_bytes:
                    raise PhotoError(
                        f"{file.name} is larger than the {self.film_bytes / 1e6:,.0f} MB that are allowed for a film. "
                        f"Restore it without the page: {command(f'restore {file.name}')}."
                    )
            elif file.stat().st_size > self.upload_bytes:
                raise PhotoError(
                    f"{file.name} is larger than the {self.upload_bytes / 1e6:,.0f} MB that are allowed. Use a smaller "
                    "file."
                )


class Actions:
    """The event handlers.

    folder: for results; the caller removes it when the page is closed. provenance: note in results what was done.
    """

    def __init__(self, engine: Engine, limits: Limits, folder: Path, *, provenance: bool = True) -> None:
        self.provenance = provenance
        """Whether results note what was done."""
        self.engine = engine
        """Computes everything."""
        self.limits = limits
        """What is refused."""
        self.sessions = SessionCache()
        """The open photos."""
        self.folder = folder
        """For results."""
        self._batches: deque[Path] = deque()
        self._answers: deque[Path] = deque()
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

    def restore_file(self, photo: str | None, asked: WorkRequest) -> Any:
        """Do a task to an uploaded photo, for the API; returns the file of the result and a sentence."""
        if photo is None:
            raise GpenError("There is no photo. Upload one first.")
        self.limits.check(Path(photo), *asked.files)

        def run() -> Any:
            # Not among the sessions, where it would take the place of photos that are open on the page.
            session = open_photo(Path(photo), self._new_folder(self._answers), self.limits.megapixels)
            work(self.engine, session, asked, lambda *_: not self._closing.is_set())
            file, text = write_result(session, note=self.provenance)
            return str(file), text

        return self.engine.call(run)

    # Many photos, and films.

    def take_film(self, file: str, files: list[str] | None) -> Any:
        """Take a film that was opened where photos are to the others; returns the tabs, and the files there."""
        if not is_film(Path(file)):
            return gr.skip(), gr.skip()
        pyav()  # GpenError where it is missing
        gr.Info("Films are restored under Many photos: it is there now.")
        return gr.update(selected=MANY), [*(files or ()), file]

    def restore_photos(
        self,
        files: list[str] | None,
        model: str | None,
        masks: list[str] | None,
        protect: list[str] | None,
        people: list[str] | None,
        aligned: bool,
        request: gr.Request,
        *values: Any,
    ) -> Iterator[Any]:
        """Do a task to the photos and films of a batch.

        values: whether films are deinterlaced, the background model, the task, and the controls.

        Yields the table, the zip to download, and a sentence.
        """
        # Without it, an error before the first of them would empty the page.
        yield gr.skip(), gr.skip(), gr.skip()
        deinterlace, background, name, *controls = values
        task, stop = find_task(name), self.stop_of(request)
        options = self.options(task, dict(zip(CONTROLS, controls, strict=True)))
        asked = self.batch_request(name, files, model or "", options, masks, protect, people, aligned)
        asked = dataclasses.replace(asked, background=background or "", deinterlace=deinterlace)
        folder = self._new_folder(self._batches)
        table = BatchTable(folder, task.done, self.limits.megapixels)

        def run(show: Callable[[tuple[dict[str, Any], str]], None]) -> BatchOutput:
            shown = -_SECONDS_BETWEEN_TABLES

            def on_progress(done: float, text: str) -> bool:
                nonlocal shown
                if time.monotonic() - shown >= _SECONDS_BETWEEN_TABLES:
                    shown = time.monotonic()
                    show((table.value, table.text))
                return not (stop.is_set() or self._closing.is_set())

            return run_batch(self.engine, asked, folder, on_progress, table)

        steps = self.engine.follow(run)
        yield table.value, gr.update(value=None, interactive=False), "Waiting for the photos before these ..."
        try:
            while True:
                value, text = next(steps)
                yield value, gr.skip(), text
        except StopIteration as end:
            value = table.value | {"zip": address(end.value.path)}
            yield value, gr.update(value=str(end.value.path), interactive=True), end.value.summary
        except (GpenError, MemoryError):
            yield table.value, gr.skip(), ""
            raise

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
        """A task for uploaded photos and films; GpenError if there are none, or masks are missing."""
        row = find_task(task)
        if not files:
            raise GpenError("There are no photos yet. Drop some, or films, or a zip of them, first.")
        if row.needs_damage_mask and not masks:
            raise GpenError("There are no masks. Inpainting needs one for each photo, white where it is damaged.")
        self.limits.check(*map(Path, [*files, *(masks or ()), *(protect or ()), *(people or ())]))
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
            provenance=self.provenance,
        )

    def batch(self, asked: BatchRequest) -> BatchOutput:
        """Do a task to uploaded photos, for the API; see :func:`gpen.app.batch.run_batch`."""

        def on_progress(done: float, text: str) -> bool:
            return not self._closing.is_set()

        return self.engine.call(run_batch, self.engine, asked, self._new_folder(self._answers), on_progress)

    def _new_folder(self, earlier: deque[Path]) -> Path:
        """A folder for results, which is added to those of its kind; the first of these goes."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        earlier.append(folder)
        if len(earlier) > _KEPT:
            shutil.rmtree(earlier.popleft(), ignore_errors=True)
        return folder

    # Stopping.

    def begin(self, request: gr.Request) -> Any:
        """Forget an earlier press of Stop, and show Stop in place of the button that was pressed."""
        if self.stop_of(request).is_set():
            # Not cleared: the run that it was for may not have seen it yet.
            self._stops[str(request.session_hash)] = threading.Event()
        return gr.update(visible=False), gr.update(visible=True, interactive=True)

    def ended(self) -> Any:
        """Show the button again in place of Stop."""
        return gr.update(visible=True), gr.update(visible=False)

    def stop(self, request: gr.Request) -> Any:
        """Stop this visitor's run after the current face."""
        self.stop_of(request).set()
        return gr.update(interactive=False)

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

    def stop_of(self, request: gr.Request) -> threading.Event:
        """Set once this visitor wants to stop."""
        return self._stops.setdefault(str(request.session_hash), threading.Event())

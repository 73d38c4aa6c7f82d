"""The films of a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batch.report import Status
from ..errors import GpenError, OptionError, named
from ..images.picture import FloatImage
from ..options import ALIGNED, OPTIONS, supported
from ..restoration.api import face_choice
from ..restoration.needs import Needs
from ..restoration.processors import with_mask_chosen
from ..video.detect import finder
from ..video.plan import FilmJob
from ..video.restore import Picture, Restorer
from ..video.run import FilmResult, FilmSettings, FilmWork, restore_film
from ..video.still import still
from ..wording import time_left
from .engine import Engine

if TYPE_CHECKING:
    from .batch import BatchRequest

_PASSES = 2

OnFilmProgress = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and a description; what it raises stops."""


class FilmWatch:
    """Tells how far a film is: the pass, its frames in a second, and its time left."""

    def __init__(self, tell: OnFilmProgress, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._pass = self._done = 0
        self._what = ""
        self._frames: int | None = None
        self._begun = 0.0

    def starts(self, what: str, frames: int | None) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        self._pass += 1
        self._done, self._what, self._frames, self._begun = 0, what, frames, self._clock()
        self._tell(self._fraction, f"Pass {self._pass} of {_PASSES} begins")

    def advances(self, *, was_there: bool = False, picture: Picture | None = None) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        self._done += 1
        text = f"Pass {self._pass} of {_PASSES}: {self._what} frame {self._done}"
        if self._frames is not None:
            text += f" of {self._frames}"
        elapsed = self._clock() - self._begun
        if elapsed > 0:
            text += f", {self._done / elapsed:.3g} frames per second"
        if self._frames is not None and self._done < self._frames:
            text += f", {time_left(elapsed / self._done * (self._frames - self._done))}"
        self._tell(self._fraction, text)

    def says(self, text: str) -> None:
        """See :class:`~gpen.video.run.FilmProgress`; the result says it too."""

    @property
    def _fraction(self) -> float:
        of_pass = min(self._done / self._frames, 1) if self._frames else 0.0
        return (self._pass - 1 + of_pass) / _PASSES


@dataclass(frozen=True, eq=False)
class FilmDone:
    """What became of a film that has a result."""

    job: FilmJob
    result: FilmResult
    frame: FloatImage
    """(H, W, 3), of the result: the first with a face, or else the first."""

    @property
    def status(self) -> Status:
        """Whether a face was restored in it."""
        return Status.DONE if self.result.outcome.restored else Status.UNCHANGED

    def as_json(self) -> dict[str, Any]:
        """Its entry in a report, but for the paths."""
        return {"status": self.status.value, **self.result.as_json()}


class Films:
    """Does a batch's task to its films, with everything loaded once.

    protect: the folder of masks of what stays as it is. GpenError for what is wrong for all films.
    """

    def __init__(self, engine: Engine, request: BatchRequest, protect: Path | None) -> None:
        task, options = request.task, replace(request.options, video=True)
        self._refusal = _refusal(request)
        if self._refusal:
            return
        needs = Needs.of(task, options, protect=protect, people=request.people)
        with named(*request.people):
            components = engine.components(task, request.model, options, needs)
        options = with_mask_chosen(options, has_parser=components.parser is not None)
        choice = face_choice(supported(options, task), components.people)
        self._masks = components.protect_masks
        self._work = FilmWork(
            restorer=Restorer(task=task, components=components, options=options),
            find=finder(task, options, components.detector, components.model.device),
            choice=replace(choice, min_score=options.detection_threshold),
            settings=FilmSettings(deinterlace=request.deinterlace, keep_unfinished=False),
            recipe={},
        )

    def restore(self, job: FilmJob, watch: FilmWatch) -> FilmDone:
        """Restore a film.

        GpenError where there is no result; nothing is left of it then, nor where ``watch`` stops it.
        """
        if self._refusal:
            raise OptionError(self._refusal)
        restorer = self._work.restorer
        protect = None if self._masks is None else self._masks.of(job.film.name)
        work = replace(self._work, restorer=replace(restorer, protect=protect))
        result = restore_film(job.film.path, job.target, work, watch)
        try:
            frame = still(job.target, result.first_face, restorer.options.max_megapixels)
        except GpenError:
            job.target.unlink()
            raise
        return FilmDone(job, result, frame)


def _refusal(request: BatchRequest) -> str:
    """Why a task with these options is not for films; empty where it is."""
    if not request.task.accepts_films:
        return f'"{request.task.label}" is for photos. A film can be restored or colorized.'
    if request.aligned:
        return f'In a film faces are looked for. Switch off "{ALIGNED.label}".'
    if request.options.upscale > 1 and "upscale" in request.task.options:
        return f'A film keeps its size. Set "{OPTIONS["upscale"].label}" to 1.'
    if request.background:
        return "A film's background stays as it is. Choose no background model."
    return ""


def noun_of(photos: int, films: int) -> str:
    """What a batch consists of: "photo", "film", or "file" for both."""
    if photos and films:
        return "file"
    return "film" if films else "photo"

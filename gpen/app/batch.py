"""Uploaded photos, films and zips of them, restored into one zip."""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..batch.faces import SameSource
from ..batch.plan import Job, plan
from ..batch.prefetch import PrefetchPipeline, worker_count
from ..batch.report import PhotoResult, Status
from ..batch.stages import OutputOptions, PhotoProcessor
from ..errors import GpenError, PhotoError, named
from ..options import Options, supported
from ..restoration.api import face_choice, face_source
from ..restoration.needs import Needs
from ..restoration.result import RestoredFace
from ..tasks import Task
from ..video.plan import FilmJob, plan_films, split_inputs
from ..wording import count
from .batch_table import BatchTable
from .engine import Engine
from .films import FilmDone, Films, FilmWatch, noun_of
from .uploads import gather

REPORT = "report.json"
_DATE = (1980, 1, 1, 0, 0, 0)

OnBatchProgress = Callable[[float, str], bool | None]
"""Called with the fraction done, 0 to 1, and a description; returning False stops."""


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """A task for uploaded photos."""

    task: Task
    """What is done to each photo."""
    options: Options
    """How; options that the task does not support have no effect."""
    photos: Sequence[Path]
    """The uploads: pictures, films, and zips of them."""
    most_bytes: int
    """The most bytes that the photos, and films in zips, may have in total, unpacked; masks of each kind may have as
    many."""
    model: str = ""
    """The name of a model file, empty for the default one."""
    background: str = ""
    """The name of the file of a background model, empty for none."""
    damage: Sequence[Path] = ()
    """For inpainting: masks named like their photos, or a zip of them."""
    protect: Sequence[Path] = ()
    """Masks, white where the photo stays as it is: named like their photos, or a zip of them; none for nothing."""
    people: Sequence[Path] = ()
    """Photos of the people whose faces are worked on; none for everybody's."""
    aligned: bool = False
    """Whether each photo is one aligned face."""
    deinterlace: bool = False
    """Whether whole frames are made of the fields of interlaced films, which are refused otherwise."""
    provenance: bool = True
    """Whether the results note what was done to them; films carry no note."""


@dataclass(frozen=True)
class BatchOutput:
    """The results of a batch."""

    path: Path
    """The zip of the results and the report."""
    summary: str
    """One or two sentences for the user."""


class _StoppedError(Exception):
    """The user pressed Stop, or the page is being closed."""


def run_batch(
    engine: Engine,
    request: BatchRequest,
    folder: Path,
    on_progress: OnBatchProgress = lambda done, text: None,
    table: BatchTable | None = None,
) -> BatchOutput:
    """Do a task to uploaded photos, then to films, and write the results with a report to a zip in ``folder``.

    What cannot be read does not stop the others, and a stop keeps the finished ones. table: is told of each; its
    results stay in a folder beside the zip. GpenError if there is no result at all.
    """
    task = request.task
    on_progress(0, "unpacking")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        photos, damage, protect = (Path(scratch) / name for name in ("photos", "masks", "protected"))
        results = Path(scratch if table is None else folder) / "results"
        folders = photos, results, damage, protect
        for path in folders:
            path.mkdir()
        gather(request.photos, photos, request.most_bytes)
        for masks, into in ((request.damage, damage), (request.protect, protect)):
            if masks:
                gather(masks, into, request.most_bytes)
        with named(photos, damage, protect):
            jobs, problems = plan([str(photos)], results)
            found, _ = split_inputs([str(photos)], None)
            films = plan_films(found, results, task.done, is_only=False)
        notices = [problem.why for problem in problems if problem.is_notice]
        if not jobs and not films:
            raise PhotoError(
                "There is no picture in the upload that can be read. Names that begin with a dot are ignored: rename "
                f"such files. {problems[0].why}"
            )
        report = _Report(results, folders, table)
        watch = _Watch(jobs, films, on_progress, report, table)
        given = damage if request.damage else None, protect if request.protect else None
        stopped = bool(jobs) and _run(_processor(engine, request, *given), engine, jobs, watch)
        stopped = stopped or (bool(films) and _run_films(Films(engine, request, given[1]), films, watch))
        if stopped and table is not None:
            table.stopped()
        statuses, noun = Counter(watch.made), noun_of(len(jobs), len(films))
        what = count(len(jobs) + len(films), noun)
        if not statuses[Status.DONE] + statuses[Status.UNCHANGED]:
            if stopped:
                raise GpenError(f"Stopped before the first {noun} was finished: there is no result.")
            raise PhotoError(f"None of {what} could be used. {report.entries[0]['message']}")
        on_progress(1, "zipping")
        output = folder / f"gpen_{task.done}.zip"
        _write_zip(output, results, report.entries)
    return BatchOutput(output, " ".join([_summary(what, statuses, task.done, stopped), *notices]))


def _processor(engine: Engine, request: BatchRequest, damage: Path | None, protect: Path | None) -> PhotoProcessor:
    task, options = request.task, request.options
    needs = Needs.of(
        task,
        options,
        aligned=request.aligned,
        upscaler=engine.locator.upscaler(request.background if task.accepts_background else ""),
        damage=damage,
        protect=protect,
        people=request.people,
    )
    with named(*request.people):
        components = engine.components(task, request.model, options, needs)
    choice = replace(face_choice(supported(options, task), components.people), report_sharpness=True)
    aligned = task.is_aligned(request.aligned)
    source = face_source(task, options, components.detector, aligned=aligned, choice=choice)
    name = "" if components.detector is None else components.detector.name
    output = OutputOptions(provenance=request.provenance)
    return PhotoProcessor(task, components, SameSource(source, name), options, output)


class _Report:
    """The entries of the report, in which neither paths nor messages name a folder on this computer."""

    def __init__(self, results: Path, folders: Sequence[Path], table: BatchTable | None) -> None:
        self._results = results
        self._folders = folders
        self._table = table
        self.entries: list[dict[str, Any]] = []

    def photo(self, number: int, result: PhotoResult) -> None:
        why = self._add(result.job.photo.name, result.job.target, result.as_json())
        if self._table is not None:
            self._table.ends(number, result, why)

    def film(self, number: int, done: FilmDone) -> None:
        why = self._add(done.job.film.name, done.job.target, done.as_json())
        if self._table is not None:
            self._table.film_ends(number, done, why)

    def film_failed(self, number: int, job: FilmJob, error: GpenError, seconds: float) -> None:
        about = {"status": Status.FAILED.value, "message": str(error), "seconds": round(seconds, 3)}
        why = self._add(job.film.name, job.target, about)
        if self._table is not None:
            self._table.failed(number, seconds, why)

    def _add(self, name: str, target: Path, about: dict[str, Any]) -> str:
        paths = {"path": name, "output": target.relative_to(self._results).as_posix()}
        entry = {**paths, **about, **paths}
        for folder in self._folders:
            entry["message"] = entry["message"].replace(f"{folder}{os.sep}", "").replace(str(folder), "the upload")
        self.entries.append(entry)
        return str(entry["message"])


class _Watch:
    """Tells how far a batch is: the photos, in order, then the films."""

    def __init__(
        self,
        jobs: Sequence[Job],
        films: Sequence[FilmJob],
        on_progress: OnBatchProgress,
        report: _Report,
        table: BatchTable | None,
    ) -> None:
        self._total = len(jobs) + len(films)
        self._noun = noun_of(len(jobs), len(films))
        self._on_progress = on_progress
        self._report = report
        self._table = table
        self._numbers = {job: number for number, job in enumerate(jobs)}
        self._started = 0
        self._text = ""
        self._begun = 0.0
        self.made: list[Status] = []
        """What became of each that is done."""
        if table is not None:
            table.starts([job.photo.name for job in jobs], [job.film.name for job in films])

    def starts(self, job: Job) -> Callable[[int, int, RestoredFace | None], None]:
        self._begins(job.photo.name)
        return self._on_face

    def starts_film(self, job: FilmJob) -> FilmWatch:
        self._begun = time.monotonic()
        self._begins(job.film.name)
        return FilmWatch(self._on_frame)

    def _begins(self, name: str) -> None:
        self._started += 1
        self._text = f"{self._started} of {count(self._total, self._noun)}, {name}"
        if self._table is not None:
            self._table.begins()
        self._show(0)

    def _on_frame(self, done: float, text: str) -> None:
        if self._table is not None:
            self._table.says(text)
        self._show(done)

    def _on_face(self, done: int, total: int, face: RestoredFace | None) -> None:
        if self._table is not None and total:
            self._table.face(done, total)
        self._show(done / total if total else 1)

    def on_tile(self, done: int, total: int) -> None:
        self._show(0)

    def _show(self, fraction: float) -> None:
        if self._on_progress(min((self._started - 1 + fraction) / self._total, 1), self._text) is False:
            raise _StoppedError

    def ends(self, result: PhotoResult) -> None:
        self.made.append(result.status)
        self._report.photo(self._numbers[result.job], result)

    def film_ends(self, done: FilmDone) -> None:
        self.made.append(done.status)
        self._report.film(self._started - 1, done)

    def film_failed(self, job: FilmJob, error: GpenError) -> None:
        self.made.append(Status.FAILED)
        self._report.film_failed(self._started - 1, job, error, time.monotonic() - self._begun)


def _run(processor: PhotoProcessor, engine: Engine, jobs: Sequence[Job], watch: _Watch) -> bool:
    """Do the task; returns whether the batch was stopped before all photos were done."""
    try:
        workers = worker_count(engine.device.type, os.cpu_count() or 1)
        PrefetchPipeline(processor, workers).run(jobs, watch.starts, watch.ends, watch.on_tile)
    except _StoppedError:
        return len(watch.made) < len(jobs)
    return False


def _run_films(films: Films, jobs: Sequence[FilmJob], watch: _Watch) -> bool:
    """Do the task; returns whether the batch was stopped before all films were done."""
    for job in jobs:
        try:
            watch.film_ends(films.restore(job, watch.starts_film(job)))
        except _StoppedError:
            return True
        except GpenError as error:
            watch.film_failed(job, error)
    return False


def _summary(what: str, statuses: Counter[Status], done: str, stopped: bool) -> str:
    words = {Status.DONE: done, Status.UNCHANGED: "unchanged", Status.FAILED: "failed"}
    counts = ", ".join(f"{statuses[status]} {word}" for status, word in words.items() if statuses[status])
    text = f"{what}: {counts}."
    if stopped:
        text += " Stopped: the others are not in the zip."
    return f"{text} {REPORT} in the zip says why." if statuses[Status.FAILED] else text


def _write_zip(path: Path, results: Path, report: Sequence[dict[str, Any]]) -> None:
    """Zip the results uncompressed: pictures are compressed already."""
    # A clock may stand before 1980, the first year that a zip knows.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, strict_timestamps=False) as file:
        for result in sorted(results.rglob("*")):
            if result.is_file():
                file.write(result, result.relative_to(results).as_posix())
        file.writestr(zipfile.ZipInfo(REPORT, _DATE), json.dumps(report, indent=2) + "\n")

"""Uploaded photos and zips of them, restored into one zip."""

from __future__ import annotations

import json
import os
import tempfile
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
from ..wording import count
from .batch_table import BatchTable
from .engine import Engine
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
    """The uploads: pictures, and zips of them."""
    most_bytes: int
    """The most bytes that the photos may have in total, unpacked; masks of each kind may have as many."""
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
    provenance: bool = True
    """Whether the results note what was done to them."""


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
    """Do a task to uploaded photos, and write the results with a report to a zip in ``folder``.

    Photos that cannot be read do not stop the others, and a stop keeps the finished ones. table: is told of each photo;
    its results stay in a folder beside the zip. GpenError if there is no result at all.
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
        notices = [problem.why for problem in problems if problem.is_notice]
        if not jobs:
            raise PhotoError(
                "There is no picture in the upload that can be read. Names that begin with a dot are ignored: rename "
                f"such files. {problems[0].why}"
            )
        processor = _processor(
            engine, request, damage if request.damage else None, protect if request.protect else None
        )
        report: list[dict[str, Any]] = []
        numbers = {job: number for number, job in enumerate(jobs)}

        def ends(result: PhotoResult) -> None:
            report.append(_as_json(result, results, folders))
            if table is not None:
                table.ends(numbers[result.job], result, report[-1]["message"])

        watch = _Watch(jobs, on_progress, ends, table)
        stopped = _run(processor, engine, jobs, watch)
        if stopped and table is not None:
            table.stopped()
        statuses = Counter(result.status for result in watch.made)
        if not statuses[Status.DONE] + statuses[Status.UNCHANGED]:
            if stopped:
                raise GpenError("Stopped before the first photo was finished: there is no result.")
            raise PhotoError(f"None of {count(len(jobs), 'photo')} could be used. {report[0]['message']}")
        on_progress(1, "zipping")
        output = folder / f"gpen_{task.done}.zip"
        _write_zip(output, results, report)
    return BatchOutput(output, " ".join([_summary(len(jobs), statuses, task.done, stopped), *notices]))


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


class _Watch:
    """Tells how far a batch is. ends: called with each result, in the order of the photos."""

    def __init__(
        self,
        jobs: Sequence[Job],
        on_progress: OnBatchProgress,
        ends: Callable[[PhotoResult], None],
        table: BatchTable | None,
    ) -> None:
        self._photos = len(jobs)
        self._on_progress = on_progress
        self._ends = ends
        self._table = table
        self._started = 0
        self._text = ""
        self.made: list[PhotoResult] = []
        """The results so far."""
        if table is not None:
            table.starts([job.photo.name for job in jobs])

    def starts(self, job: Job) -> Callable[[int, int, RestoredFace | None], None]:
        self._started += 1
        self._text = f"{self._started} of {count(self._photos, 'photo')}, {job.photo.name}"
        if self._table is not None:
            self._table.begins()
        self._show(0)
        return self._on_face

    def _on_face(self, done: int, total: int, face: RestoredFace | None) -> None:
        if self._table is not None and total:
            self._table.face(done, total)
        self._show(done / total if total else 1)

    def on_tile(self, done: int, total: int) -> None:
        self._show(0)

    def _show(self, fraction: float) -> None:
        if self._on_progress(min((self._started - 1 + fraction) / self._photos, 1), self._text) is False:
            raise _StoppedError

    def ends(self, result: PhotoResult) -> None:
        self.made.append(result)
        self._ends(result)


def _run(processor: PhotoProcessor, engine: Engine, jobs: Sequence[Job], watch: _Watch) -> bool:
    """Do the task; returns whether the batch was stopped before all photos were done."""
    try:
        workers = worker_count(engine.device.type, os.cpu_count() or 1)
        PrefetchPipeline(processor, workers).run(jobs, watch.starts, watch.ends, watch.on_tile)
    except _StoppedError:
        return len(watch.made) < len(jobs)
    return False


def _summary(photos: int, statuses: Counter[Status], done: str, stopped: bool) -> str:
    words = {Status.DONE: done, Status.UNCHANGED: "unchanged", Status.FAILED: "failed"}
    counts = ", ".join(f"{statuses[status]} {word}" for status, word in words.items() if statuses[status])
    text = f"{count(photos, 'photo')}: {counts}."
    if stopped:
        text += " Stopped: the others are not in the zip."
    return f"{text} {REPORT} in the zip says why." if statuses[Status.FAILED] else text


def _as_json(result: PhotoResult, results: Path, folders: Sequence[Path]) -> dict[str, Any]:
    """An entry of the report; paths are those in the zip, and none of the folders, on this computer, is named."""
    content = result.as_json()
    content["path"] = result.job.photo.name
    content["output"] = result.job.target.relative_to(results).as_posix()
    for folder in folders:
        content["message"] = content["message"].replace(f"{folder}{os.sep}", "").replace(str(folder), "the upload")
    return content


def _write_zip(path: Path, results: Path, report: Sequence[dict[str, Any]]) -> None:
    """Zip the results uncompressed: pictures are compressed already."""
    # A clock may stand before 1980, the first year that a zip knows.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, strict_timestamps=False) as file:
        for result in sorted(results.rglob("*")):
            if result.is_file():
                file.write(result, result.relative_to(results).as_posix())
        file.writestr(zipfile.ZipInfo(REPORT, _DATE), json.dumps(report, indent=2) + "\n")

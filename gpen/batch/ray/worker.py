"""One worker of `gpen restore --engine ray`: an actor that holds the network and restores what it is given."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import GpenError, PhotoError
from ...images import OnSize
from ...restoration.pipeline import OnProgress
from ...restoration.upscaler import OnTile
from ..config import RunConfig
from ..plan import Job, PhotoFile
from ..prefetch import PrefetchPipeline, worker_count
from ..report import PhotoResult, Status
from ..stages import LoadedPhoto, PhotoProcessor, ProcessedPhoto
from .journal import Journal

MOST_ATTEMPTS = 3
"""How often a worker may die with a photo until it is the photo's fault."""

_log = logging.getLogger(__name__)


def as_row(number: int, job: Job) -> dict[str, Any]:
    """What is sent of a job; any file name survives it."""
    paths = [str(job.photo.path.absolute()), job.photo.name, str(job.target.absolute()), job.label]
    return {"number": number, "job": json.dumps(paths)}


class Worker:
    """What Ray makes once on each worker, and calls with some of the photos.

    cores: how many it may use. A worker that cannot work, because it lacks a file, say, gives that as the reason why
    its photos failed.
    """

    def __init__(self, config: RunConfig, journal: Journal, cores: int) -> None:
        import cv2
        import torch

        torch.set_num_threads(cores)
        cv2.setNumThreads(cores)
        self._journal = journal
        self._side_by_side = worker_count(config.device, cores)
        self._restorer: PhotoProcessor | None = None
        self._trouble = ""
        try:
            if not journal.is_visible:
                raise PhotoError(f"{journal.folder} is not there.{_hint()}")
            self._restorer = config.make()
        except GpenError as error:
            self._trouble = f"{error}{_hint() if _hint() not in str(error) else ''}"
        except Exception as error:
            _log.warning("A worker cannot start.", exc_info=True)
            self._trouble = f"This should not happen: {type(error).__name__}: {error}. Please report it."

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Restore the photos of some rows; columns: number, and the entry as JSON."""
        jobs = {_job(text): int(number) for number, text in zip(batch["number"], batch["job"], strict=True)}
        entries = self._run(jobs)
        return {
            "number": [jobs[entry.job] for entry in entries],
            "entry": [json.dumps(entry.as_json()) for entry in entries],
        }

    def _run(self, jobs: Iterable[Job]) -> list[PhotoResult]:
        if self._restorer is None:
            return [PhotoResult(job, Status.FAILED, self._trouble) for job in jobs]
        entries: list[PhotoResult] = []
        first: list[Job] = []
        again: list[Job] = []
        for job in jobs:
            done = self._journal.done(job)
            self._journal.clean(job)
            if done is not None:
                entries.append(done)
            elif self._journal.attempts(job) >= MOST_ATTEMPTS:
                entries.append(PhotoResult(job, Status.FAILED, _DEADLY))
            else:
                (again if self._journal.attempts(job) else first).append(job)
        # One of those with which a worker has died is to blame: each alone, or the others would be blamed as well.
        for together in (first, *([job] for job in again)):
            steps = _Noted(self._restorer, self._journal)
            PrefetchPipeline(steps, self._side_by_side).run(together, lambda job: lambda *_: None, entries.append)
        return entries


_DEADLY = (
    f"Its worker died {MOST_ATTEMPTS} times while it was being restored: there is too little memory, or the photo "
    "is damaged in a way that was not foreseen. Try it alone, with --engine local."
)


class _Noted:
    """The steps of a PhotoProcessor, written down."""

    def __init__(self, restorer: PhotoProcessor, journal: Journal) -> None:
        self._restorer = restorer
        self._journal = journal
        self.memory = restorer.memory

    def read(self, job: Job, on_size: OnSize) -> LoadedPhoto | PhotoResult:
        try:
            self._journal.begin(job)
        except GpenError as error:
            return PhotoResult(job, Status.FAILED, str(error))
        read = self._restorer.read(job, on_size)
        if isinstance(read, PhotoResult) and read.status == Status.FAILED and not job.photo.path.exists():
            return PhotoResult(job, Status.FAILED, read.message + _hint(), read.seconds)
        return read

    def restore(self, loaded: LoadedPhoto, on_progress: OnProgress, on_tile: OnTile) -> ProcessedPhoto | PhotoResult:
        return self._restorer.restore(loaded, on_progress, on_tile)

    def write(self, made: ProcessedPhoto) -> PhotoResult:
        return self._restorer.write(made, lambda entry: self._journal.finish(made.job, entry))


def _job(text: str) -> Job:
    path, name, target, label = json.loads(text)
    return Job(PhotoFile(Path(path), name), Path(target), label)


def _hint() -> str:
    return (
        f" So the worker on {platform.node()} sees it. With --engine ray, photos, weights and results have to be "
        "where all machines see them under the same path."
    )

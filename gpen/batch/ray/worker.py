"""A worker of the Ray engine: an actor that holds a network and processes the photos it is given."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterable
from dataclasses import replace
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
"""How often workers may die while processing a photo before it is given up."""

_log = logging.getLogger(__name__)


def as_row(number: int, job: Job) -> dict[str, Any]:
    """The row for a job, in which any file name survives."""
    paths = [str(job.photo.path.absolute()), job.photo.name, str(job.target.absolute()), job.label]
    return {"number": number, "job": json.dumps(paths)}


class Worker:
    """Created by Ray once per actor, and called with batches of rows.

    cores: number of CPU cores it may use. A worker that cannot start, because a file is missing for example, returns
    the reason as the failure of each of its photos.
    """

    def __init__(self, config: RunConfig, journal: Journal, cores: int) -> None:
        import cv2
        import torch

        torch.set_num_threads(cores)
        cv2.setNumThreads(cores)
        self._journal = journal
        self._threads = worker_count(config.device, cores)
        self._processor: PhotoProcessor | None = None
        self._trouble = ""
        try:
            if not journal.is_visible:
                raise PhotoError(f"{journal.folder} does not exist.{_hint()}")
            self._processor = config.make()
        except GpenError as error:
            self._trouble = f"{error}{_hint() if _hint() not in str(error) else ''}"
        except Exception as error:
            _log.warning("A worker cannot start.", exc_info=True)
            self._trouble = f"Unexpected {type(error).__name__}: {error}. Please report this as a bug."

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Process the photos of some rows; returns the columns number, and entry as JSON."""
        jobs = {_job(text): int(number) for number, text in zip(batch["number"], batch["job"], strict=True)}
        results = self._run(jobs)
        return {
            "number": [jobs[result.job] for result in results],
            "entry": [json.dumps(result.as_json()) for result in results],
        }

    def _run(self, jobs: Iterable[Job]) -> list[PhotoResult]:
        if self._processor is None:
            return [PhotoResult(job, Status.FAILED, self._trouble) for job in jobs]
        results: list[PhotoResult] = []
        first: list[Job] = []
        again: list[Job] = []
        for job in jobs:
            done = self._journal.done(job)
            self._journal.clean(job)
            if done is not None:
                results.append(done)
            elif self._journal.attempts(job) >= MOST_ATTEMPTS:
                results.append(PhotoResult(job, Status.FAILED, _DEADLY))
            else:
                (again if self._journal.attempts(job) else first).append(job)
        # If a worker died with several photos, only one is to blame: retried together, all would be given up.
        for together in (first, *([job] for job in again)):
            stages = _JournalledStages(self._processor, self._journal)
            PrefetchPipeline(stages, self._threads).run(together, lambda job: lambda *_: None, results.append)
        return results


_DEADLY = (
    f"Workers died {MOST_ATTEMPTS} times while processing this photo: there is too little memory, or the file is "
    "damaged in an unforeseen way. Try it alone, without Ray."
)


class _JournalledStages:
    """The stages of a PhotoProcessor, with a journal."""

    def __init__(self, processor: PhotoProcessor, journal: Journal) -> None:
        self._processor = processor
        self._journal = journal
        self.memory = processor.memory

    def read(self, job: Job, on_size: OnSize) -> LoadedPhoto | PhotoResult:
        try:
            self._journal.begin(job)
        except GpenError as error:
            return PhotoResult(job, Status.FAILED, str(error))
        loaded = self._processor.read(job, on_size)
        if isinstance(loaded, PhotoResult) and loaded.status is Status.FAILED and not job.photo.path.exists():
            return replace(loaded, message=loaded.message + _hint())
        return loaded

    def find(self, loaded: LoadedPhoto) -> LoadedPhoto | PhotoResult:
        return self._processor.find(loaded)

    def process(self, loaded: LoadedPhoto, on_progress: OnProgress, on_tile: OnTile) -> ProcessedPhoto | PhotoResult:
        return self._processor.process(loaded, on_progress, on_tile)

    def write(self, processed: ProcessedPhoto) -> PhotoResult:
        return self._processor.write(processed, lambda result: self._journal.finish(processed.job, result))


def _job(text: str) -> Job:
    path, name, target, label = json.loads(text)
    return Job(PhotoFile(Path(path), name), Path(target), label)


def _hint() -> str:
    return (
        f" This is what the worker on {platform.node()} sees. All machines of a Ray cluster have to see photos, models "
        "and results under the same paths."
    )

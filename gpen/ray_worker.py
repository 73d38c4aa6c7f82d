"""One worker of `gpen restore --engine ray`: an actor that holds the network and restores what it is given."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .batch import Loaded, Recipe, Restorer, Unwritten
from .errors import GpenError, PhotoError
from .images import OnSize
from .jobs import Job, Photograph
from .overlap import Overlap, worker_count
from .pipeline import OnProgress
from .ray_notes import Notes
from .report import FAILED, Entry
from .upscale import OnTile

MOST_ATTEMPTS = 3
"""How often a worker may die with a photograph until it is the photograph's fault."""

_log = logging.getLogger(__name__)


def as_row(number: int, job: Job) -> dict[str, Any]:
    """What is sent of a job; any file name survives it."""
    paths = [str(job.photograph.path.absolute()), job.photograph.name, str(job.target.absolute()), job.label]
    return {"number": number, "job": json.dumps(paths)}


class Worker:
    """What Ray makes once on each worker, and calls with some of the photographs.

    cores: how many it may use. A worker that cannot work, because it lacks a file, say, gives that as the reason why
    its photographs failed.
    """

    def __init__(self, recipe: Recipe, notes: Notes, cores: int) -> None:
        import cv2
        import torch

        torch.set_num_threads(cores)
        cv2.setNumThreads(cores)
        self._notes = notes
        self._side_by_side = worker_count(recipe.device, cores)
        self._restorer: Restorer | None = None
        self._trouble = ""
        try:
            if not notes.are_seen:
                raise PhotoError(f"{notes.folder} is not there.{_hint()}")
            self._restorer = recipe.make()
        except GpenError as error:
            self._trouble = f"{error}{_hint() if _hint() not in str(error) else ''}"
        except Exception as error:
            _log.warning("A worker cannot start.", exc_info=True)
            self._trouble = f"This should not happen: {type(error).__name__}: {error}. Please report it."

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Restore the photographs of some rows; columns: number, and the entry as JSON."""
        jobs = {_job(text): int(number) for number, text in zip(batch["number"], batch["job"], strict=True)}
        entries = self._run(jobs)
        return {
            "number": [jobs[entry.job] for entry in entries],
            "entry": [json.dumps(entry.as_json()) for entry in entries],
        }

    def _run(self, jobs: Iterable[Job]) -> list[Entry]:
        if self._restorer is None:
            return [Entry(job, FAILED, self._trouble) for job in jobs]
        entries: list[Entry] = []
        first: list[Job] = []
        again: list[Job] = []
        for job in jobs:
            done = self._notes.done(job)
            self._notes.clean(job)
            if done is not None:
                entries.append(done)
            elif self._notes.attempts(job) >= MOST_ATTEMPTS:
                entries.append(Entry(job, FAILED, _DEADLY))
            else:
                (again if self._notes.attempts(job) else first).append(job)
        # One of those with which a worker has died is to blame: each alone, or the others would be blamed as well.
        for together in (first, *([job] for job in again)):
            steps = _Noted(self._restorer, self._notes)
            Overlap(steps, self._side_by_side).run(together, lambda job: lambda *_: None, entries.append)
        return entries


_DEADLY = (
    f"Its worker died {MOST_ATTEMPTS} times while it was being restored: there is too little memory, or the photograph "
    "is damaged in a way that was not foreseen. Try it alone, with --engine local."
)


class _Noted:
    """The steps of a Restorer, written down."""

    def __init__(self, restorer: Restorer, notes: Notes) -> None:
        self._restorer = restorer
        self._notes = notes
        self.memory = restorer.memory

    def read(self, job: Job, on_size: OnSize) -> Loaded | Entry:
        try:
            self._notes.begin(job)
        except GpenError as error:
            return Entry(job, FAILED, str(error))
        read = self._restorer.read(job, on_size)
        if isinstance(read, Entry) and read.status == FAILED and not job.photograph.path.exists():
            return Entry(job, FAILED, read.message + _hint(), read.seconds)
        return read

    def restore(self, loaded: Loaded, on_progress: OnProgress, on_tile: OnTile) -> Unwritten | Entry:
        return self._restorer.restore(loaded, on_progress, on_tile)

    def write(self, made: Unwritten) -> Entry:
        return self._restorer.write(made, lambda entry: self._notes.finish(made.job, entry))


def _job(text: str) -> Job:
    path, name, target, label = json.loads(text)
    return Job(Photograph(Path(path), name), Path(target), label)


def _hint() -> str:
    return (
        f" So the worker on {platform.node()} sees it. With --engine ray, photographs, weights and results have to be "
        "where all machines see them under the same path."
    )

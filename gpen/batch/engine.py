"""The engine of a batch: this process, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..restoration.pipeline import OnProgress
from ..restoration.upscaler import OnTile
from .config import RunConfig
from .journal import ReportJournal
from .plan import Job
from .prefetch import PrefetchPipeline, Stages, worker_count
from .report import PhotoResult, Status
from .stages import PhotoProcessor, ProcessedPhoto


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """How a Ray cluster is used; None for what suits it."""

    workers: int | None = None
    """Number of workers."""
    cpus: int | None = None
    """CPUs per worker."""


class Engine(Protocol):
    """Runs one batch."""

    @property
    def title(self) -> str:
        """Which model restores the photos, and where."""
        ...

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """Report entries of photos that earlier, unfinished runs have finished; by the photo's path."""
        ...

    def run(
        self,
        jobs: Sequence[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[PhotoResult], None],
        on_tile: OnTile | None = None,
    ) -> None:
        """As :meth:`gpen.batch.prefetch.PrefetchPipeline.run`."""
        ...

    def reported(self) -> None:
        """Called once the report is written, of an interrupted run too."""
        ...

    def close(self) -> None:
        """Clean up after a run that was not interrupted."""
        ...


class LocalEngine:
    """Runs a batch in this process. report: the file of its report, beside which a journal is kept; None for none."""

    def __init__(self, config: RunConfig, report: Path | None = None) -> None:
        self._processor = config.make()
        self._workers = worker_count(config.device, os.cpu_count() or 1)
        self._journal = None if report is None else ReportJournal(report)
        self.title = self._processor.title

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """See :class:`Engine`."""
        return {} if self._journal is None else self._journal.known(jobs)

    def run(
        self,
        jobs: Sequence[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[PhotoResult], None],
        on_tile: OnTile | None = None,
    ) -> None:
        """See :class:`Engine`."""
        stages: Stages = self._processor
        if self._journal is not None:
            stages = _Journaled(self._processor, self._journal)
        PrefetchPipeline(stages, self._workers).run(jobs, starts, ends, on_tile)

    def reported(self) -> None:
        """See :class:`Engine`."""
        if self._journal is not None:
            self._journal.remove()

    def close(self) -> None:
        """See :class:`Engine`."""


class _Journaled:
    """The stages of a photo, with a journal of what is written."""

    def __init__(self, processor: PhotoProcessor, journal: ReportJournal) -> None:
        self.read, self.find, self.process = processor.read, processor.find, processor.process
        self.memory = processor.memory
        self._write = processor.write
        self._journal = journal

    def write(self, processed: ProcessedPhoto) -> PhotoResult:
        result = self._write(processed, self._journal.begin)
        if result.status in (Status.DONE, Status.UNCHANGED):
            self._journal.end(result)
        return result


def make_engine(config: RunConfig, cluster: Cluster | None, results: Path, report: Path | None = None) -> Engine:
    """Make the engine: Ray if a cluster is given, else this process.

    results: the folder of all results. report: the file of the report; None for none.
    """
    if cluster is None:
        return LocalEngine(config, report)
    from .ray.engine import RayEngine

    return RayEngine(config, results, cluster.workers, cluster.cpus)

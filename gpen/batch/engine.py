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
from .plan import Job
from .prefetch import PrefetchPipeline, worker_count
from .report import PhotoResult


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

    def close(self) -> None:
        """Clean up after a run that was not interrupted."""
        ...


class LocalEngine:
    """Runs a batch in this process."""

    def __init__(self, config: RunConfig) -> None:
        self._processor = config.make()
        self._workers = worker_count(config.device, os.cpu_count() or 1)
        self.title = self._processor.title

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """See :class:`Engine`: nothing, because no journal is kept."""
        return {}

    def run(
        self,
        jobs: Sequence[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[PhotoResult], None],
        on_tile: OnTile | None = None,
    ) -> None:
        """See :class:`Engine`."""
        PrefetchPipeline(self._processor, self._workers).run(jobs, starts, ends, on_tile)

    def close(self) -> None:
        """See :class:`Engine`."""


def make_engine(config: RunConfig, cluster: Cluster | None, results: Path) -> Engine:
    """Make the engine: Ray if a cluster is given, else this process. results: the folder of all results."""
    if cluster is None:
        return LocalEngine(config)
    from .ray.engine import RayEngine

    return RayEngine(config, results, cluster.workers, cluster.cpus)

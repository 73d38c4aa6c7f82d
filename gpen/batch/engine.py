"""What works through a batch: this process, or a Ray cluster."""

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
    """What is asked of a Ray cluster; None for what suits it."""

    workers: int | None = None
    """How many workers."""
    cpus: int | None = None
    """CPUs for each worker."""


class Engine(Protocol):
    """Works through a batch, once."""

    @property
    def title(self) -> str:
        """What restores, and where."""
        ...

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """What unfinished runs have said about photos that are done, by path."""
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
        """Called after a run that came to its end."""
        ...


class LocalEngine:
    """Works in the process that runs the command."""

    def __init__(self, config: RunConfig) -> None:
        self._processor = config.make()
        self._workers = worker_count(config.device, os.cpu_count() or 1)
        self.title = self._processor.title

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """See :class:`Engine`. Nothing is left of earlier runs."""
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
    """The cluster that is asked for, or the process itself. results: the folder that all results go to."""
    if cluster is None:
        return LocalEngine(config)
    from .ray.engine import RayEngine

    return RayEngine(config, results, cluster.workers, cluster.cpus)

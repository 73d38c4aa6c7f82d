"""What the page restores with: networks, detectors and parsers, each loaded once.

Everything that computes runs in one thread, however many people use the page: they wait their turn, and PyTorch, which
keeps a team of threads for each thread that calls it, has one team.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..device import pick_device
from ..errors import FilesError, GpenError
from ..faces.detection.detector import available_detectors
from ..options import Options
from ..restoration.components import ComponentLoader, Components, Needs
from ..tasks import Task
from ..weights.catalog import Published, find_published
from ..weights.search import (
    by_preference,
    default_network,
    find_file,
    find_network,
    list_networks,
    may_be_network,
    search_folders,
)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ModelLocator:
    """Finds model files."""

    folders: tuple[Path, ...] = ()
    """Searched first."""

    def networks(self, task: Task) -> list[str]:
        """Names of the files that may be for a task, the one to use unless another is chosen first."""
        searched = search_folders(self.folders)
        there = [path.name for path in list_networks(searched) if may_be_network(path.name, task.name)]
        best = default_network(searched, task.name)
        return list(dict.fromkeys([*([best.name] if best is not None else []), *there]))

    def network(self, name: str, task: Task) -> Path:
        """The file of that name, the best one where it is empty; FilesError where it is not there.

        Only names that :meth:`networks` lists: a page must not say what else lies on the disk.
        """
        there = self.networks(task)
        if name and name not in there:
            listed = f"Those that are there: {', '.join(there)}." if there else "There is none."
            raise FilesError(f'"{name}" is not a model for this task in the folders that are searched. {listed}')
        if not there:
            suggestion = f'Download {task.example} under "Get models", or put' if task.example else "Put"
            raise FilesError(
                f"No network that {task.network_does} is on this computer. {suggestion} a model file into one of the "
                "folders that are searched."
            )
        return find_network(name or there[0], search_folders(self.folders), task.name)

    def path_of(self, published: Published) -> Path | None:
        """Where a published file is on this computer, or None."""
        return find_file(published, search_folders(self.folders, kind=published.kind))

    def missing(self, task: Task) -> list[Published]:
        """What has to be downloaded before the task can be done: a network, a detector, both or nothing."""
        needed = [] if self.networks(task) else by_preference(task.name)[:1]
        if task.looks_for_faces and available_detectors(self.folders)["auto"] is not None:
            needed.append(find_published("yunet"))
        return needed


class Engine:
    """The components that were used last, and the thread that they run in."""

    def __init__(self, locator: ModelLocator, device: str = "auto") -> None:
        self.locator = locator
        self.device = pick_device(device)
        self.loader = ComponentLoader(locator.folders, self.device)
        self._thread = ThreadPoolExecutor(1, "gpen-network")
        self._closed = False

    def call(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """What a function returns, or raises, in the one thread where everything computes; GpenError once closed."""
        # What shows progress finds out from the context whom to show it to.
        context = contextvars.copy_context()
        try:
            result = self._thread.submit(context.run, function, *arguments).result()
        except (CancelledError, RuntimeError):
            if not self._closed:
                raise
        # Whoever gets a result copies its files, into a folder that is being removed by then.
        if self._closed:
            raise GpenError("The page was closed.")
        return result

    def close(self) -> None:
        """Wait until what the thread is doing is done, and end it; nothing can be called any more."""
        self._closed = True
        self._thread.shutdown(cancel_futures=True)

    def components(self, task: Task, model: str, options: Options, needs: Needs) -> Components:
        """What a task needs; model: the name of its file, empty for the best one. GpenError where it is missing."""
        return self.loader.load(task, self.locator.network(model, task), options, needs)

"""The models that the page works with, and the one thread that they run in.

However many people use the page, everything is computed in that thread: requests queue up, and PyTorch, which keeps a
thread pool for each thread that calls it, keeps only one.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from ..device import pick_device
from ..errors import FilesError, GpenError
from ..options import Options
from ..restoration.components import ComponentLoader, Components
from ..restoration.first_use import missing_models
from ..restoration.needs import Needs
from ..restoration.upscaler import looks_like_upscaler
from ..tasks import Task
from ..weights.catalog import Published, published_by_file_name
from ..weights.search import (
    AUTO,
    NetworkFiles,
    default_network,
    download_folder,
    find_file,
    find_networks,
    list_networks,
    may_be_network,
    networks_by_size,
    search_folders,
)

_Result = TypeVar("_Result")
_Update = TypeVar("_Update")


@dataclass(frozen=True)
class ModelLocator:
    """Finds model files."""

    folders: tuple[Path, ...] = ()
    """Searched before the folders of the environment and the user's cache."""

    def networks(self, task: Task) -> list[str]:
        """Names of the files that may be for a task, the default one first.

        Then "auto", where there are networks of several sizes for faces of several sizes.
        """
        searched = search_folders(self.folders)
        there = [
            path.name
            for path in list_networks(searched)
            if may_be_network(path.name, task.name) and not _enlarges(path)
        ]
        best = default_network(searched, task.name)
        auto = [AUTO] if len(networks_by_size(searched, task.name)) > 1 else []
        return list(dict.fromkeys([*([best.name] if best is not None else []), *auto, *there]))

    def network_files(self, name: str, task: Task) -> NetworkFiles:
        """The model file of that name, the default one if it is empty; several for "auto".

        FilesError for a name that :meth:`networks` does not list: nobody may probe for other files on the disk.
        """
        available = self.networks(task)
        if not available:
            folder = download_folder(search_folders(self.folders))
            suggestion = f'Download {task.example} under "Get models", or put' if task.example else "Put"
            raise FilesError(
                f"No model that {task.network_does} is on this computer. {suggestion} a model file into {folder}."
            )
        if name and name not in available:
            raise FilesError(f'"{name}" is not a model for this task. Choose one of: {", ".join(available)}.')
        return find_networks(name or available[0], search_folders(self.folders), task.name)

    def upscalers(self) -> dict[str, Path]:
        """The files of models that enlarge whole photos, by name: background models."""
        found = [path for path in list_networks(search_folders(self.folders)) if _enlarges(path)]
        return {path.name: path for path in reversed(found)}

    def upscaler(self, name: str) -> Path | None:
        """The file of a background model of that name, None for no name; FilesError for one that is not listed."""
        there = self.upscalers()
        if name and name not in there:
            raise FilesError(
                f'"{name}" is not a background model. Choose one of: {", ".join(there) or "none is there"}.'
            )
        return there[name] if name else None

    def path_of(self, published: Published) -> Path | None:
        """The path of a published model on this computer, or None."""
        return find_file(published, search_folders(self.folders, kind=published.kind))

    def missing(self, task: Task) -> list[Published]:
        """The published models that the task still needs: a network, a detector, both or nothing."""
        return missing_models(task, has_network=bool(self.networks(task)), folders=self.folders)


def _enlarges(path: Path) -> bool:
    return published_by_file_name(path.name) is None and looks_like_upscaler(path)


class Engine:
    """The components that were used last, and the thread that they run in."""

    def __init__(self, locator: ModelLocator, device: str = "auto") -> None:
        self.locator = locator
        """Finds model files."""
        self.device = pick_device(device)
        """What everything is computed on."""
        self.loader = ComponentLoader(locator.folders, self.device)
        """Loads components onto the device, and keeps those used last."""
        self._thread = ThreadPoolExecutor(1, "gpen-network")
        self._closed = False

    def call(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run a function in the engine's thread, and return or raise what it does; GpenError once closed."""
        return self._unless_closed(lambda: self._submit(function, *arguments).result())

    def follow(self, function: Callable[[Callable[[_Update], None]], _Result]) -> Generator[_Update, None, _Result]:
        """Like :meth:`call`; yields what the function passes to its argument while it runs."""
        updates: SimpleQueue[Any] = SimpleQueue()
        end = object()

        def start() -> Future[_Result]:
            future = self._submit(function, updates.put)
            # Called as well if the engine is closed before the function starts.
            future.add_done_callback(lambda _: updates.put(end))
            return future

        future = self._unless_closed(start)
        while (update := updates.get()) is not end:
            yield update
        return self._unless_closed(future.result)

    def _submit(self, function: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        # Gradio finds in the context whose progress bar to update.
        return self._thread.submit(contextvars.copy_context().run, function, *arguments)

    def _unless_closed(self, step: Callable[[], _Result]) -> _Result:
        try:
            result = step()
        except (CancelledError, RuntimeError):
            if not self._closed:
                raise
        # The caller would copy the result's files into a folder that is being removed.
        if self._closed:
            raise GpenError("The page was closed. Start it again with `gpen app`.")
        return result

    def close(self) -> None:
        """Wait for the running call, and end the thread; later calls fail."""
        self._closed = True
        self._thread.shutdown(cancel_futures=True)

    def components(self, task: Task, model: str, options: Options, needs: Needs) -> Components:
        """What a task needs; model: the name of a file, empty for the default one. GpenError where it is missing."""
        networks = self.locator.network_files(model, task)
        return self.loader.load(task, networks.first, options, needs, networks.others)

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

import torch

from .device import pick_device, pick_dtype, release
from .errors import FilesError, GpenError
from .faces.detect import FaceDetector, available_detectors, make_detector
from .faces.identity import IdentityGuard, make_guard
from .faces.parsing import FaceParser, make_parser
from .files.catalog import NETWORKS_THAT, Published, find_published
from .files.folders import by_preference, default_network, find_network, list_networks, may_be_network, search_folders
from .model.checkpoint import Model, load_model
from .options import OPTIONS_OF, Options

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Places:
    """Where weights are searched, and where networks run."""

    folders: tuple[Path, ...] = ()
    device: str = "auto"

    def networks(self, task: str) -> list[str]:
        """Names of the weight files that may be for a task, the one to use unless another is chosen first."""
        searched = search_folders(self.folders)
        there = [path.name for path in list_networks(searched) if may_be_network(path.name, task)]
        best = default_network(searched, task)
        return list(dict.fromkeys([*([best.name] if best is not None else []), *there]))

    def network(self, name: str, task: str) -> Path:
        """The weight file of that name, the best one where it is empty; FilesError where it is not there.

        Only names that :meth:`networks` lists: a page must not say what else lies on the disk.
        """
        there = self.networks(task)
        if name and name not in there:
            listed = f"Those that are there: {', '.join(there)}." if there else "There is none."
            raise FilesError(f'"{name}" is no weight file for this task in the folders that are searched. {listed}')
        if not there:
            raise FilesError(
                f"No network that {NETWORKS_THAT[task]} is on this computer. Download "
                f'{by_preference(task)[0].name} under "Get weights", or put a weight file into one of the folders that '
                "are searched."
            )
        return find_network(name or there[0], search_folders(self.folders), task)

    def missing(self, task: str) -> list[Published]:
        """What has to be got before the task can be done to a photograph: a network, a detector, both or nothing."""
        needed = [] if self.networks(task) else by_preference(task)[:1]
        if "detector" in OPTIONS_OF[task] and available_detectors(self.folders)["auto"] is not None:
            needed.append(find_published("yunet"))
        return needed


class Engine:
    """The network, the detector and the parser that were used last, and the thread that they run in."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.device = pick_device(places.device)
        self._thread = ThreadPoolExecutor(1, "gpen-network")
        self._kept: dict[str, tuple[Any, Any]] = {}
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
            raise GpenError("The page was ended.")
        return result

    def close(self) -> None:
        """Wait until what the thread is doing is done, and end it; nothing can be called any more."""
        self._closed = True
        self._thread.shutdown(cancel_futures=True)

    def model(self, weights: str, precision: str, task: str) -> Model:
        """The network in the weight file of that name; GpenError where it cannot be used for the task."""
        path = self.places.network(weights, task)
        dtype = pick_dtype(precision, self.device)
        stat = path.stat()
        key = (path, stat.st_mtime_ns, stat.st_size, dtype)
        model: Model = self._keep("model", key, lambda: load_model(path, self.device, dtype))
        return model.for_task(task)

    def detector(self, name: str) -> FaceDetector:
        """The detector of that name; GpenError where it cannot be used."""
        folders, device = self.places.folders, str(self.device)
        detector: FaceDetector = self._keep("detector", name, lambda: make_detector(name, folders, device))
        return detector

    def parser(self, options: Options, task: str) -> FaceParser | None:
        """What the parsed mask needs, None for another mask; GpenError where it cannot be used."""
        if options.mask != "parsed" or "mask" not in OPTIONS_OF[task]:
            return None
        parser: FaceParser = self._keep("parser", "", lambda: make_parser(self.places.folders, str(self.device)))
        return parser

    def guard(self, options: Options, task: str) -> IdentityGuard | None:
        """What keeps faces the same person's; None where it is off, for whatever reason."""
        if task != "restore" or not options.identity_guard:
            return None
        asked = (options.identity_guard, options.identity_action)
        folders, device = self.places.folders, str(self.device)
        guard: IdentityGuard | None = self._keep("guard", asked, lambda: make_guard(options, folders, device))
        return guard

    def _keep(self, what: str, key: Any, make: Callable[[], Any]) -> Any:
        if what not in self._kept or self._kept[what][0] != key:
            if self._kept.pop(what, None) is not None:  # before the new one takes memory
                release(torch.device(self.device))
            made = make()
            if made is None:
                # What it needs may be there for the next photograph.
                return None
            self._kept[what] = (key, made)
        return self._kept[what][1]

"""A network for each face: the smallest that makes faces as large as this one is in the result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..device import is_out_of_memory
from ..weights.checkpoint import Model, inspect

_log = logging.getLogger(__name__)


def title_by_size(sizes: Iterable[int]) -> str:
    """Networks of several sizes for people, such as "GPEN 512, 1024 or 2048 by the size of each face"."""
    *smaller, largest = map(str, sorted(sizes))
    return f"GPEN {', '.join(smaller)} or {largest} by the size of each face"


class NetworksBySize:
    """One or more networks of one task, which are loaded when a face needs them and stay for others.

    Where a device has no memory for one more, those that are not needed at the time make room.

    first: the one that is loaded already. others: the files of the others, of which only the tables of contents are
    read. load, unload: load the network in a file, and let go of it. GpenError where a file cannot be used.
    """

    def __init__(
        self, first: Model, others: Sequence[Path], load: Callable[[Path], Model], unload: Callable[[Path], None]
    ) -> None:
        sizes = [(first.spec.out_size, first.path), *((inspect(path).spec.out_size, path) for path in others)]
        self._by_size = sorted(sizes, key=lambda size_and_path: size_and_path[0])
        self._first = first
        self._load = load
        self._unload = unload
        self._loaded: dict[Path, Model] = {}

    @property
    def sizes(self) -> tuple[int, ...]:
        """Height and width of the faces that each makes, smallest first."""
        return tuple(size for size, _ in self._by_size)

    def for_face(self, pixels: int) -> Model:
        """The smallest network that makes a face of that many pixels or more, else the largest.

        pixels: height and width of the face's crop in the result.
        """
        fitting = (path for size, path in self._by_size if size >= pixels)
        return self._model(next(fitting, self._by_size[-1][1]))

    def _model(self, path: Path) -> Model:
        if path == self._first.path:
            return self._first
        if path not in self._loaded:
            self._loaded[path] = self._load_within_memory(path)
        return self._loaded[path]

    def _load_within_memory(self, path: Path) -> Model:
        try:
            return self._load(path)
        except Exception as error:
            if not is_out_of_memory(error) or not self._loaded:
                raise
            _log.info("No memory for %s beside %s.", path.name, ", ".join(other.name for other in self._loaded))
        # Outside the handler: its traceback keeps the tensors of the failed call alive.
        for other in self._loaded:
            self._unload(other)
        self._loaded.clear()
        return self._load(path)

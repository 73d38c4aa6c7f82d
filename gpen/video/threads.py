"""Threads beside the one that runs the network: one that reads ahead, and one that takes what is done."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_WAIT = 0.1  # seconds after which a waiting thread looks whether it is stopped


@contextmanager
def read_ahead(items: Iterable[_Item], most: int) -> Iterator[Iterator[_Item]]:
    """Yield an iterator over ``items`` that another thread fills, at most ``most`` items ahead.

    What ``items`` raises is raised where its item would be.
    """
    reader = _Reader(items, most)
    try:
        yield reader.taken()
    finally:
        reader.stop()


class _Reader(Generic[_Item]):
    def __init__(self, items: Iterable[_Item], most: int) -> None:
        self._items = items
        self._waiting: queue.Queue[_Item | _Ended] = queue.Queue(most)
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="gpen-film-reader", daemon=True)
        self._thread.start()

    def taken(self) -> Iterator[_Item]:
        while True:
            item = self._waiting.get()
            if not isinstance(item, _Ended):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return

    def stop(self) -> None:
        self._stopped = True
        self._thread.join()

    def _work(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._stopped:
                    return
            self._put(_Ended(None))
        except BaseException as error:
            self._put(_Ended(error))

    def _put(self, item: _Item | _Ended) -> None:
        while not self._stopped:
            try:
                self._waiting.put(item, timeout=_WAIT)
            except queue.Full:
                continue
            return


@dataclass(frozen=True)
class _Ended:
    """Stands after the last item."""

    error: BaseException | None
    """Why there are no more; None where all were read."""


class Sink(Generic[_Item]):
    """Gives items to a function in another thread, in order; at most ``most`` items wait.

    What the function raises is raised by the next :meth:`put`, or by :meth:`close`.
    """

    def __init__(self, take: Callable[[_Item], None], most: int) -> None:
        self._take = take
        self._waiting: queue.Queue[_Item | None] = queue.Queue(most)
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="gpen-film-writer", daemon=True)
        self._thread.start()

    def put(self, item: _Item) -> None:
        """Hand over an item, after waiting until there is room."""
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def close(self) -> None:
        """Wait until everything is taken."""
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End without taking what waits."""
        self._stopped = True
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            item = self._waiting.get()
            if item is None:
                return
            if self._error is not None or self._stopped:
                continue
            try:
                self._take(item)
            except BaseException as error:
                self._error = error

"""Threads that each compute with one CPU.

PyTorch splits an operation among its threads and waits for the last of them. Where another program keeps a CPU busy,
that one is late by a time slice of the system, some milliseconds, at every operation. Many short operations are
therefore better done whole, by threads that fetch the next piece of work when they are done.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Workers:
    """As many threads as PyTorch uses here."""

    def __init__(self) -> None:
        count = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        if count > 1:
            self._pool = ThreadPoolExecutor(count, "gpen-worker")
            together = threading.Barrier(count)
            try:
                list(self._pool.map(_use_one_cpu, [together] * count))
            except BaseException:  # the system gives no more threads: those that wait would wait for ever
                together.abort()
                raise
            # What the workers have set is also what threads to come start with.
            torch.set_num_threads(count)

    def run(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Call ``work`` with each item, in inference mode, and wait until all is done.

        Returns what it returns, in the order of the items, and raises what it raises.
        """

        def inference(item: _Item) -> _Result:
            with torch.inference_mode():
                return work(item)

        return list(map(inference, items) if self._pool is None else self._pool.map(inference, items))


@functools.cache
def shared_workers() -> Workers:
    """The workers of this process, made at the first use."""
    return Workers()


def in_threads(device: torch.device, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Call ``work`` with each item in inference mode: on the CPU in the shared workers, else in this thread.

    Must not be called by a worker. Returns what ``work`` returns, in the order of the items, and raises what it raises.
    """
    if device.type == "cpu":
        return shared_workers().run(work, items)
    with torch.inference_mode():
        return list(map(work, items))


def in_one_thread(device: torch.device, work: Callable[[], _Result]) -> _Result:
    """The same for one call of ``work``: on the CPU for many small operations."""
    (result,) = in_threads(device, lambda _: work(), [None])
    return result


def _use_one_cpu(together: threading.Barrier) -> None:
    """Runs once in each thread: none leaves before all have come."""
    torch.set_num_threads(1)
    together.wait()

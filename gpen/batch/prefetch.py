"""Prefetch pipeline: while the network works on one photo, others are read, searched for faces, and written.

Reading and writing happen in thread pools, finding faces in a thread, and the network and all other computation in the
thread that calls :meth:`PrefetchPipeline.run`. Decoding, encoding, disk access and PyTorch's operations release the
GIL, so threads are enough. A GPU computes what both threads ask of it in turns; neither waits for the other's copies.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol

from ..images import OnSize
from ..restoration.pipeline import OnProgress
from ..restoration.result import RestoredFace
from ..restoration.upscaler import OnTile
from .plan import Job
from .report import PhotoResult
from .stages import LoadedPhoto, ProcessedPhoto

MEMORY_BUDGET = 3 << 29
"""Bytes that all photos in flight may hold together: 1.5 GiB. A single photo may exceed it."""

_MOST_WORKERS = 4


class Stages(Protocol):
    """The stages of a photo, as in :class:`~gpen.batch.stages.PhotoProcessor`."""

    def read(self, job: Job, on_size: OnSize) -> LoadedPhoto | PhotoResult: ...
    def find(self, loaded: LoadedPhoto) -> LoadedPhoto | PhotoResult: ...
    def process(
        self, loaded: LoadedPhoto, on_progress: OnProgress, on_tile: OnTile
    ) -> ProcessedPhoto | PhotoResult: ...
    def write(self, processed: ProcessedPhoto) -> PhotoResult: ...
    def memory(self, pixels: int) -> int: ...


def worker_count(device: str, cores: int) -> int:
    """Number of reader threads, and of writer threads: one would keep a GPU waiting, but not a CPU."""
    return 1 if device == "cpu" else max(1, min(_MOST_WORKERS, cores // 2))


class PrefetchPipeline:
    """Runs the stages of many photos, with ``workers`` reader threads and as many writer threads.

    Files, results and their order are the same as for one photo after the other. At most 2 x workers + 1 photos are in
    flight, holding at most ``memory_budget`` bytes together; a photo larger than that is in flight alone.
    """

    def __init__(self, stages: Stages, workers: int = 1, memory_budget: int = MEMORY_BUDGET) -> None:
        self._stages = stages
        self._workers = workers
        self._budget = MemoryBudget(memory_budget)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._writing: set[Future[PhotoResult]] = set()

    def run(
        self,
        jobs: Iterable[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[PhotoResult], None],
        on_tile: OnTile | None = None,
    ) -> None:
        """Process the photos. Can be called once.

        starts: called when the network is about to start on a photo; returns the progress callback for it. ends: called
        in the order of the jobs, as soon as a photo and all before it are finished. on_tile: called for each background
        tile of the photo that was started last. All callbacks run in this thread. On an exception, KeyboardInterrupt
        above all, photos that are being written are finished and reported before it propagates.
        """
        pending: deque[Future[PhotoResult]] = deque()
        readers = ThreadPoolExecutor(self._workers, "gpen-reader")
        finder = ThreadPoolExecutor(1, "gpen-finder")
        writers = ThreadPoolExecutor(self._workers, "gpen-writer")
        try:
            for number, job, found in self._read_ahead(jobs, readers, finder):
                on_progress = starts(job)
                loaded = found.result()
                if isinstance(loaded, LoadedPhoto):
                    callbacks = _Callbacks(on_progress, on_tile, lambda: _report(pending, ends))
                    processed = self._stages.process(loaded, callbacks.on_progress, callbacks.on_tile)
                    callbacks.raise_error()
                else:
                    processed = loaded
                del loaded, found  # or its pixels stay in memory until the next photo is read
                # Appended before writing begins: the user may interrupt from then on.
                pending.append(Future())
                self._write(number, processed, writers, pending[-1])
                del processed
                _report(pending, ends)
                while pending and (len(pending) > self._workers or self._budget.is_full):
                    _report(pending, ends, wait=1)
            _report(pending, ends, wait=len(pending))
        except BaseException:
            with self._lock:
                self._stopped.set()
            self._budget.close()
            readers.shutdown(wait=False, cancel_futures=True)
            finder.shutdown(wait=False, cancel_futures=True)
            writers.shutdown(cancel_futures=True)
            # shutdown does not wait for a thread whose start was interrupted.
            concurrent.futures.wait(self._writing.copy())
            for future in pending:
                if future.done() and future.exception() is None:
                    with contextlib.suppress(OSError):  # stdout may be closed
                        ends(future.result())
            raise
        readers.shutdown()
        finder.shutdown()
        writers.shutdown()

    def _read_ahead(
        self, jobs: Iterable[Job], readers: ThreadPoolExecutor, finder: ThreadPoolExecutor
    ) -> Iterator[tuple[int, Job, Future[LoadedPhoto | PhotoResult]]]:
        numbered = enumerate(jobs)
        ahead: deque[tuple[int, Job, Future[LoadedPhoto | PhotoResult]]] = deque()
        while True:
            for number, job in islice(numbered, self._workers + 1 - len(ahead)):
                ahead.append((number, job, finder.submit(self._find, readers.submit(self._read, number, job))))
            if not ahead:
                return
            yield ahead.popleft()

    def _read(self, number: int, job: Job) -> LoadedPhoto | PhotoResult:
        budget, stages = self._budget, self._stages
        try:
            budget.enter(number, _file_size(job))
            return stages.read(job, lambda width, height: budget.settle(number, stages.memory(width * height)))
        finally:
            budget.settle(number)

    def _find(self, read: Future[LoadedPhoto | PhotoResult]) -> LoadedPhoto | PhotoResult:
        loaded = read.result()
        return self._stages.find(loaded) if isinstance(loaded, LoadedPhoto) else loaded

    def _write(
        self,
        number: int,
        processed: ProcessedPhoto | PhotoResult,
        writers: ThreadPoolExecutor,
        written: Future[PhotoResult],
    ) -> None:
        if isinstance(processed, ProcessedPhoto):
            self._budget.add(number, processed.crop_bytes)
            writers.submit(self._write_now, number, processed, written)
        else:
            self._budget.leave(number)
            written.set_result(processed)

    def _write_now(self, number: int, processed: ProcessedPhoto, written: Future[PhotoResult]) -> None:
        try:
            with self._lock:
                if self._stopped.is_set():
                    raise _Stopped
                self._writing.add(written)
            result = self._stages.write(processed)
        except BaseException as error:
            self._stopped.set()
            self._budget.leave(number)
            written.set_exception(error)
        else:
            self._budget.leave(number)
            written.set_result(result)
        finally:
            self._writing.discard(written)


class _Stopped(BaseException):
    """Not an Exception, so that no stage mistakes it for the failure of a photo."""


class MemoryBudget:
    """Admits photos in the order of their numbers while they fit together; a single one always fits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[int, int] = {}
        self._turn = 0
        self._open = True
        self._changed = threading.Condition()

    def enter(self, number: int, size: int) -> None:
        """Hold ``size`` bytes, after waiting until earlier photos have settled and it fits."""
        with self._changed:
            self._wait(lambda: self._turn == number and self._fits(number, size))
            self._held[number] = size

    def settle(self, number: int, size: int = 0) -> None:
        """Hold ``size`` more bytes, after waiting until they fit; then it is the next photo's turn.

        Calls after the first have no effect.
        """
        with self._changed:
            if self._turn != number:
                return
            self._wait(lambda: self._fits(number, self._held[number] + size))
            self._held[number] += size
            self._turn += 1
            self._changed.notify_all()

    def add(self, number: int, size: int) -> None:
        """Hold ``size`` more bytes without waiting, even above the budget."""
        with self._changed:
            self._held[number] += size

    def leave(self, number: int) -> None:
        """Release what a photo holds."""
        with self._changed:
            del self._held[number]
            self._changed.notify_all()

    def close(self) -> None:
        """Admit no more photos; stop the threads that wait."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    @property
    def is_full(self) -> bool:
        """Whether photos hold more than the budget."""
        with self._changed:
            return sum(self._held.values()) > self._size

    def _fits(self, number: int, size: int) -> bool:
        others = [held for other, held in self._held.items() if other != number]
        return not others or sum(others) + size <= self._size

    def _wait(self, until: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: not self._open or until())
        if not self._open:
            raise _Stopped


def _report(pending: deque[Future[PhotoResult]], ends: Callable[[PhotoResult], None], wait: int = 0) -> None:
    """Report finished photos up to the first unfinished one, after waiting for the first ``wait``."""
    while pending and (wait > 0 or pending[0].done()):
        ends(pending[0].result())
        pending.popleft()
        wait -= 1


class _Callbacks:
    """Shows progress, and reports finished photos, while the network works on another.

    An exception stops the network and is kept for :meth:`raise_error`: the stage would mistake it for the failure of
    its photo.
    """

    def __init__(self, on_progress: OnProgress, on_tile: OnTile | None, report: Callable[[], None]) -> None:
        self._on_progress = on_progress
        self._on_tile = on_tile
        self._report = report
        self._error: Exception | None = None

    def on_progress(self, done: int, total: int, face: RestoredFace | None) -> bool | None:
        return self._guarded(lambda: self._on_progress(done, total, face))

    def on_tile(self, done: int, total: int) -> bool | None:
        return self._guarded(lambda: self._on_tile and self._on_tile(done, total))

    def _guarded(self, show: Callable[[], bool | None]) -> bool | None:
        try:
            self._report()
            return show()
        except Exception as error:
            self._error = error
            return False

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _file_size(job: Job) -> int:
    try:
        return job.photo.path.stat().st_size
    except OSError:  # reading the photo will say what is wrong
        return 0

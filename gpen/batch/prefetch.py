"""Prefetch pipeline: while the network works on one photo, the next is read and the one before is written.

Threads read and write; the network, and everything else that computes, stays in the thread that calls
:meth:`PrefetchPipeline.run`. Decoding, encoding and the disk leave Python's lock alone, so threads are enough. PyTorch
keeps a team of threads for each thread that calls it: as the readers and writers never do, there is one team,
and on a CPU at most two more threads want a core, for the short time that decoding and encoding take.
"""

from __future__ import annotations

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
"""Bytes that all photos in flight may hold together, unless there is only one: 1.5 GiB."""

_MOST_WORKERS = 4


class Stages(Protocol):
    """What is done with a photo, as :class:`~gpen.batch.stages.PhotoProcessor` does it."""

    def read(self, job: Job, on_size: OnSize) -> LoadedPhoto | PhotoResult: ...
    def restore(
        self, loaded: LoadedPhoto, on_progress: OnProgress, on_tile: OnTile
    ) -> ProcessedPhoto | PhotoResult: ...
    def write(self, made: ProcessedPhoto) -> PhotoResult: ...
    def memory(self, pixels: int) -> int: ...


def worker_count(device: str, cores: int) -> int:
    """Threads that read, and as many that write: a GPU is fast enough to wait for one, a CPU is not."""
    return 1 if device == "cpu" else max(1, min(_MOST_WORKERS, cores // 2))


class PrefetchPipeline:
    """Restores photos with as many reading and as many writing threads as ``workers`` says.

    Results, entries and their order are those of one photo after the other. At most 2 x workers + 1
    photos are in flight, and no more than ``memory_budget`` bytes of them, or a single one that is larger.
    """

    def __init__(self, stages: Stages, workers: int = 1, memory_budget: int = MEMORY_BUDGET) -> None:
        self._stages = stages
        self._workers = workers
        self._budget = MemoryBudget(memory_budget)
        self._stopped = threading.Event()

    def run(
        self,
        jobs: Iterable[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[PhotoResult], None],
        on_tile: OnTile | None = None,
    ) -> None:
        """Restore the photos; once only.

        starts: called when the network is about to begin with a photo, for what shows its progress. ends:
        called in the order of the jobs, as soon as a photo and those before it are finished. on_tile: called
        while the photo that was started last gets its background. All are called by this thread. An exception,
        KeyboardInterrupt above all, lets what is being written be finished and reported before it passes through.
        """
        pending: deque[Future[PhotoResult]] = deque()
        readers = ThreadPoolExecutor(self._workers, "gpen-reader")
        writers = ThreadPoolExecutor(self._workers, "gpen-writer")
        try:
            for number, job, read in self._read_ahead(jobs, readers):
                on_progress = starts(job)
                loaded = read.result()
                if isinstance(loaded, LoadedPhoto):
                    meanwhile = _Meanwhile(on_progress, on_tile, lambda: _report(pending, ends))
                    made = self._stages.restore(loaded, meanwhile.on_progress, meanwhile.on_tile)
                    meanwhile.pass_on()
                else:
                    made = loaded
                del loaded, read  # or its pixels wait here until the next photo is read
                # Before the writing begins: the user may interrupt as soon as it has.
                pending.append(Future())
                self._write(number, made, writers, pending[-1])
                del made
                _report(pending, ends)
                while pending and (len(pending) > self._workers or self._budget.is_full):
                    _report(pending, ends, wait=1)
            _report(pending, ends, wait=len(pending))
        except BaseException:
            self._stopped.set()
            self._budget.close()
            readers.shutdown(wait=False, cancel_futures=True)
            writers.shutdown(cancel_futures=True)
            for future in pending:
                if future.done() and future.exception() is None:
                    with contextlib.suppress(OSError):  # nobody may listen any more
                        ends(future.result())
            raise
        readers.shutdown()
        writers.shutdown()

    def _read_ahead(
        self, jobs: Iterable[Job], readers: ThreadPoolExecutor
    ) -> Iterator[tuple[int, Job, Future[LoadedPhoto | PhotoResult]]]:
        numbered = enumerate(jobs)
        ahead: deque[tuple[int, Job, Future[LoadedPhoto | PhotoResult]]] = deque()
        while True:
            for number, job in islice(numbered, self._workers + 1 - len(ahead)):
                ahead.append((number, job, readers.submit(self._read, number, job)))
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

    def _write(
        self, number: int, made: ProcessedPhoto | PhotoResult, writers: ThreadPoolExecutor, written: Future[PhotoResult]
    ) -> None:
        if isinstance(made, ProcessedPhoto):
            self._budget.add(number, made.crop_bytes)
            writers.submit(self._written, number, made, written)
        else:
            self._budget.leave(number)
            written.set_result(made)

    def _written(self, number: int, made: ProcessedPhoto, written: Future[PhotoResult]) -> None:
        try:
            if self._stopped.is_set():
                raise _Stopped
            entry = self._stages.write(made)
        except BaseException as error:
            self._stopped.set()
            self._budget.leave(number)
            written.set_exception(error)
        else:
            self._budget.leave(number)
            written.set_result(entry)


class _Stopped(BaseException):
    """No Exception, so that nobody takes it for damage of a photo."""


class MemoryBudget:
    """Lets photos in, in the order of their numbers, as long as they fit together; one always fits alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[int, int] = {}
        self._turn = 0
        self._open = True
        self._changed = threading.Condition()

    def enter(self, number: int, size: int) -> None:
        """Wait until all earlier ones have settled and there is room."""
        with self._changed:
            self._wait(lambda: self._turn == number and self._fits(number, size))
            self._held[number] = size

    def settle(self, number: int, size: int = 0) -> None:
        """Wait until there is room for ``size`` more; then it is the next one's turn. The first call counts."""
        with self._changed:
            if self._turn != number:
                return
            self._wait(lambda: self._fits(number, self._held[number] + size))
            self._held[number] += size
            self._turn += 1
            self._changed.notify_all()

    def add(self, number: int, size: int) -> None:
        """Hold more, whether there is room or not."""
        with self._changed:
            self._held[number] += size

    def leave(self, number: int) -> None:
        with self._changed:
            del self._held[number]
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more: who waits is stopped."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    @property
    def is_full(self) -> bool:
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
    """Report those that are finished, up to the first that is not; wait for the first ``wait`` of them."""
    while pending and (wait > 0 or pending[0].done()):
        ends(pending[0].result())
        pending.popleft()
        wait -= 1


class _Meanwhile:
    """Shows progress, and reports others, while the network works on a photo.

    An exception stops the network and waits for pass_on: restoring would take it for damage of its photo.
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

    def pass_on(self) -> None:
        if self._error is not None:
            raise self._error


def _file_size(job: Job) -> int:
    try:
        return job.photo.path.stat().st_size
    except OSError:  # reading it will say what is wrong
        return 0

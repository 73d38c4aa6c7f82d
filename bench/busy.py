"""Subjects for :mod:`bench.worker`: a run alone, and beside a program that keeps one core busy.

With two cores, a run that shares its work out evenly takes up to twice as long beside such a program, because half of
the work gets half a core. What exceeds that is waiting: threads that spin, and threads that wait for one that is not
running.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from . import frames
from .measure import seconds
from .photos import DETECTORS
from .worker import Measure

_SPIN = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [int(sys.argv[1])])
while True:
    pass
"""


def photo(weights: str, own_threads: bool = True) -> Measure:
    """One photo of 1 megapixel with one face, from decoded to decoded, in float32.

    own_threads: as our commands run it; False: as a program that uses the package as a library does.
    """
    if own_threads:
        from gpen.threads import let_threads_sleep

        let_threads_sleep()
    import gpen

    folder = frames.temporary_folder()
    picture = gpen.read_picture(frames.write_frames(folder / "photo", ".png", 1) / "frame00000.png", 2).photo
    model = gpen.load_model(weights)
    detector = gpen.make_detector("yunet", [DETECTORS])

    def run() -> None:
        assert len(gpen.restore(picture, model, detector).faces) == 1

    return _both(run)


def command(suffix: str, number: int, *flags: str) -> Measure:
    """`gpen restore` on the frames of a video, with a network that returns its input."""
    return _both(frames.command(suffix, number, *flags))


def _both(run: Callable[[], Any]) -> Measure:
    run()

    def measure() -> dict[str, Any]:
        alone = seconds(run)
        with busy_core():
            return {"alone": alone, "beside": seconds(run)}

    return measure


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process computes on one core, the first that this process may use, until the block ends."""
    first = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    process = subprocess.Popen([sys.executable, "-c", _SPIN, str(first)])
    try:
        yield
    finally:
        process.kill()
        process.wait()

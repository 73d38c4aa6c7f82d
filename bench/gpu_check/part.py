"""A part of the check: what it is asked for, the figures that it yields, and the process that it runs in.

Each part has a process of its own, so that a crash, a hang or a broken CUDA context takes only that part's remaining
figures with it.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LAST_LINES = 12
"""Of a traceback, kept in the results."""


@dataclass(frozen=True)
class Setting:
    """What every part is asked for."""

    device: str = "cuda"
    """"cuda", or "cpu" where there is none; then times mean nothing, and only the code is tested."""
    quick: bool = False
    """Tiny networks and few calls."""
    shared: Path | None = None
    """The folder with photos, detector weights and references; None where there is none."""

    def calls(self, full: int) -> int:
        """How many calls to make where ``full`` are right."""
        return min(full, 2) if self.quick else full


@dataclass(frozen=True)
class Figure:
    """One measured value."""

    name: str
    """Unique among all parts, such as "512/float16/call"."""
    value: float | None
    """None where it cannot be measured, which ``note`` explains."""
    unit: str = "ms"
    note: str = ""
    bound: float | None = None
    """The largest value that is correct; a part fails that yields a larger one."""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_wrong(self) -> bool:
        """Whether it exceeds its bound; NaN does."""
        return self.bound is not None and self.value is not None and not self.value <= self.bound


Measure = Callable[[Setting], Iterator[Figure]]


@dataclass(frozen=True)
class Part:
    """One part of the check."""

    name: str
    title: str
    seconds: float
    """Its share of the time; after that it is ended, and keeps the figures that it has yielded."""
    measure: Measure


@dataclass
class Outcome:
    """What became of a part."""

    status: str
    """"done", "failed", "cut off" or "not run"."""
    seconds: float = 0.0
    error: str = ""
    figures: list[Figure] = field(default_factory=list)


def run(part: Part, setting: Setting, limit: float) -> Outcome:
    """Run a part in a process of its own for at most ``limit`` seconds."""
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(part.measure, setting, sender), daemon=True)
    start = time.monotonic()
    process.start()
    sender.close()
    outcome = Outcome("done")
    while True:
        if not receiver.poll(max(0.0, limit - (time.monotonic() - start))):
            process.kill()
            outcome.status, outcome.error = "cut off", f"was ended after {limit:.0f} s"
            break
        try:
            received = receiver.recv()
        except EOFError:
            break
        if isinstance(received, Figure):
            outcome.figures.append(received)
        else:
            outcome.status, outcome.error = "failed", received
    process.join()
    outcome.seconds = time.monotonic() - start
    if process.exitcode and outcome.status == "done":
        outcome.status, outcome.error = "failed", f"its process ended with the exit code {process.exitcode}"
    if outcome.status == "done" and (wrong := [figure for figure in outcome.figures if figure.is_wrong]):
        outcome.status = "failed"
        outcome.error = "; ".join(f"{one.name} is {one.value:.4g}, at most {one.bound:g} is correct" for one in wrong)
    return outcome


def _context() -> Any:
    if sys.platform == "win32" or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Importing PyTorch takes seconds; once is enough. It does not touch the GPU.
    context.set_forkserver_preload(["torch", "numpy", "cv2"])
    return context


def _child(measure: Measure, setting: Setting, sender: Connection) -> None:
    try:
        for figure in measure(setting):
            sender.send(figure)
    except Exception:
        sender.send("\n".join(traceback.format_exc().splitlines()[-LAST_LINES:]))
    finally:
        sender.close()

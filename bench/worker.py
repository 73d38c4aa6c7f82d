"""A process for each subject of a measurement: it gets ready, then measures on request.

Between measurements it waits without using the CPU. So several subjects can be measured in turns while the speed of the
machine drifts, each with its own memory and malloc settings.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

Measure = Callable[[], dict[str, Any]]
"""What a subject returns when it is ready: each call takes one measurement."""


class WorkerError(RuntimeError):
    """The process ended before it answered; the reason is on standard error."""


class Worker:
    """Runs a subject, ``module.function`` of this package, with JSON-serialisable arguments."""

    def __init__(self, subject: str, *arguments: Any, environment: Mapping[str, str] | None = None) -> None:
        self._subject = subject
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", subject, json.dumps(arguments)],
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._read()
        except WorkerError:
            self.close()
            raise

    def measure(self) -> dict[str, Any]:
        """Take one measurement."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self._subject} ended with the exit code {self._process.wait()}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Stop the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def measured_once(subject: str, *arguments: Any) -> dict[str, Any]:
    """One measurement in a process of its own."""
    with Worker(subject, *arguments) as worker:
        return worker.measure()


def in_turns(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Measure each once per round; every other round runs in reverse, so that a steady drift cancels out."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    for number in range(rounds):
        for name in list(workers)[:: -1 if number % 2 else 1]:
            taken[name].append(workers[name].measure())
    return taken


def serve(subject: str, arguments: list[Any]) -> None:
    """Answer each line of standard input with a measurement."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print must not interfere with the answers
    module, function = subject.rsplit(".", 1)
    measure: Measure = getattr(importlib.import_module(f".{module}", __package__), function)(*arguments)
    print("{}", file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))

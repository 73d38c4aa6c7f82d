"""What a row of the performance table is, and what rows share: files, earlier measurements, ratios."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gpen.threads import thread_variables

from ..measure import KEEP_FREED_MEMORY
from ..worker import Worker, in_turns, measured_once

ROUNDS = 3
MORE_ROUNDS = 5
"""For rounds that take seconds."""
MOST_ROUNDS = 15
"""For rounds that take less than a second."""

AS_OUR_COMMANDS = ("geometry", "photos", "detection", "parsing")
"""Modules whose subjects run with the threads of our commands; others run as in a program that uses the package."""

_Measured = TypeVar("_Measured")

Rounds = dict[str, list[dict[str, Any]]]
"""The measurements of each subject, round by round."""


@dataclass(frozen=True)
class Taken:
    """The measurement of a row."""

    figures: list[float] = field(default_factory=list)
    """One for each round; none if the row cannot be measured here."""
    why: str = ""
    """Why it cannot be measured here, or what else there is to say about the figure."""
    failed: str = ""
    """What makes it fail, whatever the figures."""
    details: dict[str, Any] = field(default_factory=dict)
    """More figures, for the JSON file."""
    commit: str = ""
    """The commit that was measured, where that was not the present one."""


class Files:
    """Weight files and graphs with random numbers, written when first needed; and measurements that rows share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: dict[str, Any] = {}

    def once(self, name: str, measure: Callable[[], _Measured]) -> _Measured:
        """A measurement of this name that several rows share, taken when it is first needed."""
        if name not in self._taken:
            self._taken[name] = measure()
        measured: _Measured = self._taken[name]
        return measured

    def beside_convolutions(self, size: int) -> Rounds:
        """Our network and its bare convolutions in turns."""

        def measure() -> Rounds:
            ours, bare = ("networks.ours", self.weights(size), size, "float32"), ("networks.bare", size, "float32")
            with workers(ours=ours, bare=bare) as started:
                return in_turns(started, ROUNDS if size > 512 else MORE_ROUNDS)

        return self.once(f"bare-{size}", measure)

    def weights(self, size: int) -> str:
        """A .safetensors file of the published network of this size."""
        return self._made(f"GPEN-BFR-{size}.safetensors", lambda path: measured_once("networks.write", size, path))

    def graph(self, size: int) -> str:
        """The textbook formulation with the same weights, as an ONNX file."""
        weights = self.weights(size)
        return self._made(f"{size}.onnx", lambda path: measured_once("networks.export", weights, size, path))

    def output(self, name: str) -> Path:
        """A file for the output of a formulation."""
        return self._folder / f"{name}.npy"

    def _made(self, name: str, make: Callable[[str], Any]) -> str:
        path = self._folder / name
        if not path.exists():
            make(str(path))
        return str(path)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    """Its name on the command line."""
    title: str
    """What is measured."""
    target: float | None
    """The largest figure that meets it; None if the figures are for information."""
    unit: str
    """Unit of figure and target; × for a ratio, nothing for a count."""
    take: Callable[[Files], Taken]
    """Measures it."""


@contextlib.contextmanager
def workers(**subjects: tuple[Any, ...]) -> Iterator[dict[str, Worker]]:
    """A process for each subject, given as its name and its arguments."""
    with contextlib.ExitStack() as stack:
        started = {}
        for name, (subject, *arguments) in subjects.items():
            started[name] = stack.enter_context(Worker(subject, *arguments, environment=_environment(subject)))
        yield started


def _environment(subject: str) -> dict[str, str]:
    """Environment variables for the process of a subject."""
    if subject == "networks.bare":
        return KEEP_FREED_MEMORY
    return thread_variables() if subject.split(".")[0] in AS_OUR_COMMANDS else {}


def ratios(taken: Rounds, above: str, below: str, key: str = "seconds") -> list[float]:
    """Two subjects' ratio in each round."""
    return [one[key] / other[key] for one, other in zip(taken[above], taken[below], strict=True)]


def details(taken: Rounds) -> dict[str, Any]:
    """For each subject, the rounds of each key as a list."""
    return {name: columns(rounds) for name, rounds in taken.items()}


def columns(rounds: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The rounds of each key as a list."""
    return {key: [one[key] for one in rounds] for key in rounds[0]}

"""A process that gives inputs to a target: ``python -m tests.fuzz.child TARGET FOLDER FIRST COUNT``, or ``... FILE``.

It writes a line of JSON for each input that did what none may do, and at the end one that counts the outcomes. The
file ``now`` in the folder names the input that it is at, for whoever finds that it ended early.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from tests.fuzz.replay import calls_of
from tests.fuzz.runner import MOST_SHOWN, Runner
from tests.fuzz.targets import Calls, Target


def main(name: str, folder: Path, inputs: list[str]) -> None:
    """Inputs FIRST to FIRST + COUNT - 1, each made from its number and the target's name alone, or one file."""
    runner = Runner(name, folder)

    for shown in _names(inputs):
        (folder / "now").write_text(shown)
        make = partial(_of_file if len(inputs) == 1 else _of_number, runner.target, shown)
        runner.tell_escapes(shown, runner.give(make))
        if runner.escapes >= MOST_SHOWN:
            break
    runner.tell_outcomes()


def _of_number(target: Target, number: str, folder: Path) -> Calls:
    return target.make(Random(f"{target.name} {number}"), folder)


def _of_file(target: Target, file: str, folder: Path) -> Calls:
    return calls_of(target, Path(file).read_bytes(), folder)


def _names(inputs: list[str]) -> Iterator[str]:
    if len(inputs) == 1:
        return iter(inputs)
    first, count = map(int, inputs)
    return map(str, range(first, first + count))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])

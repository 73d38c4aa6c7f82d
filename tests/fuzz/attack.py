"""Gives inputs to a target in a process of its own, and tells what came of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fuzz.replay import kept
from tests.fuzz.runner import MOST_SHOWN
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1800  # seconds: only for what waits for ever, since the limit of processor time is the oracle's


@dataclass
class Outcome:
    """What came of a target's inputs."""

    escapes: dict[str, str] = field(default_factory=dict)
    """By the number of the input, or by the file that it was kept in, what it did that none may do."""
    counts: Counter[str] = field(default_factory=Counter)
    """Calls by the name of the error that they raised, "" for none."""
    megabytes: int = 0
    """The most memory that the process had."""


def assert_no_escape(name: str) -> None:
    """Give a target the inputs of its test; skips where a package that it needs is missing."""
    target = TARGETS[name]
    if target.missing:
        pytest.skip(f"needs the package {target.missing[0]}")
    outcome = attack(name, 0, target.inputs)
    shown = "\n".join(f"{name} {number}: {what}" for number, what in outcome.escapes.items())
    assert not outcome.escapes, f"{shown}\nTo see one again: python -m tests.fuzz {name} NUMBER"
    assert outcome.counts.total() >= target.inputs
    assert len(outcome.counts) > 1  # some are refused
    print(name, dict(outcome.counts), outcome.megabytes, "MB")


def attack(name: str, first: int, count: int) -> Outcome:
    """Give inputs ``first`` to ``first + count - 1`` to a target. A process that an input ends is started anew."""
    outcome, end = Outcome(), first + count
    while first < end and len(outcome.escapes) < MOST_SHOWN:
        with _process("child", name, [first, end - first], outcome) as (ended, why):
            if ended is None:
                break
            number = ended.read_text()
            outcome.escapes[number] = why
            first = int(number) + 1
    return outcome


def again(name: str, number_or_file: str) -> Outcome:
    """Give one input to a target once more."""
    if number_or_file.isdigit():
        return attack(name, int(number_or_file), 1)
    outcome = Outcome()
    with _process("child", name, [Path(number_or_file).resolve()], outcome) as (ended, why):
        if ended is not None:
            outcome.escapes[number_or_file] = why
    return outcome


def search(name: str, seconds: float, folder: Path) -> Outcome:
    """Search for inputs by coverage. folder: keeps what was found, for the next search; in ``escapes`` what escaped."""
    outcome, end = Outcome(), time.monotonic() + seconds
    corpus, escapes = folder / "corpus" / name, folder / "escapes"
    while (left := end - time.monotonic()) > 0 and len(outcome.escapes) < MOST_SHOWN:
        with _process("guided", name, [left, corpus, escapes], outcome) as (ended, why):
            if ended is not None:
                outcome.escapes[kept(ended.read_bytes(), escapes, name).name] = why
    return outcome


@contextlib.contextmanager
def _process(module: str, name: str, arguments: list[object], outcome: Outcome) -> Iterator[tuple[Path | None, str]]:
    """Run a process to its end. If an input ended it: the file that tells which one, and how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", f"tests.fuzz.{module}", name, folder, *map(str, arguments)]
        run = _run(command, {**os.environ, "OMP_NUM_THREADS": "1", "GPEN_CACHE": folder})
        for line in run.stdout.splitlines():
            _add(outcome, json.loads(line))
        now = Path(folder) / "now"
        if run.returncode == 0:
            yield None, ""
        elif not now.exists():
            raise RuntimeError(f"The target {name} cannot be made ready:\n{run.stderr[-3000:]}")
        else:
            yield now, f"ended the process with {run.returncode}: {run.stderr[-1500:]}"


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        return subprocess.CompletedProcess(command, -1, said.decode() if isinstance(said, bytes) else said, "waits")


def _add(outcome: Outcome, line: dict[str, object]) -> None:
    if "escape" in line:
        outcome.escapes[str(line["input"])] = str(line["escape"])
    else:
        counts = line["outcomes"]
        assert isinstance(counts, dict)
        outcome.counts.update(counts)
        outcome.megabytes = max(outcome.megabytes, int(str(line["megabytes"])))

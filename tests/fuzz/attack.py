"""Runs a target's inputs in a process of its own, and tells what came of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1800  # seconds: only for what waits for ever, since the limit of processor time is the oracle's


@dataclass
class Outcome:
    """What came of a target's inputs."""

    escapes: dict[int, str] = field(default_factory=dict)
    """By the number of the input, what it did that none may do."""
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
    while first < end and len(outcome.escapes) < 5:
        with tempfile.TemporaryDirectory() as folder:
            run = _started(name, first, end - first, Path(folder))
            for line in run.stdout.splitlines():
                _add(outcome, json.loads(line))
            if run.returncode == 0:
                break
            now = Path(folder) / "now"
            if not now.exists():
                raise RuntimeError(f"The target {name} cannot be made ready:\n{run.stderr[-3000:]}")
            ended = int(now.read_text())
            outcome.escapes[ended] = f"ended the process with {run.returncode}: {run.stderr[-1500:]}"
            first = ended + 1
    return outcome


def _started(name: str, first: int, count: int, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.child", name, str(first), str(count), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GPEN_CACHE": str(folder)}
    try:
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        return subprocess.CompletedProcess(command, -1, said.decode() if isinstance(said, bytes) else said, "waits")


def _add(outcome: Outcome, line: dict[str, object]) -> None:
    if "escape" in line:
        outcome.escapes[int(str(line["number"]))] = str(line["escape"])
    else:
        counts = line["outcomes"]
        assert isinstance(counts, dict)
        outcome.counts.update(counts)
        outcome.megabytes = max(outcome.megabytes, int(str(line["megabytes"])))

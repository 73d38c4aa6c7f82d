"""Measuring in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.worker import ROOT, WorkerError, in_turns, measured_once


class Counted:
    """Stands for a worker: notes when it was asked."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self._name, self._asked = name, asked

    def measure(self) -> dict[str, int]:
        self._asked.append(self._name)
        return {"place": len(self._asked)}


def test_every_other_round_goes_backwards() -> None:
    asked: list[str] = []
    taken = in_turns({name: Counted(name, asked) for name in "ab"}, 3)  # type: ignore[misc]
    assert "".join(asked) == "abbaab"
    assert taken == {"a": [{"place": 1}, {"place": 4}, {"place": 5}], "b": [{"place": 2}, {"place": 3}, {"place": 6}]}


def test_a_process_that_breaks_down_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerError, match=r"startup\.loading ended with the exit code 1"):
        measured_once("startup.loading", "load_file", "absent.safetensors")
    assert "absent.safetensors" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs a system that forgets a process's peak")
def test_memory_is_the_peak_above_what_was_held_before() -> None:
    code = """
import numpy as np
from bench.measure import PeakMemory
np.ones(100_000_000, np.uint8)
memory = PeakMemory()
np.ones(50_000_000, np.uint8)
print(memory.above())
"""
    # In a process of its own: this one may hold freed memory that is used again.
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) == pytest.approx(50e6, rel=0.05)

"""The threads that each compute with one CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT_OF_THREADS = """
import threading, torch
really = threading.Thread.start
def start(thread):
    if thread.name == "gpen-worker_2":
        raise RuntimeError("can't start new thread")
    really(thread)
threading.Thread.start = start
torch.set_num_threads(4)
from gpen.faces.workers import shared_workers
try:
    shared_workers()
except RuntimeError as error:
    print(error)
threading.Thread.start = really
print(shared_workers().run(lambda number: 2 * number, range(3)), torch.get_num_threads())
"""


def test_too_few_threads_are_an_error_and_let_the_process_end() -> None:
    """Those that wait for the others would wait for ever, and the interpreter for them."""
    run = subprocess.run(
        [sys.executable, "-c", SHORT_OF_THREADS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["can't start new thread", "[0, 2, 4] 4"]

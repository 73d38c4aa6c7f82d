"""Twice as much of anything takes at most three times as long, and three times as much memory."""

from __future__ import annotations

import contextlib
import importlib.util
import time
import tracemalloc
from pathlib import Path

import pytest

from gpen.errors import GpenError
from tests.fuzz.growing import GROWING, Call

_MOST = 3.0
_TRIES = 4
_TOO_SHORT = 0.02  # seconds, to be compared
_SPARE = 1 << 20  # bytes


def seconds(call: Call) -> float:
    """Of the processor: others on the machine do not count."""
    begin = time.process_time()
    with contextlib.suppress(GpenError):
        call()
    return time.process_time() - begin


def peak(call: Call) -> int:
    """Bytes at most."""
    tracemalloc.start()
    try:
        seconds(call)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", GROWING)
def test_twice_as_much_takes_at_most_three_times_as_long(what: str, tmp_path: Path) -> None:
    if "graph" in what or "operations" in what or "sums" in what:
        pytest.importorskip("onnx")
    size, make = GROWING[what]
    folders = [tmp_path / "once", tmp_path / "twice"]
    for folder in folders:
        folder.mkdir()
    once, twice = (make(size * times, folder) for times, folder in zip((1, 2), folders, strict=True))
    seconds(once)  # imports
    assert peak(twice) <= _MOST * peak(once) + _SPARE
    # Of what is quadratic no try is fast enough; of what is not, a busy machine slows down some.
    tried = [(seconds(once), seconds(twice)) for _ in range(_TRIES)]
    assert any(long <= _MOST * max(short, _TOO_SHORT) for short, long in tried), tried


def test_the_packages_that_the_inputs_need_are_in_the_environment_of_the_tests() -> None:
    """Where one is missing, a part of these tests is skipped, which must not go unnoticed."""
    needed = ("onnx", "onnxruntime", "spandrel", "imagecodecs", "pillow_heif")
    assert [package for package in needed if importlib.util.find_spec(package) is None] == []

"""Inputs that a search by coverage keeps do again what they did when they were found."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.attack import again
from tests.fuzz.mutators import changed_json_text, zip_of
from tests.fuzz.replay import Replayed, calls_of, kept
from tests.fuzz.targets import TARGETS


def test_numbers_come_from_the_bytes_alone() -> None:
    data = Random(0).randbytes(300)
    once, twice = (changed_json_text(Replayed(data), b'{"a": [1, 2, {"b": 3}], "c": 4}') for _ in range(2))
    assert once == twice
    first = [Replayed(bytes([number]) * 8).randrange(100) for number in range(256)]
    assert len(set(first)) > 50


def test_bytes_that_are_used_up_go_on_as_zeros() -> None:
    rng = Replayed(b"")
    assert (rng.random(), rng.randrange(7), rng.choice("abc"), rng.sample(range(5), 2)) == (0.0, 0, "a", [0, 4])


def test_the_same_file_makes_the_same_input(tmp_path: Path) -> None:
    calls_of(TARGETS["texts"], data := Random(1).randbytes(2000), tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for path in tmp_path.glob("*.json"):
        path.unlink()
    calls_of(TARGETS["texts"], data, tmp_path)
    assert made == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
def test_a_kept_file_is_given_to_its_target(tmp_path: Path) -> None:
    good = kept(zip_of([("a.png", b"picture")]), tmp_path / "kept", "uploads")
    bad = kept(b"no zip", tmp_path / "kept", "uploads")
    assert (again("uploads", str(good)).counts, again("uploads", str(bad)).counts) == ({"": 1}, {"PhotoError": 1})
    assert again("uploads", str(tmp_path / "none")).escapes != {}

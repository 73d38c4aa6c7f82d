"""A film that is killed or interrupted at any moment: nothing half is seen, and the next run makes the same frames."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV")

from gpen.faces.faces_file import FilmFaces, FrameFaces, write_faces
from gpen.video.work import WorkFolder
from tests.commands import upright_face
from tests.faults.children import Children, Fault
from tests.faults.conftest import assert_plain, report_of
from tests.faults.test_killed import moments
from tests.video.clips import Clip, Seen, look, make

FRAMES = 48
"""Two segments of four seconds."""
MOMENTS = 4
WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True)
class Film:
    """A film, how to restore it, and what an undisturbed run makes."""

    command: tuple[object, ...]
    frames: Seen
    report: dict[str, Any]
    events: int


def picture(number: int) -> np.ndarray:
    """Another one for each frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x + number, 2 * y, x + y], axis=2).astype(np.uint8)


def entry(out: Path) -> dict[str, Any]:
    (found,) = json.loads(report_of(out).read_text())
    return {**found, "seconds": 0, "output": ""}


def command_for(film: Film, out: Path) -> list[object]:
    return [*film.command, "-o", out, "--report", report_of(out)]


@pytest.fixture(scope="module")
def film(children: Children, weights: Path, folder: Path) -> Film:
    source = make(folder / "film.mp4", Clip(frames=FRAMES, steps=(15000,), picture=picture, sounds=1))
    frames = tuple(FrameFaces(n, None, (upright_face(20 + n % 5, 12, 16),)) for n in range(FRAMES))
    write_faces(folder / "film.json", [], [FilmFaces(source.name, WIDTH, HEIGHT, frames)])
    model = ("--models-path", weights, "--model", "negative", "--mask", "ellipse", "--faces", folder / "film.json")
    out = folder / "film-reference" / "out.mkv"
    out.parent.mkdir()
    begun = Film(("restore", source, "--codec", "ffv1", *model), look(source), {}, 0)
    ended = children.run(*command_for(begun, out))
    assert ended.code == 0, ended.err
    assert f"restored in {FRAMES} frames" in ended.out
    return Film(begun.command, look(out, planes=True), entry(out), ended.events)


def assert_same(film: Film, out: Path) -> None:
    """The film, its report, and nothing else."""
    found = look(out, planes=True)
    assert found.times == film.frames.times
    assert found.packets == film.frames.packets
    for one, other in zip(found.planes, film.frames.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert entry(out) == film.report
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.mkv", "out.mkv.json"]


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_around_its_files(children: Children, film: Film, folder: Path, signal: str) -> None:
    """At changes of files, from the first one to the result under its final name."""
    killed, begun = 0, 0
    for moment in moments(film.events, MOMENTS):
        out = folder / f"film-{signal}-{moment}" / "out.mkv"
        out.parent.mkdir()
        first = children.run(*command_for(film, out), fault=Fault(at=moment, do=signal))
        if signal == "SIGKILL":
            assert first.code == -9, moment
        else:
            assert first.code in (0, 130), (moment, first.err)
            assert_plain(first)
        killed += first.code != 0
        begun += WorkFolder(out).path.is_dir()
        seen = {path.name for path in out.parent.iterdir()} - {WorkFolder(out).path.name}
        if out.exists():
            assert look(out, planes=True).times == film.frames.times, moment
        elif signal == "SIGINT":
            assert seen <= {report_of(out).name}, moment
        second = children.run(*command_for(film, out), *(("--overwrite",) if out.exists() else ()))
        assert second.code == 0, (moment, second.err)
        assert_same(film, out)
    assert killed >= MOMENTS - 1
    assert begun >= 2


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_while_frames_are_restored(children: Children, film: Film, folder: Path, signal: str) -> None:
    """Once the first segment is there: it stays, and the second run makes only the other one."""
    out = folder / f"film-between-{signal}" / "out.mkv"
    out.parent.mkdir()
    work = WorkFolder(out)
    process = children.start(*command_for(film, out))
    deadline = time.monotonic() + 120
    while work.finished(0) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process, Signals[signal])
    ended = children.wait(process)
    assert ended.code == (-9 if signal == "SIGKILL" else 130)
    assert not out.exists()
    made = work.segment(0).stat()
    process = children.start(*command_for(film, out))
    while work.finished(1) is None and work.path.exists():
        assert time.monotonic() < deadline
        if work.segment(0).exists():
            assert work.segment(0).stat().st_ino == made.st_ino
        time.sleep(0.002)
    second = children.wait(process)
    assert second.code == 0, second.err
    assert_same(film, out)

"""`gpen restore film.mp4 --engine ray` on a real cluster of two machines: the result is that of one machine."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from gpen.faces.faces_file import FilmFaces, FrameFaces, write_faces
from gpen.video.work import WorkFolder
from tests.batch.ray.conftest import LONG, finish
from tests.commands import upright_face
from tests.video.clips import HEIGHT, WIDTH, Clip, damage, look, make

pytest.importorskip("ray", reason="needs Ray: make test-ray runs this")

FRAMES = 330
"""Four segments: three of a hundred frames, and the rest."""


@pytest.fixture
def flags(networks, tmp_path):
    """A film with a face that moves and a frame that cannot be decoded, and flags."""
    make(tmp_path / "film.mkv", Clip(frames=FRAMES, sounds=1, options={"preset": "ultrafast"}))
    damage(tmp_path / "film.mkv", 150)
    frames = tuple(FrameFaces(n, None, (upright_face(40 + n % 20, 30, 40),)) for n in range(FRAMES))
    write_faces(tmp_path / "faces.json", [], [FilmFaces("film.mkv", WIDTH, HEIGHT, frames)])
    model = ["--models-path", networks, "--model", "negative", "--mask", "ellipse"]
    return [tmp_path / "film.mkv", *model, "--faces", tmp_path / "faces.json"]


@pytest.fixture
def on_ray(cluster, start, flags, monkeypatch):
    """Start the command on the cluster, in another process."""
    monkeypatch.setenv("RAY_ADDRESS", cluster)

    def run(*more: object):
        return start("restore", *flags, *more, "--engine", "ray")

    return run


def assert_same_frames(one: Path, other: Path) -> None:
    first, second = look(one, planes=True), look(other, planes=True)
    assert first.times == second.times
    assert first.packets == second.packets
    for here, there in zip(first.planes, second.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))


def entry_of(report: Path) -> dict:
    (entry,) = json.loads(report.read_text())
    return {**entry, "seconds": 0, "output": ""}


def test_the_result_and_the_report_are_those_of_one_machine(on_ray, gpen, flags, tmp_path):
    assert gpen("restore", *flags, "-o", tmp_path / "here.mkv", "--report", tmp_path / "here.json").code == 0
    out, _ = finish(on_ray("-o", tmp_path / "there.mkv", "--report", tmp_path / "there.json"))
    assert out.splitlines()[0].startswith("GPEN 64 on 2 Ray workers, each on cpu with 1 CPU, faces from ")
    assert f"6 faces of 6 restored in {FRAMES} frames" in out  # the pattern jumps every 64 frames
    assert entry_of(tmp_path / "there.json") == entry_of(tmp_path / "here.json")
    assert_same_frames(tmp_path / "here.mkv", tmp_path / "there.mkv")
    assert not WorkFolder(tmp_path / "there.mkv").path.exists()


def test_stopped_in_this_process_and_finished_on_the_cluster(on_ray, start, gpen, flags, tmp_path):
    """And a worker that is killed meanwhile loses nothing."""
    assert gpen("restore", *flags, "-o", tmp_path / "whole.mkv").code == 0
    target = tmp_path / "out.mkv"
    folder = WorkFolder(target)
    process = start("restore", *flags, "-o", target)
    wait_for(lambda: folder.finished(0) is not None)
    process.kill()
    process.communicate(timeout=LONG)
    before = folder.segment(0).stat().st_ino
    process = on_ray("-o", target)
    wait_for(lambda: workers())
    os.kill(workers()[0], signal.SIGKILL)
    wait_for(lambda: not folder.path.exists() or folder.finished(1) is not None)
    if folder.path.exists():
        assert folder.segment(0).stat().st_ino == before
    finish(process)
    assert_same_frames(tmp_path / "whole.mkv", target)


def test_what_a_worker_cannot_use_is_said_once(on_ray, tmp_path):
    _, err = finish(on_ray("-o", tmp_path / "out.mkv", "--cpus-per-worker", 2), 1)
    assert "No machine of the Ray cluster has 2 CPUs for a worker; the largest has 1." in err


def wait_for(happens) -> None:
    end = time.monotonic() + LONG
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


def workers() -> list[int]:
    """The processes that make segments."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                title = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::_make_segments"):
                found.append(int(process.name))
    return found

"""A film whose restoration was stopped: the same call goes on, and nothing else is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpen import file_lock
from gpen.errors import OptionError, PhotoError
from gpen.video import restore, run
from gpen.video.work import WorkFolder
from tests.video.clips import Clip, look, make
from tests.video.conftest import FACE

LONG = Clip(codec="ffv1", frames=115)
"""Two segments: of a hundred frames, and of the rest."""


def test_a_film_of_the_same_name_is_no_work_of_another(tmp_path):
    names = {WorkFolder(tmp_path / name).path.name for name in ("a.mp4", "a.mkv", "b" * 250 + ".mp4")}
    assert len(names) == 3
    assert all(len(name) <= 255 and name.startswith(".") for name in names)


STOPPED = """
import sys
sys.path.insert(0, {root!r})
import torch
torch.set_num_threads(1)
from pathlib import Path
from gpen.faces.face import Face
from gpen.faces.selection.select import FaceChoice
from gpen.options import Options
from gpen.restoration.components import Components
from gpen.tasks import find_task
from gpen.video.restore import Restorer
from gpen.video.run import FilmSettings, FilmWork, restore_film
from gpen.weights.checkpoint import load_model
from tests.video.test_run import shaken

class Told:
    done = 0
    def starts(self, what, frames): pass
    def says(self, text): pass
    def advances(self, *, was_there=False, picture=None):
        self.done += 1
        print(self.done, flush=True)

asked = []
def find(photo):
    asked.append(None)
    return [shaken(int(photo[:9, :9].sum() * 1000))]

restorer = Restorer(
    task=find_task("restore"),
    components=Components(model=load_model(Path({model!r}))),
    options=Options(mask="ellipse", video=True),
)
work = FilmWork(restorer=restorer, find=find, choice=FaceChoice(), settings=FilmSettings(codec="ffv1"), recipe={{}})
result = restore_film(Path(sys.argv[1]), Path(sys.argv[2]), work, Told())
print("asked", len(asked), result.outcome.frames)
"""


def run_stopped(script: Path, source: Path, target: Path, after: int | None) -> str:
    """Restore a film in a process that is killed once it has told of so many frames."""
    command = [sys.executable, str(script), str(source), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = ""
        for line in process.stdout:
            text = line
            if line.strip() == str(after):
                os.kill(process.pid, signal.SIGKILL)
    assert (process.returncode == 0) == (after is None)
    return text


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system cannot kill a process at any point")
def test_a_run_that_was_killed_goes_on(networks, tmp_path):
    """While faces are found, and while they are restored; what comes out is the same."""
    source = make(tmp_path / "in.mkv", LONG)
    script = tmp_path / "run.py"
    root = str(Path(__file__).resolve().parents[2])
    script.write_text(STOPPED.format(root=root, model=str(networks / "negative.pth")))
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    assert run_stopped(script, source, whole, None) == "asked 115 115\n"
    folder = WorkFolder(target).path
    run_stopped(script, source, target, 60)
    assert not target.exists()
    assert folder.is_dir()
    run_stopped(script, source, target, 115 + 108)
    assert not target.exists()
    segments = {path: path.stat().st_mtime_ns for path in folder.glob("segment-*.json")}
    assert len(segments) == 1
    # The faces of all frames are known: none is asked for.
    last = run_stopped(script, source, target, None)
    assert last == "asked 0 115\n"
    assert not folder.exists()
    one, other = look(whole, planes=True), look(target, planes=True)
    assert one.times == other.times
    for first, second in zip(one.planes, other.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def stop_after(number: int):
    """Finds a face until it has been asked that often, then raises."""
    asked = []

    def find(photo):
        asked.append(None)
        if len(asked) > number:
            raise KeyboardInterrupt
        return [FACE]

    return find


def test_a_stop_while_everything_is_put_together(restore_clip, tmp_path, monkeypatch):
    """Nothing but the hidden folder is left, and nothing is restored again."""
    source, target = make(tmp_path / "in.mkv", Clip(frames=30)), tmp_path / "out.mkv"

    def stopped(*arguments):
        Path(arguments[3]).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "join", stopped)
        with pytest.raises(KeyboardInterrupt):
            restore_clip(source, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.mkv.gpen", "in.mkv"]
    monkeypatch.setattr(restore, "SegmentWriter", None)
    restore_clip(source, target)
    assert look(target).times == look(source).times
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_an_unfinished_run_with_other_options(restore_clip, tmp_path):
    source, target = make(tmp_path / "in.mkv", Clip(frames=60)), tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        restore_clip(source, target, find=stop_after(55), recipe={"strength": 1.0})
    with pytest.raises(OptionError, match=r"unfinished run with other options .*strength 1\.0, now 0\.5.*--overwrite"):
        restore_clip(source, target, recipe={"strength": 0.5})
    assert not target.exists()
    asked = []
    again = {"find": lambda photo: asked.append(None) or [FACE], "recipe": {"strength": 1.0}}
    restore_clip(source, target, **again)
    assert len(asked) == 10  # the rest after the first fifty
    restore_clip(source, target, recipe={"strength": 0.5}, settings={"overwrite": True})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


@pytest.mark.parametrize("keep_unfinished", [True, False])
def test_two_runs_of_one_result(restore_clip, tmp_path, keep_unfinished):
    """The second is refused, and takes nothing away from the first."""
    source, target = make(tmp_path / "in.mkv", Clip(frames=60)), tmp_path / "out.mkv"
    refused = []

    def find(photo):
        if not refused:
            with pytest.raises(PhotoError, match=r"Another run is at work on .*out\.mkv. Wait for it") as other:
                restore_clip(source, target, settings={"keep_unfinished": keep_unfinished, "overwrite": True})
            refused.append(other)
        return [FACE]

    result = restore_clip(source, target, find=find, settings={"keep_unfinished": keep_unfinished})
    assert refused
    assert result.outcome.frames == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_where_the_file_system_has_no_locks(restore_clip, tmp_path, monkeypatch):
    source, target = make(tmp_path / "in.mkv", Clip(frames=10)), tmp_path / "out.mkv"
    monkeypatch.setattr(file_lock, "_lock", lambda path: file_lock.Holder.NOBODY)
    assert restore_clip(source, target).outcome.frames == 10


def test_a_cut_off_record_is_found_again(restore_clip, tmp_path):
    source, target = make(tmp_path / "in.mkv", Clip(frames=60)), tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        restore_clip(source, target, find=stop_after(55))
    record = WorkFolder(target).path / "faces.jsonl"
    record.write_bytes(record.read_bytes()[:-20])
    asked = []
    restore_clip(source, target, find=lambda photo: asked.append(None) or [FACE])
    assert len(asked) == 60

"""The measurements of frames run the real command, with a network that returns its input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import busy, frames
from gpen.images import read_picture


@pytest.fixture(autouse=True)
def _few(photos: Path, detector_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FEW", 1)


def test_frames_move_forth_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "DISTINCT", 2)
    files = sorted(frames.write_frames(tmp_path / "frames", ".png", 6).iterdir())
    shown = [read_picture(file, 2).photo for file in files]
    assert shown[0].shape == (856, 1168, 3)
    same = [[np.array_equal(one, other) for other in shown] for one in shown]
    assert [row.index(True) for row in same] == [0, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("flags", [(), ("--video",)])
def test_the_command_restores_every_frame(flags: tuple[str, ...]) -> None:
    taken = frames.command(".jpg", 2, *flags)()
    assert taken["frames"] == 3
    assert taken["cpu_seconds"] > 0


def test_every_stage_is_timed() -> None:
    assert all(seconds > 0 for seconds in frames.parts(".jpg", 2)().values())


def test_beside_a_busy_core() -> None:
    runs: list[int] = []
    taken = busy._both(lambda: runs.append(1))()
    assert len(runs) == 3
    assert taken.keys() == {"alone", "beside"}

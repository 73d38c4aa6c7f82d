"""Steady texture in films: it is there, and a run that was stopped gives the same frames as one that was not."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.errors import GpenError
from gpen.options import Options
from gpen.video import restore
from gpen.video.work import WorkFolder
from tests.video.clips import Clip, look, make, pattern


def noisy(number: int) -> np.ndarray:
    """A picture that stands still, with the noise of a camera."""
    noise = np.random.default_rng(number).normal(0, 6, pattern(0).shape)
    return np.clip(pattern(0) + noise, 0, 255).astype(np.uint8)


NOISY = Clip(codec="ffv1", frames=76, pixel_format="yuv444p", picture=noisy)
STEADY = Options(mask="ellipse", video=True)


def inside(path) -> np.ndarray:
    """The luma of the middle of the face in all frames, (frames, height, width)."""
    return np.stack([planes[0][50:70, 60:80] for planes in look(path, planes=True).planes]).astype(float)


@pytest.fixture
def short_segments(monkeypatch):
    """Of 25 frames."""
    monkeypatch.setattr(restore, "_SECONDS", 1)


def test_noise_of_the_network_is_averaged(restore_clip, tmp_path):
    """That of the camera, which this network inverts with everything else."""
    source = make(tmp_path / "in.mkv", NOISY)
    deviations = []
    for strength in (0.0, 0.5, 1.0):
        options = Options(mask="ellipse", video=True, texture=strength)
        restore_clip(source, tmp_path / f"{strength}.mkv", options=options, settings={"codec": "ffv1"})
        deviations.append(inside(tmp_path / f"{strength}.mkv")[6:].std(axis=0).mean())
    assert deviations[0] > 3
    assert deviations[2] < 0.6 * deviations[0]
    assert deviations[2] < deviations[1] < deviations[0]


@pytest.mark.parametrize("missing", [{1}, {2}, {0, 2}, {3}])
def test_segments_that_are_made_later_have_the_same_frames(
    restore_clip, tmp_path, monkeypatch, short_segments, missing
):
    """Their texture depends on frames of the segments before."""
    source = make(tmp_path / "in.mkv", NOISY)
    ffv1 = {"options": STEADY, "settings": {"codec": "ffv1"}}
    restore_clip(source, tmp_path / "whole.mkv", **ffv1)
    target = tmp_path / "resumed.mkv"
    with monkeypatch.context() as patch:
        patch.setattr("gpen.video.run.join", stopped)
        with pytest.raises(GpenError, match="stopped"):
            restore_clip(source, target, **ffv1)
    work = WorkFolder(target)
    assert all(work.finished(number) for number in range(4))
    for number in missing:
        work.segment(number).unlink()
    made = []
    really = restore.SegmentWriter
    monkeypatch.setattr(restore, "SegmentWriter", lambda *given: made.append(given) or really(*given))
    restore_clip(source, target, **ffv1)
    assert len(made) == len(missing)
    frames, expected = (look(path, planes=True).planes for path in (target, tmp_path / "whole.mkv"))
    assert len(frames) == 76
    for planes, wanted in zip(frames, expected, strict=True):
        assert all(np.array_equal(plane, other) for plane, other in zip(planes, wanted, strict=True))


def stopped(*given):
    raise GpenError("stopped")

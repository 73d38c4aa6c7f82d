"""Which frames are restored once more so that a frame's texture is as if all frames before it had been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpen.batch.plan import PhotoFile
from gpen.batch.textures import FrameTextures
from gpen.batch.video import TrackedFaces
from gpen.faces.face import Face
from gpen.faces.source import FoundFace
from gpen.faces.tracking.texture import LOOK_BACK

FACE = Face((0.0, 0.0, 9.0, 9.0), 1.0, np.zeros((5, 2)))


def file(number: int) -> PhotoFile:
    return PhotoFile(Path(f"/film/{number}.png"), f"film/{number}.png")


def textures(*tracks: str) -> FrameTextures:
    """Of frames that show these tracks, each named by a digit; a skipped one comes after a minus sign."""
    frames = {
        str(file(number).path.absolute()): [
            FoundFace(int(track.lstrip("-")), FACE, "too small" if track[0] == "-" else "") for track in shown.split()
        ]
        for number, shown in enumerate(tracks)
    }
    return FrameTextures(TrackedFaces("", frames, ""), 1.0)


def begun(given: FrameTextures, number: int) -> list[int]:
    missing = given.begin(file(number))
    assert [photo.name for photo in missing] == [f"film/{photo.path.stem}.png" for photo in missing]
    return [int(photo.path.stem) for photo in missing]


def test_none_while_frames_come_one_after_the_other() -> None:
    given = textures(*["0 1"] * 20)
    assert [begun(given, number) for number in range(20)] == [[]] * 20


def test_the_window_where_a_film_is_begun_in_the_middle() -> None:
    given = textures(*["0"] * 20)
    assert begun(given, 12) == list(range(12 - LOOK_BACK, 12))
    assert begun(given, 13) == []
    # Two frames are there already.
    assert begun(given, 16) == list(range(16 - LOOK_BACK, 16))
    assert begun(given, 2) == [0, 1]
    assert begun(given, 2) == [0, 1]


def test_no_frames_of_other_shots_and_of_faces_that_are_not_restored() -> None:
    given = textures("0", "0", "0 -1", "", "1", "1", "1")
    assert begun(given, 6) == [4, 5]
    assert begun(textures("0", "-0", "0"), 2) == [0]
    assert begun(textures("0", "1"), 1) == []
    assert begun(textures("0", "0", "-0"), 2) == []


def test_a_face_that_comes_back_within_the_window() -> None:
    given = textures("0 1", "0 1", "0", "0 1", "0 1")
    assert begun(given, 2) == [0, 1]
    assert begun(given, 3) == []
    alone = textures("0 1", "0 1", "0", "1", "1")
    assert begun(alone, 3) == [0, 1]
    assert begun(alone, 4) == []


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_all_frames_share_one_texture(strength: float) -> None:
    tracked = TrackedFaces("", {str(file(n).path.absolute()): [] for n in range(3)}, "")
    given = FrameTextures(tracked, strength)
    first, second = given.of(file(0)), given.of(file(2))
    assert (first.frame, second.frame) == (0, 2)
    assert first.video is second.video

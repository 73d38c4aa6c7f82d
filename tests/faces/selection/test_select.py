"""Selection: which faces are restored."""

from __future__ import annotations

import numpy as np

from gpen.faces.face import Face
from gpen.faces.selection.select import FaceChoice, select_faces, select_tracked
from gpen.faces.tracking.tracks import TrackedFace

SIZE = (400, 200)


def face(x: float, y: float, width: float, height: float, score: float = 0.9) -> Face:
    return Face((x, y, x + width, y + height), score, np.zeros((5, 2)))


# From left to right: small, large, central, low score.
FACES = [face(10, 20, 20, 30), face(60, 10, 100, 120, 0.8), face(180, 80, 40, 40), face(300, 100, 50, 50, 0.75)]


def chosen(region=None, faces=FACES, **choice) -> list[int]:
    reasons = select_faces(faces, FaceChoice(**choice), SIZE, region)
    return [number for number in range(len(faces)) if number not in reasons]


def reason(number: int, region=None, **choice) -> str:
    return select_faces(FACES, FaceChoice(**choice), SIZE, region)[number]


def test_all():
    assert chosen() == [0, 1, 2, 3]
    assert chosen(faces=[]) == []
    assert chosen(faces=[], select="largest") == []


def test_largest():
    assert chosen(select="largest") == [1]
    assert reason(0, select="largest") == "not the largest face"
    # By area, not by height or width.
    assert chosen(faces=[face(0, 0, 10, 100), face(0, 0, 40, 40), face(0, 0, 100, 10)], select="largest") == [1]


def test_most_central():
    assert chosen(select="central") == [2]
    assert reason(3, select="central") == "not the most central face"
    # In both directions.
    assert chosen(faces=[face(180, 0, 40, 20), face(150, 80, 40, 40)], select="central") == [1]
    assert chosen(faces=[face(180, 80, 40, 40), face(182, 82, 40, 40)], select="central") == [0]


def test_by_number():
    assert chosen(numbers=frozenset({0, 2, 3})) == [0, 2, 3]
    assert chosen(numbers=frozenset({1})) == [1]
    assert chosen(numbers=frozenset({17})) == []
    assert reason(1, numbers=frozenset({0, 2, 3})) == "not among faces 0,2-3"


def test_by_size():
    assert chosen(min_size=40) == [1, 2, 3]
    assert chosen(min_size=41) == [1, 3]
    # The smaller side decides.
    assert chosen(faces=[face(0, 0, 100, 39), face(0, 0, 39, 100)], min_size=40) == []
    assert reason(0, min_size=40) == "20 x 30 pixels, smaller than 40"


def test_by_score():
    assert chosen(min_score=0.8) == [0, 1, 2]
    assert chosen(min_score=0.85) == [0, 2]
    assert reason(3, min_score=0.8) == "score 0.75 is under 0.8"


def test_inside_a_mask():
    region = np.zeros((SIZE[1], SIZE[0]), np.float32)
    assert chosen(region) == []
    region[:, 100:250] = 0.51
    assert chosen(region) == [1, 2]
    region[:] = 0.5
    assert chosen(region) == []
    assert reason(0, region) == "outside the mask"
    # One pixel at the centre of the box is enough: row and column are not mixed up.
    region[100, 200] = 1
    assert chosen(region) == [2]


def test_a_centre_outside_of_the_photo_counts_at_its_edge():
    region = np.zeros((SIZE[1], SIZE[0]), np.float32)
    region[0, 0] = 1
    outside = [face(-60, -60, 40, 40), face(390, 190, 40, 40)]
    assert chosen(region, outside) == [0]
    region[-1, -1] = 1
    assert chosen(region, outside) == [0, 1]


def test_restrictions_come_before_the_choice_of_one():
    assert chosen(select="largest", numbers=frozenset({0, 2, 3})) == [3]
    assert chosen(select="largest", min_score=0.85) == [2]
    assert chosen(select="central", min_size=45) == [1]
    region = np.ones((SIZE[1], SIZE[0]), np.float32)
    region[:, 50:200] = 0
    assert chosen(region, select="largest") == [3]
    assert chosen(region, select="central", numbers=frozenset({0, 1, 3}), min_size=25) == [3]
    assert chosen(select="largest", numbers=frozenset({9})) == []


def test_every_skipped_face_has_one_reason():
    reasons = select_faces(FACES, FaceChoice(select="largest", numbers=frozenset({1, 2, 3}), min_size=45), SIZE)
    assert reasons == {
        0: "not among faces 1-3",
        2: "40 x 40 pixels, smaller than 45",
        3: "not the largest face",
    }


def tracked_face(number: int, here: Face, typical: Face | None = None) -> TrackedFace:
    return TrackedFace(number, here, typical or here)


def chosen_tracks(tracked: list[TrackedFace], region=None, **choice) -> list[int]:
    reasons = select_tracked(tracked, FaceChoice(**choice), SIZE, region)
    return [face.number for position, face in enumerate(tracked) if position not in reasons]


def test_in_a_video_numbers_are_those_of_the_tracks():
    tracked = [tracked_face(7, FACES[0]), tracked_face(2, FACES[1]), tracked_face(0, FACES[2])]
    assert chosen_tracks(tracked, numbers=frozenset({0, 1, 2})) == [2, 0]
    assert chosen_tracks(tracked) == [7, 2, 0]


def test_in_a_video_medians_decide_except_about_the_region():
    small, large = face(10, 20, 20, 30, 0.6), face(60, 10, 100, 120, 0.95)
    # In this frame only, the first is small with a low score, and the second large with a high one.
    tracked = [tracked_face(0, small, large), tracked_face(1, large, small)]
    assert chosen_tracks(tracked, select="largest") == [0]
    assert chosen_tracks(tracked, min_size=50) == [0]
    assert chosen_tracks(tracked, min_score=0.9) == [0]
    assert chosen_tracks(tracked) == [0, 1]
    left = np.zeros((200, 400), np.float32)
    left[:, :50] = 1
    assert chosen_tracks(tracked, left) == [0]


def test_by_largest_size():
    assert chosen(max_size=50) == [0, 2, 3]
    assert chosen(max_size=40, min_size=30) == [2]
    assert reason(1, max_size=119) == "100 x 120 pixels, larger than 119"
    assert chosen(max_size=120) == [0, 1, 2, 3]

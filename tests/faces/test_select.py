"""Which faces are restored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpen.errors import OptionError
from gpen.faces.face import Face
from gpen.faces.select import select_faces, select_tracked, without_choice
from gpen.faces.tracking.tracks import TrackedFace
from gpen.options import Options, parse_face_numbers

SIZE = (400, 200)


def face(x: float, y: float, width: float, height: float, score: float = 0.9) -> Face:
    return Face((x, y, x + width, y + height), score, np.zeros((5, 2)))


# From left to right: small, large, central, unsure.
FACES = [face(10, 20, 20, 30), face(60, 10, 100, 120, 0.8), face(180, 80, 40, 40), face(300, 100, 50, 50, 0.75)]


def chosen(region=None, faces=FACES, **options) -> list[int]:
    reasons = select_faces(faces, Options(**options), SIZE, region)
    return [number for number in range(len(faces)) if number not in reasons]


def reason(number: int, region=None, **options) -> str:
    return select_faces(FACES, Options(**options), SIZE, region)[number]


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
    assert chosen(only_faces="0,2-3") == [0, 2, 3]
    assert chosen(only_faces=" 1 ") == [1]
    assert chosen(only_faces="17") == []
    assert reason(1, only_faces=" 0,2-3") == "not among faces 0,2-3"


def test_by_size():
    assert chosen(min_face_size=40) == [1, 2, 3]
    assert chosen(min_face_size=41) == [1, 3]
    # The smaller side counts.
    assert chosen(faces=[face(0, 0, 100, 39), face(0, 0, 39, 100)], min_face_size=40) == []
    assert reason(0, min_face_size=40) == "20 x 30 pixels, smaller than 40"


def test_by_score():
    assert chosen(detection_threshold=0.8) == [0, 1, 2]
    assert chosen(detection_threshold=0.85) == [0, 2]
    assert reason(3, detection_threshold=0.8) == "score 0.75 is under 0.8"


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


def test_a_centre_outside_of_the_photograph_counts_at_its_edge():
    region = np.zeros((SIZE[1], SIZE[0]), np.float32)
    region[0, 0] = 1
    outside = [face(-60, -60, 40, 40), face(390, 190, 40, 40)]
    assert chosen(region, outside) == [0]
    region[-1, -1] = 1
    assert chosen(region, outside) == [0, 1]


def test_restrictions_come_before_the_choice_of_one():
    assert chosen(select="largest", only_faces="0,2,3") == [3]
    assert chosen(select="largest", detection_threshold=0.85) == [2]
    assert chosen(select="central", min_face_size=45) == [1]
    region = np.ones((SIZE[1], SIZE[0]), np.float32)
    region[:, 50:200] = 0
    assert chosen(region, select="largest") == [3]
    assert chosen(region, select="central", only_faces="0,1,3", min_face_size=25) == [3]
    assert chosen(select="largest", only_faces="9") == []


def test_every_face_left_out_has_one_reason():
    reasons = select_faces(FACES, Options(select="largest", only_faces="1-3", min_face_size=45), SIZE)
    assert reasons == {
        0: "not among faces 1-3",
        2: "40 x 40 pixels, smaller than 45",
        3: "not the largest face",
    }


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", None), ("  ", None), ("3", {3}), ("0,2,5-7", {0, 2, 5, 6, 7}), (" 1 - 2 , 4 ", {1, 2, 4}), ("2,2", {2})],
)
def test_numbers(text, numbers):
    assert parse_face_numbers(text) == numbers


@pytest.mark.parametrize("text", ["a", "1,", ",1", "1;2", "-1", "1-", "1--2", "1.5", "1 2", "0x1", "1" * 7, "²"])
def test_what_is_no_list_of_numbers(text):
    with pytest.raises(OptionError, match=r"such as 0,2,5-7\."):
        parse_face_numbers(text)


def test_a_range_that_runs_backwards():
    with pytest.raises(OptionError, match="the range 7-5 runs backwards"):
        parse_face_numbers("1, 7-5")


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), min_size=1, max_size=6))
def test_any_list_of_ranges(ranges):
    text = ", ".join(f"{first}-{first + length}" for first, length in ranges)
    assert parse_face_numbers(text) == {n for first, length in ranges for n in range(first, first + length + 1)}


def tracked_face(number: int, here: Face, typical: Face | None = None) -> TrackedFace:
    return TrackedFace(number, here, typical or here)


def chosen_tracks(tracked: list[TrackedFace], region=None, given: bool = False, **options) -> list[int]:
    reasons = select_tracked(tracked, Options(**options), SIZE, region, given=given)
    return [face.number for place, face in enumerate(tracked) if place not in reasons]


def test_in_a_video_numbers_are_those_of_the_tracks():
    tracked = [tracked_face(7, FACES[0]), tracked_face(2, FACES[1]), tracked_face(0, FACES[2])]
    assert chosen_tracks(tracked, only_faces="0-2") == [2, 0]
    assert chosen_tracks(tracked) == [7, 2, 0]


def test_in_a_video_medians_decide_but_for_the_region():
    small, large = face(10, 20, 20, 30, 0.6), face(60, 10, 100, 120, 0.95)
    # The first is small and unsure in this frame only, the second large and sure in this frame only.
    tracked = [tracked_face(0, small, large), tracked_face(1, large, small)]
    assert chosen_tracks(tracked, select="largest") == [0]
    assert chosen_tracks(tracked, min_face_size=50) == [0]
    assert chosen_tracks(tracked, detection_threshold=0.9) == [0]
    assert chosen_tracks(tracked, detection_threshold=0.9, given=True) == [0, 1]
    left = np.zeros((200, 400), np.float32)
    left[:, :50] = 1
    assert chosen_tracks(tracked, left) == [0]


def test_what_was_chosen_is_not_chosen_among_again():
    options = Options(select="central", only_faces="3", min_face_size=10, strength=0.5)
    assert without_choice(options) == Options(strength=0.5)

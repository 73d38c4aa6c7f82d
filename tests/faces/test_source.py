"""Where the faces of a photo come from, and which of them are worked on."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.errors import FaceError, OptionError, PhotoError
from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.faces.selection.select import FaceChoice
from gpen.faces.source import ChosenFaces, DetectedFaces, FaceSource, FoundFace, GivenFaces, WholePhoto

PHOTO = np.zeros((200, 400, 3), np.float32)
LEFT_HALF = np.zeros((200, 400), np.float32)
LEFT_HALF[:, :200] = 1


def face(x: float, size: float = 40, score: float = 0.9) -> Face:
    return Face((x, 50, x + size, 50 + size), score, TEMPLATES["gpen"] * size + (x, 50))


class Detector:
    """Finds the faces that it was made with, from left to right, those that score at least the threshold."""

    name = "fake"

    def __init__(self, *faces: Face) -> None:
        self.faces = faces
        self.calls: list[tuple[np.ndarray, float]] = []

    def detect(self, photo: np.ndarray, threshold: float = 0.7) -> list[Face]:
        self.calls.append((photo, threshold))
        return [face for face in self.faces if face.score >= threshold]


def outcome(source: FaceSource, region: np.ndarray | None = None) -> dict[int, str]:
    return {found.number: found.skip_reason for found in source.find(PHOTO, region)}


def test_a_detector_is_given_the_photo_and_the_threshold():
    detector = Detector(face(10), face(100, score=0.5), face(300))
    found = DetectedFaces(detector, FaceChoice(), 0.6).find(PHOTO)
    assert [(one.number, one.face, one.skip_reason) for one in found] == [
        (0, detector.faces[0], ""),
        (1, detector.faces[2], ""),
    ]
    ((photo, threshold),) = detector.calls
    assert photo is PHOTO
    assert threshold == 0.6


def test_a_face_that_a_detector_returns_below_the_threshold_is_skipped():
    class Generous(Detector):
        def detect(self, photo, threshold=0.7):
            return list(self.faces)

    source = DetectedFaces(Generous(face(10, score=0.5), face(100)), FaceChoice(select="largest"), 0.6)
    assert outcome(source) == {0: "score 0.50 is under 0.6", 1: ""}


def test_the_choice_and_the_region_apply_to_detected_faces():
    detector = Detector(face(10), face(100, 60), face(300, 90))
    assert outcome(DetectedFaces(detector, FaceChoice(min_size=50), 0.7), LEFT_HALF) == {
        0: "40 x 40 pixels, smaller than 50",
        1: "",
        2: "outside the mask",
    }
    assert outcome(DetectedFaces(detector, FaceChoice(numbers=frozenset({1})), 0.7)) == {
        0: "not among faces 1",
        1: "",
        2: "not among faces 1",
    }


def test_a_photo_without_faces():
    assert DetectedFaces(Detector(), FaceChoice(), 0.7).find(PHOTO) == []
    assert GivenFaces([], FaceChoice()).find(PHOTO) == []


def test_what_a_detector_raises_passes_through():
    class Broken(Detector):
        def detect(self, photo, threshold=0.7):
            raise FaceError("no")

    with pytest.raises(FaceError, match="no"):
        DetectedFaces(Broken(), FaceChoice(), 0.7).find(PHOTO)


def test_given_faces_are_numbered_from_left_to_right_whatever_they_score():
    faces = [face(300, score=0.1), face(10, score=0), face(100)]
    found = GivenFaces(faces, FaceChoice()).find(PHOTO)
    assert [one.face for one in found] == [faces[1], faces[2], faces[0]]
    assert [one.number for one in found] == [0, 1, 2]
    assert not any(one.skip_reason for one in found)
    assert faces[0].box[0] == 300  # the caller's list is not sorted


def test_the_choice_and_the_region_apply_to_given_faces():
    source = GivenFaces([face(300, 90), face(10), face(100, 60)], FaceChoice(select="largest"))
    assert outcome(source) == {0: "not the largest face", 1: "not the largest face", 2: ""}
    assert outcome(source, LEFT_HALF) == {0: "not the largest face", 1: "", 2: "outside the mask"}


def test_chosen_faces_keep_their_numbers_and_reasons():
    """The numbers are those of a video's tracks; the region was considered before."""
    found = [FoundFace(7, face(10)), FoundFace(2, face(300), "too small")]
    source = ChosenFaces(found)
    assert source.find(PHOTO) == found
    assert source.find(PHOTO, LEFT_HALF) == found


@pytest.mark.parametrize("size", [256, 300])
def test_a_whole_photo_is_one_face_with_the_landmarks_of_the_published_template(size: int):
    (found,) = WholePhoto().find(np.zeros((size, size, 3), np.float32))
    assert (found.number, found.skip_reason) == (0, "")
    assert found.face.box == (0, 0, size - 1, size - 1)
    assert found.face.score == 1
    # As fractions from edge to edge; pixel centres lie at integers.
    assert np.abs((found.face.landmarks + 0.5) / size - TEMPLATES["gpen"]).max() < 1e-9


def test_a_whole_photo_has_to_be_a_square():
    with pytest.raises(PhotoError) as caught:
        WholePhoto("A label map").find(PHOTO)
    assert str(caught.value).startswith("A label map has to be a square")
    assert "this one is 400 x 200" in str(caught.value)


def test_a_whole_photo_takes_no_region():
    with pytest.raises(OptionError, match=r"^An aligned portrait .*leave the region out"):
        WholePhoto().find(np.zeros((64, 64, 3), np.float32), np.ones((64, 64), np.float32))


def test_only_a_whole_photo_says_that_it_is_one():
    others = [DetectedFaces(Detector(), FaceChoice(), 0.7), GivenFaces([], FaceChoice()), ChosenFaces([])]
    assert [source.whole_photo for source in (*others, WholePhoto())] == [False, False, False, True]

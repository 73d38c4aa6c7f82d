"""Tracks: matching from frame to frame, numbers, gaps, cuts, crossings."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.faces.align import TEMPLATES, crop_matrix
from gpen.faces.face import Face
from gpen.faces.tracking.tracks import LONGEST_GAP, TrackedFace, track_faces

Frames = list[list[Face]]


def face(x: float, y: float = 100, size: float = 80, score: float = 0.9) -> Face:
    """An upright face around a point, with the landmarks of the template."""
    landmarks = (TEMPLATES["gpen"] - (0.5, 0.6)) * 2.2 * size + (x, y)
    return Face((x - 0.45 * size, y - 0.55 * size, x + 0.45 * size, y + 0.55 * size), score, landmarks)


def pan(number: int, speed: float = 4, start: float = 100) -> Frames:
    return [[face(start + speed * frame)] for frame in range(number)]


def without(frames: Frames, missing: range) -> Frames:
    return [[] if frame in missing else faces for frame, faces in enumerate(frames)]


def shaken(frames: Frames, sigma: float, seed: int = 0) -> Frames:
    """The same faces with the jitter of a detector: some pixels off, differently in each frame."""
    rng = np.random.default_rng(seed)

    def one(face: Face) -> Face:
        shift = rng.normal(0, sigma, 2)
        x0, y0, x1, y1 = np.array(face.box) + np.tile(shift, 2) + rng.normal(0, sigma, 4)
        return Face((x0, y0, x1, y1), face.score, face.landmarks + shift + rng.normal(0, sigma, (5, 2)))

    return [[one(face) for face in faces] for faces in frames]


def numbers(tracked: list[list[TrackedFace]]) -> list[list[int]]:
    return [[face.number for face in faces] for faces in tracked]


def unlike(tracked: list[list[TrackedFace]], frames: Frames) -> float:
    """The largest difference of any coordinate of boxes and landmarks, between faces at the same position."""
    differences = [
        np.abs(np.append(got.face.landmarks - face.landmarks, np.subtract(got.face.box, face.box))).max()
        for faces, expected in zip(tracked, frames, strict=True)
        for got, face in zip(faces, expected, strict=True)
    ]
    return float(max(differences))


@pytest.mark.parametrize("speed", [0, 4, -9, 25, 60])
def test_a_steady_pan_passes_unchanged(speed: float) -> None:
    frames = pan(40, speed, start=3000)
    tracked = track_faces(frames)
    assert numbers(tracked) == [[0]] * 40
    assert unlike(tracked, frames) <= 1e-6
    assert not any(face.bridged for faces in tracked for face in faces)


def test_a_fast_pan_of_small_faces_does_not_break_tracks() -> None:
    """No box overlaps its predecessor: faces of 20 pixels move by 30 per frame."""
    steady = [[face(3000 + 100 * k, size=20) for k in range(4)]] * 3
    slow_start = [[face(3000 + 100 * k - shift, size=20) for k in range(4)] for shift in (5, 15)]
    moved = [[face(3000 + 100 * k - 30 - 30 * f, size=20) for k in range(4)] for f in range(20)]
    assert numbers(track_faces(steady + slow_start + moved)) == [[0, 1, 2, 3]] * 25


def test_a_zoom_keeps_its_tracks() -> None:
    frames = [[face(500 + x * 1.03**f, 300, 60 * 1.03**f) for x in (-150, 0, 150)] for f in range(40)]
    tracked = track_faces(frames)
    assert numbers(tracked) == [[0, 1, 2]] * 40
    # Faces of up to 190 pixels, growing by 3 % per frame.
    assert unlike(tracked, frames) <= 0.5


def test_the_jitter_of_the_crop_falls_by_more_than_three() -> None:
    true = pan(200, 3)
    seen = shaken(true, 1.5)
    tracked = track_faces(seen)

    def matrices(faces: list[Face]) -> np.ndarray:
        return np.array([crop_matrix(face, 256, "gpen").ravel() for face in faces])

    before = matrices([face for faces in seen for face in faces])
    after = matrices([face.face for faces in tracked for face in faces])
    expected = matrices([face for faces in true for face in faces])
    for order in (1, 2):
        was, now = (np.diff(m - expected, order, axis=0).std(axis=0) for m in (before, after))
        assert (was / now).min() >= 10
    assert ((before - expected).std(axis=0) / (after - expected).std(axis=0)).min() >= 2.5


@pytest.mark.parametrize("missing", range(1, LONGEST_GAP + 1))
def test_gaps_of_up_to_five_frames_are_bridged(missing: int) -> None:
    frames = pan(30)
    tracked = track_faces(without(frames, range(10, 10 + missing)))
    assert numbers(tracked) == [[0]] * 30
    assert unlike(tracked, frames) <= 1e-6
    assert [face.bridged for faces in tracked for face in faces] == [10 <= f < 10 + missing for f in range(30)]


def test_two_frames_are_enough_to_know_how_a_face_moves() -> None:
    """It is found again five frames later, two widths further."""
    assert numbers(track_faces(without(pan(20, 30), range(2, 6)))) == [[0]] * 20


def test_a_gap_of_six_ends_a_track() -> None:
    tracked = track_faces(without(pan(30), range(10, 16)))
    assert numbers(tracked) == [[0]] * 10 + [[]] * 6 + [[1]] * 14


def test_nothing_is_bridged_before_or_after_a_track() -> None:
    tracked = track_faces([[], [], *pan(5), [], [], []])
    assert numbers(tracked) == [[], [], *[[0]] * 5, [], [], []]


def test_the_score_of_a_bridged_face_lies_between() -> None:
    frames = [[face(100, score=0.8)], [], [face(100, score=1.0)]]
    assert [faces[0].face.score for faces in track_faces(frames)] == pytest.approx([0.8, 0.9, 1.0])


def test_tracks_end_at_a_cut() -> None:
    before, after = pan(20, 3), pan(20, -5, start=170)
    frames = before + after
    tracked = track_faces(frames, cuts=[20])
    assert numbers(tracked) == [[0]] * 20 + [[1]] * 20
    assert unlike(tracked, frames) <= 1e-6


def test_a_gap_over_a_cut_is_not_bridged() -> None:
    tracked = track_faces(without(pan(20), range(8, 12)), cuts=[10])
    assert numbers(tracked) == [[0]] * 8 + [[]] * 4 + [[1]] * 8


def test_faces_that_pass_each_other_keep_their_numbers() -> None:
    """One in front of the other: the boxes overlap, but motion tells them apart."""
    paths = [(100 + 8 * f, 500 - 8 * f) for f in range(50)]
    tracked = track_faces([[face(left, 100), face(right, 130)] for left, right in paths])
    for (left, right), faces in zip(paths, tracked, strict=True):
        x = {face.number: face.face.center[0] for face in faces}
        assert x == pytest.approx({0: left, 1: right}, abs=1e-6)


def test_a_face_hidden_by_another_is_not_bridged_over_it() -> None:
    frames = [[face(100 + 10 * f), face(300)] for f in range(40)]
    hidden = [[faces[1]] if 18 <= f <= 22 else faces for f, faces in enumerate(frames)]
    tracked = track_faces(hidden)
    assert numbers(tracked[16:18]) == [[0, 1]] * 2
    assert numbers(tracked[18:23]) == [[1]] * 5
    assert [sorted(n) for n in numbers(tracked[23:])] == [[0, 1]] * 17


def test_numbers_follow_the_beginnings_of_tracks_from_left_to_right() -> None:
    frames = [[face(400), face(100)], [face(400), face(100), face(250)], [face(100), face(250)]]
    assert numbers(track_faces(frames)) == [[0, 1], [0, 2, 1], [0, 2]]


def test_the_typical_face_is_the_median_over_the_track() -> None:
    frames = [[face(100, size=size, score=score)] for size, score in ((80, 0.9), (82, 0.7), (95, 0.8))]
    tracked = track_faces(frames)
    assert {face.number for faces in tracked for face in faces} == {0}
    assert all(face.typical.width == pytest.approx(0.9 * 82) for faces in tracked for face in faces)
    assert all(face.typical.score == 0.8 for faces in tracked for face in faces)


def test_a_single_outlier_does_no_harm() -> None:
    frames = shaken(pan(60), 0.5)
    spoilt = list(frames)
    good = frames[30][0]
    spoilt[30] = [Face(good.box, good.score, good.landmarks[::-1].copy())]
    clean, other = track_faces(frames), track_faces(spoilt)
    assert unlike(other, [[face.face for face in faces] for faces in clean]) <= 0.5


def test_empty_videos() -> None:
    assert track_faces([]) == []
    assert track_faces([[], []]) == [[], []]


def test_the_result_does_not_depend_on_the_order_of_the_faces() -> None:
    frames = shaken([[face(100 + 3 * f), face(300 - 2 * f, 150), face(320, 90)] for f in range(40)], 1.0)
    first = track_faces(frames)
    for other in (track_faces(frames), track_faces([faces[::-1] for faces in frames])):
        assert numbers(other) == numbers(first)
        assert unlike(other, [[face.face for face in faces] for faces in first]) == 0

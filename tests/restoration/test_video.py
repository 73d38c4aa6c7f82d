"""Steady video from a real photo: the real detector, passthrough weights, and known motion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.clip import Frame, centers, seen_through, solvay_clip, true_path
from gpen.faces.align import crop_matrix
from gpen.faces.detection.detector import FaceDetector
from gpen.faces.face import Face
from gpen.faces.resampling.transforms import Matrix
from gpen.faces.tracking.shot_cuts import find_cuts, thumbnail
from gpen.faces.tracking.tracks import TrackedFace, track_faces
from gpen.images import Picture
from gpen.restoration.api import restore
from gpen.weights.checkpoint import Model
from tests.restoration import checks

FRAMES, CROP = 60, 256


@pytest.fixture(scope="module")
def clip(solvay: Picture) -> list[Frame]:
    return list(solvay_clip(solvay.photo, FRAMES))


@pytest.fixture(scope="module")
def detected(clip: list[Frame], yunet: FaceDetector) -> list[list[Face]]:
    return [yunet.detect(frame.picture) for frame in clip]


@pytest.fixture(scope="module")
def tracked(clip: list[Frame], detected: list[list[Face]]) -> list[list[TrackedFace]]:
    return track_faces(detected, find_cuts([thumbnail(frame.picture) for frame in clip]))


@pytest.fixture(scope="module")
def always_there(tracked: list[list[TrackedFace]]) -> list[int]:
    """The numbers of the faces that are in every frame."""
    numbers = [{face.number for face in faces} for faces in tracked]
    return sorted(set.intersection(*numbers))


def nearest(faces: list[list[Face]], to: list[Face]) -> list[Face]:
    """For each frame, the face nearest to the other one."""
    return [
        min(found, key=lambda face: float(np.hypot(*np.subtract(face.center, other.center))))
        for found, other in zip(faces, to, strict=True)
    ]


def jitter(matrices: list[Matrix]) -> NDArray[np.float64]:
    """The standard deviation of the second differences of scale, rotation and both shifts: 0 for steady motion."""
    return np.diff([matrix[[0, 1, 0, 1], [0, 0, 2, 2]] for matrix in matrices], 2, axis=0).std(axis=0)


def test_crops_jitter_three_times_less_and_lag_by_less_than_half_a_pixel(
    clip: list[Frame],
    detected: list[list[Face]],
    tracked: list[list[TrackedFace]],
    always_there: list[int],
) -> None:
    assert len(always_there) >= 2
    for number in always_there:
        steady = [next(face.face for face in faces if face.number == number) for faces in tracked]
        before, after = (
            [crop_matrix(face, CROP, "gpen") for face in faces] for faces in (nearest(detected, steady), steady)
        )
        assert (jitter(before) / jitter(after)).min() >= 3

        seen, smoothed = centers(before, CROP), centers(after, CROP)
        true = true_path(clip, seen)
        speed = np.gradient(true, axis=0)
        fastest = np.linalg.norm(speed, axis=1).max()
        assert fastest > 4
        # The lag: the shift in frames that fits the path best to the true path, or to the detected one.
        for reference in (true, seen):
            late = float(((reference - smoothed) * speed).sum() / (speed**2).sum())
            assert abs(late) * fastest < 0.5
        # The smoothed path is closer to the true one.
        errors = [np.linalg.norm(path - true, axis=1) for path in (seen, smoothed)]
        assert np.sqrt(np.mean(errors[1] ** 2)) < 0.6 * np.sqrt(np.mean(errors[0] ** 2))


def test_frames_pass_through_the_steady_crops_unchanged(
    clip: list[Frame], tracked: list[list[TrackedFace]], passthrough: Model
) -> None:
    for frame, faces in list(zip(clip, tracked, strict=True))[::6]:
        restoration = restore(frame.picture, passthrough, [face.face for face in faces])
        checks.passed_through(restoration, frame.picture)
        assert len(restoration.faces) == len(faces)
        for done, face in zip(restoration.faces, faces, strict=True):
            assert np.array_equal(done.matrix, crop_matrix(face.face, CROP, "gpen"))


def test_a_face_missed_in_some_frames_is_bridged(
    clip: list[Frame], detected: list[list[Face]], tracked: list[list[TrackedFace]], always_there: list[int]
) -> None:
    number = always_there[0]
    gap = range(30, 35)
    expected = [next(face.face for face in faces if face.number == number) for faces in tracked]
    missed = [
        [face for face in faces if f not in gap or np.hypot(*np.subtract(face.center, expected[f].center)) > 20]
        for f, faces in enumerate(detected)
    ]
    assert all(len(missed[f]) == len(detected[f]) - 1 for f in gap)
    again = track_faces(missed)
    for f in gap:
        (face,) = (face for face in again[f] if face.number == number)
        assert face.bridged
        assert np.abs(face.face.landmarks - expected[f].landmarks).max() < 2


def test_a_cut_resets_the_tracks(
    clip: list[Frame], detected: list[list[Face]], solvay: Picture, yunet: FaceDetector
) -> None:
    """The same camera motion, then other people at the same positions."""
    part, elsewhere = clip[:12], np.array([[0, 0, 800], [0, 0, 0]])
    other = [seen_through(solvay.photo, frame.true - elsewhere) for frame in part]
    cuts = find_cuts([thumbnail(picture) for picture in [*(frame.picture for frame in part), *other]])
    assert cuts == [12]
    faces = [*detected[:12], *(yunet.detect(picture) for picture in other)]
    tracked = track_faces(faces, cuts)
    first, second = ({face.number for faces in half for face in faces} for half in (tracked[:12], tracked[12:]))
    assert first
    assert second
    assert not first & second
    alone = track_faces(faces[12:])
    for together, by_itself in zip(tracked[12:], alone, strict=True):
        for face, same in zip(together, by_itself, strict=True):
            assert np.array_equal(face.face.landmarks, same.face.landmarks)

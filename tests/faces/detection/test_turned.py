"""Tilted and lying faces. ``python -m bench.upright`` prints the whole evaluation of which this is a part."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import upright
from gpen.faces.detection.detector import FaceDetector, NetworkDetector, make_detector
from gpen.faces.detection.merging import apart_from
from gpen.faces.detection.network import COLUMNS
from tests.drawn_faces import PLACES, Drawn, blank, draw

_WITHOUT_FACES = ("brick", "chelsea", "coffee", "coins", "gravel", "motorcycle_left", "motorcycle_right", "rocket")


@pytest.fixture(scope="module", params=["yunet", "retinaface_mobile0.25"])
def detector(request: pytest.FixtureRequest, detector_weights: Path) -> FaceDetector:
    if request.param != "yunet":
        pytest.importorskip("facexlib")
    return make_detector(request.param, [detector_weights])


@pytest.fixture(scope="module")
def portraits(photos: Path) -> dict[str, np.ndarray]:
    return upright.portraits()


@pytest.mark.parametrize("size", [120, 250])
def test_portraits_turned_in_steps_of_15_degrees(detector, portraits, size):
    seen = upright.Tilted()
    for number, (name, portrait) in enumerate(portraits.items()):
        # Four angles of each portrait, all 24 in turn.
        seen.look(detector, name, upright.resized(portrait, size), range(15 * (number % 6), 360, 90))
    assert seen.views == 4 * len(portraits)
    assert seen.missed == []
    assert seen.beyond(20) == []
    assert len(seen.beyond(10)) <= 0.05 * seen.views
    assert np.median(seen.distances) < 0.09


@pytest.mark.parametrize(("size", "degrees"), [(120, 90), (200, 270), (300, 90), (300, 180)])
def test_someone_lying_beside_someone_upright(detector, portraits, size, degrees):
    small = {name: upright.resized(portraits[name], size) for name in list(portraits)[::3]}
    for a, b in itertools.permutations(small, 2):
        faces = detector.detect(upright.beside(small[a], small[b], degrees))
        assert upright.found_beside(faces, size) == (1, 1), (a, b)
        lying = max(faces, key=lambda face: face.center[0])
        (alone,) = detector.detect(upright.beside(small[b], small[b], 0)[:, size + 60 :])
        assert abs(upright.angle_between(lying.landmarks, alone.landmarks) - min(degrees, 360 - degrees)) < 20


def test_nothing_lies_in_textures(detector, portraits):
    """Beside a face, so that they are searched at all quarter turns for lying ones too."""
    face = upright.resized(next(iter(portraits.values())), 150)
    for name, texture in list(upright.textures())[::3]:
        photo = np.full((512, 700, 3), 0.5, np.float32)
        photo[:, :512] = texture
        photo[20:170, 530:680] = face
        faces = detector.detect(photo)
        assert len(faces) == 1, name
        assert faces[0].center[0] > 530


def test_threads_of_a_fabric_are_no_faces(detector):
    assert detector.detect(dict(upright.textures())["fabric 15"]) == []


def test_no_more_faces_than_before_where_there_is_none(detector):
    """Among photos without faces, the motorcycle's engine is one for either network."""
    pictures = [(name, picture) for name, picture in upright.without_faces() if name in _WITHOUT_FACES]
    counts = {name: len(detector.detect(picture)) for name, picture in pictures}
    assert {name for name, count in counts.items() if count} <= {
        "yunet": {"motorcycle_left", "motorcycle_right"},
        "retinaface_mobile0.25": {"motorcycle_left", "gravel"},
    }[detector.name]
    assert max(counts.values(), default=0) <= 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_drawn_face_that_lies_beside_an_upright_one(turns):
    lying = blank(100, 100)
    draw(lying, 0, 0, 100)
    photo = blank(900, 1600)
    draw(photo, 200, 100, 100)
    photo[700:800, 1000:1100] = np.rot90(lying, turns)
    finder = Drawn()
    faces = NetworkDetector(finder).detect(photo)
    assert len(faces) == 2
    assert faces[1].box == (999.5, 699.5, 1099.5, 799.5)
    # Its landmarks are those of a box around a tilted square, hence not exact.
    assert upright.angle_between(faces[1].landmarks, PLACES) == pytest.approx((90, 180, 90)[turns - 1], abs=20)
    assert np.abs(faces[1].landmarks.mean(axis=0) - faces[1].center).max() < 12
    once = Drawn()
    assert len(NetworkDetector(once, turn=False).detect(photo)) == 1
    # A video's frames pay nothing for lying faces.
    assert once.sizes == [*[(1, 900, 928)] * 2, (1, 450, 800), (1, 225, 400)]


def test_one_tilted_head_does_not_have_the_photo_searched_again(detector, portraits):
    sizes = []
    network = detector._network

    class Recorder:
        name, device, suspicion = network.name, network.device, network.suspicion

        def find(self, pictures: list[torch.Tensor], threshold: float) -> list[np.ndarray]:
            sizes.extend(tuple(picture.shape[:2]) for picture in pictures)
            return network.find(pictures, threshold)

    photo, _ = upright.turned(upright.resized(portraits["ffhq_00000_hq"], 250), 30)
    assert len(NetworkDetector(Recorder()).detect(photo)) == 1
    assert {size for size in sizes if max(size) > len(photo)} == {(2 * len(photo), 2 * len(photo))}


def test_a_face_is_not_apart_from_its_own_features():
    def row(x: float, y: float, size: float) -> list[float]:
        return [x, y, x + size, y + size, 0.9, *(PLACES * size + (x, y)).ravel()]

    found = np.array([row(100, 100, 100)])
    others = np.array([row(110, 120, 20), row(0, 0, 400), row(160, 160, 100), row(205, 100, 100)])
    assert apart_from(others, found).tolist() == [False, False, True, True]
    assert apart_from(others, np.zeros((0, COLUMNS))).all()

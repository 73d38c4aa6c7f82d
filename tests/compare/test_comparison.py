"""Comparing models from Python: timing, pasting into cells, errors."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gpen.compare import comparison
from gpen.compare.comparison import compare
from gpen.errors import FaceError, OptionError, PhotoError
from gpen.faces.face import Face
from gpen.faces.selection.select import FaceChoice
from gpen.faces.source import GivenFaces
from gpen.options import Options
from tests.commands import picture, upright_face

SIDE = 128
PHOTO = picture().photo
FACES = [upright_face(70, 40, 30), upright_face(8, 10, 24), upright_face(36, 50, 28)]


def given(faces: list[Face]) -> GivenFaces:
    return GivenFaces(faces, FaceChoice())


class Fake:
    """A face model that changes nothing, on a device that need not exist."""

    title, in_size, out_size, template, dtype, path = "Fake", 64, 64, None, torch.float32, Path("fake.pth")

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.calls = 0

    def __call__(self, crop):
        self.calls += 1
        return crop


@pytest.mark.parametrize(("device", "expected"), [("cpu", (2, 3, 4)), ("cuda", (3, 4, 5))])
def test_the_first_calls_are_not_timed(monkeypatch, device, expected):
    """Nor the second one on a GPU, in which a graph is captured."""

    class Slow(Fake):
        def __call__(self, crop):
            super().__call__(crop)
            now[0] += self.calls
            return crop

    now = [0.0]
    monkeypatch.setattr(comparison.time, "perf_counter", lambda: now[0])
    seen = []
    result = compare(
        PHOTO,
        [Slow(device), Slow(device)],
        given(FACES),
        cell=SIDE,
        on_progress=lambda *n: seen.append(n),
    )
    assert [column.seconds for column in result.columns] == [expected] * 2
    assert result.columns[0].seconds_per_face == expected[1]
    assert seen == [(done, 6) for done in range(7)]


def test_a_small_face_shows_the_detail_that_a_model_adds():
    """Faces are pasted into the enlarged square, not into the photo, whose resolution would hide the difference."""

    class Stripes(Fake):
        out_size = 256

        def __call__(self, crop):
            return np.tile((np.arange(256) // 2 % 2).astype(np.float32)[None, :, None], (256, 1, 3))

    result = compare(PHOTO, [Stripes()], given(FACES), cell=256)
    for cell in result.columns[0].cells:
        assert cell[120:136, 120:136].std() > 0.3


def test_faces_of_any_proportions_are_pasted_where_they_were():
    """A model that changes nothing leaves every cell as it was, with crops of either template."""

    class Ffhq(Fake):
        in_size, out_size, template = 256, 256, "ffhq"

    noise = np.random.default_rng(0).random((200, 300, 3)).astype(np.float32)
    photo = cv2.GaussianBlur(noise, (0, 0), 3)
    photo = np.clip((photo - 0.5) * 4 + 0.5, 0, 1)
    plain, tilted = upright_face(40, 50, 90), upright_face(170, 60, 80)
    landmarks = tilted.landmarks + np.array([(-6, 5), (8, -9), (9, 4), (-7, 8), (5, 3)])
    faces = [plain, Face(tilted.box, 1, landmarks)]
    result = compare(photo, [Fake(), Ffhq()], given(faces), Options(mask="box"), cell=256)
    for column, largest in zip(result.columns, (0.12, 0.03), strict=True):
        for cell, before in zip(column.cells, result.before, strict=True):
            assert np.abs(cell - before).max() <= largest
            assert before[100:150, 100:150].std() > 0.1


def test_faces_are_ordered_and_the_photo_is_not_changed():
    photo = PHOTO.copy()
    result = compare(photo, [Fake()], given(FACES), Options(mask="box"), cell=SIDE)
    assert [face for _, face in result.faces] == sorted(FACES, key=lambda face: face.center)
    assert np.array_equal(photo, PHOTO)


def test_missing_faces_a_missing_parser_and_a_wrong_photo_are_refused():
    with pytest.raises(FaceError, match="No face was found"):
        compare(PHOTO, [Fake()], given([]))
    with pytest.raises(OptionError, match="needs a face parser"):
        compare(PHOTO, [Fake()], given(FACES), Options(mask="parsed"))
    with pytest.raises(PhotoError, match="The photo"):
        compare(PHOTO * 255, [Fake()], given(FACES))

"""Faces of a group, before and after, below the photo."""

from __future__ import annotations

import numpy as np

from gpen.faces.close_ups import with_close_ups
from gpen.faces.face import Face
from tests.commands import upright_face


def faces(count: int) -> list[tuple[int, Face]]:
    return [(number, upright_face(20 + 30 * number, 40, 20)) for number in range(count)]


def sheet(count: int, width: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sheet, and the photos before, which is dark, and after."""
    rng = np.random.default_rng(0)
    before = np.full((100, 30 * count + 40, 3), 0.25, np.float32)
    after = before.copy()
    for number, face in faces(count):
        left, top, right, bottom = (round(edge) for edge in face.box)
        after[top:bottom, left:right] = 0.5 + rng.uniform(-0.1, 0.1) + number / 100
    drawing = np.full((60, width, 3), 200, np.uint8)
    return with_close_ups(drawing, before, after, faces(count)), before, after


def test_the_drawing_stays_on_top():
    made, _, _ = sheet(5)
    assert (made[:60] == 200).all()
    assert made.shape[1] == 800


def test_every_face_is_there_before_and_after():
    made, _, after = sheet(9)
    size, gap = 100, 3
    in_row = 3
    assert len(made) == 60 + 3 * (size + gap)
    for number, face in faces(9):
        row, column = divmod(number, in_row)
        top, left = 60 + gap + row * (size + gap), column * (2 * size + gap)
        middle = slice(top + 45, top + 55)
        assert (made[middle, left + 45 : left + 55] == round(0.25 * 255)).all()
        x, y = (round(v) for v in face.center)
        shown = made[middle, left + size + 45 : left + size + 55].astype(int)
        assert np.abs(shown - np.rint(after[y, x] * 255)).max() <= 1


def test_faces_at_the_edge_and_larger_than_the_photo():
    photo = np.random.default_rng(0).random((40, 50, 3), np.float32)
    for x, size in ((-15, 30), (45, 30), (-20, 200)):
        made = with_close_ups(np.zeros((10, 300, 3), np.uint8), photo, photo, [(0, upright_face(x, 5, size))])
        assert made.shape == (10 + 96 + 3, 300, 3)


def test_a_narrow_photo_gets_a_wider_sheet():
    photo = np.zeros((40, 50, 3), np.float32)
    made = with_close_ups(np.full((10, 50, 3), 9, np.uint8), photo, photo, [(0, upright_face(5, 5, 20))] * 3)
    assert made.shape == (10 + 3 * (96 + 3), 192, 3)
    assert (made[:10, :50] == 9).all()

"""Drawings: numbers on faces, pictures side by side."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.faces.drawing import draw_faces, side_by_side
from gpen.faces.face import Face

YELLOW = np.array([255, 214, 10], np.uint8)


def face(x: float, y: float, width: float, height: float) -> Face:
    points = [(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)]
    return Face((x, y, x + width, y + height), 0.9, np.array([(x + width * a, y + height * b) for a, b in points]))


def photo(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 0.5, np.float32)


def drawn(drawing: np.ndarray) -> np.ndarray:
    return (drawing != 128).any(axis=2)


def yellow(drawing: np.ndarray) -> np.ndarray:
    return (drawing == YELLOW).all(axis=2)


def test_a_box_landmarks_and_a_number():
    one = face(100, 80, 50, 60)
    drawing = draw_faces(photo(), [(7, one)])
    assert drawing.dtype == np.uint8
    assert drawing.shape == (200, 300, 3)
    for x, y in one.landmarks:
        assert yellow(drawing)[round(y), round(x)]
    for x, y in ((100, 110), (150, 110), (125, 80), (125, 140)):
        assert drawn(drawing)[y, x]
    # The number is above the box, black on yellow.
    label = drawing[55:79, 95:130]
    assert yellow(label).sum() > 50
    assert (label.max(axis=2) < 60).sum() > 5
    # Between landmarks and box the face is unchanged.
    assert not drawn(drawing)[110:115, 103:110].any()


def test_without_boxes_the_face_is_not_covered():
    drawing = draw_faces(photo(), [(7, face(100, 80, 50, 60))], boxes=False)
    assert yellow(drawing).sum() > 50
    assert not drawn(drawing)[80:141, 100:151].any()


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize(
    "one", [face(-20, -20, 40, 50), face(280, -10, 40, 50), face(285, 180, 40, 50), face(-30, 190, 40, 50)]
)
def test_numbers_do_not_leave_the_picture(one, boxes):
    inside = draw_faces(photo(), [(128, face(150, 100, 40, 50))], boxes=False)
    size = yellow(inside).sum()
    drawing = draw_faces(photo(), [(128, one)], boxes=boxes)
    shown = yellow(drawing)
    # The whole label is there: as large as it is in the middle.
    assert shown.sum() >= size
    if not boxes:
        assert shown.sum() == size
        rows, columns = np.nonzero(drawn(drawing))
        rows_inside, columns_inside = np.nonzero(drawn(inside))
        assert np.ptp(rows) == np.ptp(rows_inside)
        assert np.ptp(columns) == np.ptp(columns_inside)


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 4), (20, 20)])
def test_pictures_smaller_than_a_number(size):
    drawing = draw_faces(photo(*size), [(28, face(0, 0, *size))])
    assert drawing.shape == (*size, 3)
    assert drawn(drawing).any()


def test_twenty_nine_small_faces_can_be_told_apart():
    faces = [(number, face(30 + 45 * (number % 10), 30 + 60 * (number // 10), 34, 42)) for number in range(29)]
    drawing = draw_faces(photo(220, 490), faces, boxes=False)
    labels = [
        drawing[round(f.box[1]) - 22 : round(f.box[1]), max(0, round(f.box[0]) - 22) : round(f.box[0])]
        for _, f in faces
    ]
    for label in labels:
        assert yellow(label).sum() > 30
        assert (label.max(axis=2) < 90).sum() >= 5
    cut = {label[-14:, -10:].tobytes() for label in labels[1:10]}
    assert len(cut) == 9


def test_the_photo_itself_is_not_changed():
    before = photo()
    draw_faces(before, [(0, face(10, 10, 50, 60))])
    assert (before == 0.5).all()


def test_values_beyond_the_range_are_clipped():
    bright = np.full((4, 4, 3), 1.7, np.float32)
    assert (draw_faces(bright, []) == 255).all()
    assert (draw_faces(-bright, []) == 0).all()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (200, 300), (1000, 700), (16, 40)])
def test_side_by_side(height, width):
    left, right = (np.full((height, width, 3), value, np.uint8) for value in (60, 200))
    joined = side_by_side([left, right], ["before", "after (GPEN 2048)"])
    strip = joined.shape[0] - height
    gap = joined.shape[1] - 2 * width
    assert 10 <= strip <= max(40, height // 6)
    assert 2 <= gap <= max(2, width // 100)
    assert (joined[strip:, :width] == 60).all()
    assert (joined[strip:, -width:] == 200).all()
    assert (joined[strip:, width:-width] == 0).all()
    # There is a caption above each picture, and it ends before the right edge.
    for side in (joined[:strip, :width], joined[:strip, -width:]):
        assert side.max() > 100
        assert width < 200 or (side[:, -1] == 0).all()

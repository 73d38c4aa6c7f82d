"""Which rectangles of a frame are converted."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.faces.source import FoundFace
from gpen.options import Options
from gpen.video.rectangles import face_rectangles, moved
from tests.commands import upright_face


def test_rectangles_of_neighbours_are_one():
    near = [FoundFace(0, upright_face(30, 30, 30)), FoundFace(1, upright_face(70, 30, 30))]
    assert [[face.number for face in faces] for _, faces in face_rectangles(near, Options(), 400, 200)] == [[0, 1]]
    far = [FoundFace(0, upright_face(30, 30, 30)), FoundFace(1, upright_face(300, 30, 30))]
    rectangles = face_rectangles(far, Options(), 400, 200)
    assert len(rectangles) == 2
    assert all((part[1].stop - part[1].start) < 150 for part, _ in rectangles)
    assert face_rectangles([], Options(), 400, 200) == []


@pytest.mark.parametrize(("x", "y"), [(-15, 60), (380, 60), (100, -12), (100, 185), (-15, 185)])
def test_faces_at_the_edge_have_rectangles_within_the_frame(x, y):
    ((rows, columns), faces), *others = face_rectangles([FoundFace(3, upright_face(x, y, 30))], Options(), 400, 200)
    assert not others
    assert [face.number for face in faces] == [3]
    assert 0 <= rows.start < rows.stop <= 200
    assert 0 <= columns.start < columns.stop <= 400


def test_grain_is_measured_around_a_face():
    face = FoundFace(0, upright_face(200, 100, 20))
    plain, wide = (face_rectangles([face], Options(grain=grain), 400, 200)[0][0] for grain in (0.0, 1.0))
    assert wide[1].stop - wide[1].start > 1.4 * (plain[1].stop - plain[1].start)


def test_a_face_in_its_rectangle():
    face = moved(FoundFace(1, upright_face(50, 40, 30)), 20, 10)
    assert face.face.box == (30, 30, 60, 60)
    assert np.allclose(face.face.landmarks, upright_face(30, 30, 30).landmarks)

"""Levels, tiles, detailed looks, merging and rotation, with a detector whose answers are known exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from gpen.faces.detection import tiles
from gpen.faces.detection.detector import NetworkDetector
from gpen.faces.detection.multiscale import LONGEST_SIDE, MEDIUM_PHOTO, SMALL_PHOTO, Scales, find_at_every_size
from gpen.faces.detection.network import COLUMNS
from gpen.faces.detection.pyramid import Pyramid
from tests.drawn_faces import PLACES, Drawn, blank, draw


def detect(photo: np.ndarray, finder: Drawn | None = None, **more):
    return NetworkDetector(finder or Drawn(), **more).detect(photo)


def test_coordinates_are_pixel_centres():
    photo = blank(1600, 1600)
    draw(photo, 100, 200, 40)
    (face,) = detect(photo)
    assert face.box == (99.5, 199.5, 139.5, 239.5)
    assert np.allclose(face.landmarks, PLACES * 40 + (99.5, 199.5))
    assert face.score == 0.95


@pytest.mark.parametrize("at", [876, 1020, 1100, 1372, 1500, 1627, 1628])
def test_a_face_across_tiles_is_found_once_and_whole(at):
    photo = blank(3000, 3000)
    draw(photo, at, at, 100)
    (face,) = detect(photo)
    assert face.box == (at - 0.5, at - 0.5, at + 99.5, at + 99.5)


def test_many_faces_of_a_large_photo_are_each_found_once():
    photo = blank(2900, 4100)
    places = [(x, y) for x in range(8, 4000, 174) for y in range(12, 2800, 192)]
    for x, y in places:
        draw(photo, x, y, 60)
    faces = detect(photo)
    assert [(f.box[0] + 0.5, f.box[1] + 0.5) for f in faces] == sorted(places)
    assert all(f.width == f.height == 60 for f in faces)


@pytest.mark.parametrize("size", [24, 60, 150, 230, 400, 900, 2000, 3900])
def test_faces_of_every_size(size):
    photo = blank(4000, 4000)
    draw(photo, 37, 53, size)
    (face,) = detect(photo)
    assert np.allclose(face.box, (36.5, 52.5, 36.5 + size, 52.5 + size), atol=max(1, size / 20))


def test_scaling_is_exact():
    """A face that fills whole pixels of a coarser level is mapped back exactly to where it was drawn."""
    photo = blank(4096, 4096)
    draw(photo, 512, 1024, 1024)
    (face,) = detect(photo)
    assert face.box == (511.5, 1023.5, 1535.5, 2047.5)
    assert np.allclose(face.landmarks, PLACES * 1024 + (511.5, 1023.5))


def test_a_small_face_is_looked_at_in_all_detail():
    """On the finest level it is half as large, off the grid, and not certain."""
    photo = blank(4000, 4000)
    draw(photo, 1001, 2003, 25)
    finder = Drawn()
    (face,) = detect(photo, finder)
    assert face.score == 0.95
    assert face.box == (1000.5, 2002.5, 1025.5, 2027.5)
    assert (1, 160, 160) in finder.sizes


def test_small_faces_beside_one_another_share_a_look():
    photo = blank(4000, 4000)
    for x in (1000, 1040):
        draw(photo, x, 2000, 26)
    finder = Drawn()
    assert len(detect(photo, finder)) == 2
    assert (1, 160, 160) in finder.sizes


def test_a_small_face_at_the_photos_edge():
    photo = blank(4000, 4000)
    draw(photo, 3970, 0, 30)
    (face,) = detect(photo)
    assert np.allclose(face.box, (3969.5, -0.5, 3999.5, 29.5), atol=1)


@pytest.mark.parametrize("side", [300, 1000])
def test_a_small_face_of_a_small_photo_is_enlarged(side):
    photo = blank(side, side)
    draw(photo, 100, 80, 16)
    (face,) = detect(photo)
    assert face.score == 0.95
    assert np.allclose(face.box, (99.5, 79.5, 115.5, 95.5), atol=0.5)
    assert np.allclose(face.landmarks, PLACES * 16 + (99.5, 79.5), atol=0.5)


def test_the_smallest_face_follows_the_size_of_the_photo():
    assert Scales.of(SMALL_PHOTO, 100) == Scales(enlargement=2)
    assert Scales.of(100, SMALL_PHOTO + 1) == Scales.of(MEDIUM_PHOTO, 1) == Scales(detail=2)
    assert Scales.of(MEDIUM_PHOTO + 1, 1) == Scales.of(LONGEST_SIDE, 1000) == Scales()
    assert Scales.of(1000, LONGEST_SIDE + 1) == Scales(reduction=2, detail=1)
    assert Scales.of(6000, 4000).reduction == 2  # so that faces of 32 pixels have 16
    assert Scales.of(12000, 9000).reduction == 4


def test_no_call_sees_more_than_a_tile_and_no_photo_is_looked_at_much_more_than_once():
    finder = Drawn()
    detect(blank(5000, 7000), finder, turn=False)
    assert max(max(size[1:]) for size in finder.sizes) <= 1.2 * tiles.TILE + 1
    finest = (5000 // 3) * (7000 // 3)
    assert sum(count * height * width for count, height, width in finder.sizes) < 1.8 * finest  # 4/3 for the levels


@pytest.mark.parametrize("length", [1, 1280, 1536, 1537, 2304, 2305, 6000, 12345])
def test_spans_cover_and_overlap(length):
    spans = tiles.spans(length)
    assert spans[0][0] == 0
    assert sum(spans[-1]) == length
    assert len({size for _, size in spans}) == 1
    assert spans[0][1] <= 1.2 * tiles.TILE
    for (start, size), (following, _) in pairwise(spans):
        assert start + size - following >= tiles.OVERLAP


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_photos(turns):
    photo = blank(700, 1800)
    for x, y, size in ((30, 40, 50), (500, 600, 90), (1700, 10, 61)):
        draw(photo, x, y, size)
    upright = detect(photo)
    faces = detect(np.rot90(photo, turns))
    assert len(faces) == 3
    height, width = photo.shape[:2]
    for face in faces:
        x, y = face.landmarks.T
        back = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}[turns]
        assert min(np.abs(np.stack(back, 1) - other.landmarks).max() for other in upright) < 1e-9
        x0, y0, x1, y1 = face.box
        shown = np.rot90(photo, turns)[round(y0 + 0.5) : round(y1 + 0.5), round(x0 + 0.5) : round(x1 + 0.5), 0]
        assert shown.all()
        assert shown.size == face.width * face.height


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("size", [26, 150])
def test_rotated_photos_that_are_reduced_with_a_rest(turns, size):
    """4001 pixels do not halve: the row that is cut off lies on another side of the rotated photo."""
    photo = blank(3001, 4001)
    draw(photo, 2001, 1003, size)
    (face,) = detect(np.ascontiguousarray(np.rot90(photo, turns)))
    shown = np.rot90(photo, turns)[:, :, 0]
    y, x = (int(v.min()) for v in np.nonzero(shown))
    assert np.allclose(face.box, (x - 0.5, y - 0.5, x + size - 0.5, y + size - 0.5), atol=1.01)


def rows(*faces: tuple[float, ...]) -> np.ndarray:
    """Faces x, y, size, score as a detector returns them."""
    return np.array([[x, y, x + s, y + s, score, *(PLACES * s + (x, y)).ravel()] for x, y, s, score in faces]).reshape(
        -1, COLUMNS
    )


class Given:
    """Returns the same detections for every picture of the finest level of a photo of that side."""

    name = "given"
    device = "cpu"
    suspicion = 0.3

    def __init__(self, found: np.ndarray, side: int) -> None:
        self.found, self.side = found, side

    def find(self, pictures: list[torch.Tensor], threshold: float) -> list[np.ndarray]:
        return [self.found[: len(self.found) if len(picture) == self.side else 0].copy() for picture in pictures]


def found_in(found: np.ndarray, side: int = 1400) -> np.ndarray:
    return find_at_every_size(Given(found, side), [Pyramid(torch.zeros(side, side, 3), 1)], 0.5)[0]


def short(found: np.ndarray) -> list[tuple[float, ...]]:
    return [tuple(row[[0, 1, 4]]) for row in found]


def test_of_two_detections_of_one_face_the_better_stays():
    assert short(found_in(rows((10, 10, 80, 0.8), (14, 12, 84, 0.9)))) == [(14, 12, 0.9)]


def test_a_face_within_another_of_similar_size_is_the_same():
    assert short(found_in(rows((10, 10, 100, 0.9), (30, 40, 60, 0.85)))) == [(10, 10, 0.9)]


def test_neighbours_stay_apart():
    assert len(found_in(rows((10, 10, 80, 0.9), (60, 10, 80, 0.9)))) == 2


def test_a_large_face_has_to_be_detected_at_a_smaller_size_too():
    assert short(found_in(rows((10, 10, 500, 0.95), (700, 10, 200, 0.8)))) == [(700, 10, 0.8)]


def test_an_eye_is_not_a_face():
    assert short(found_in(rows((10, 10, 200, 0.93), (60, 70, 40, 0.8)))) == [(10, 10, 0.93)]


def test_a_child_in_front_of_a_large_face_stays():
    assert len(found_in(rows((10, 10, 200, 0.9), (60, 70, 60, 0.95)))) == 2


@pytest.mark.parametrize("column", range(COLUMNS))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_dropped(column, value):
    broken = rows((10, 10, 80, 0.9), (200, 10, 80, 0.8))
    broken[0, column] = value
    assert short(found_in(broken)) == [(200, 10, 0.8)]


def test_degenerate_detections_are_dropped():
    broken = rows((10, 10, 80, 0.9), (200, 10, 80, 0.8), (400, 10, 80, 0.8), (600, 10, 80, 0.8), (0, 300, 80, 0.8))
    broken[0, 2] = 5  # right of box left of left
    broken[1, 5:] = 240  # all landmarks in one place
    broken[2, 5:] += 500  # landmarks elsewhere
    broken[3, :4] += 5000  # outside the picture
    assert short(found_in(broken)) == [(0, 300, 0.8)]


def test_boxes_are_clipped_to_the_photo():
    (row,) = found_in(rows((-20, 1350, 80, 0.9)))
    assert row[:4].tolist() == [0, 1350, 60, 1400]

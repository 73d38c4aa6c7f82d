"""Shot cuts are found; pans, zooms and flashes are not mistaken for them."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpen.faces.tracking.shot_cuts import find_cuts, thumbnail
from gpen.images import read_picture

Photo = NDArray[np.float32]
WIDTH, HEIGHT = 320, 180


def scene(seed: int) -> Photo:
    """A picture of soft shapes, 640 x 360, different for each seed."""
    coarse = np.random.default_rng(seed).uniform(0, 1, (7, 12, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC), 0, 1)


def shot(seed: int, frames: int, pan: float = 2, zoom: float = 1.0) -> list[Photo]:
    """Part of a scene, as a camera sees it that pans by some pixels and zooms by a factor in each frame."""
    photo = scene(seed)
    matrices = [np.array([[zoom**f, 0, -20 - pan * f], [0, zoom**f, -40.0]]) for f in range(frames)]
    return [cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT)) for matrix in matrices]


def cuts(frames: list[Photo]) -> list[int]:
    return find_cuts([thumbnail(frame) for frame in frames])


def test_a_thumbnail_is_small_whatever_the_picture() -> None:
    shapes = {(1080, 1920): (18, 32), (1920, 1080): (32, 18), (40, 4000): (1, 32), (16, 16): (32, 32)}
    for (height, width), shape in shapes.items():
        small = thumbnail(np.full((height, width, 3), 0.25, np.float32))
        assert small.shape == (*shape, 3)
        assert small.dtype == np.float32
        assert np.allclose(small, 0.25)


def test_each_cut_is_found_at_its_frame() -> None:
    assert cuts(shot(1, 8) + shot(2, 5) + shot(3, 2) + shot(4, 6)) == [8, 13, 15]


@pytest.mark.parametrize("pan", [0, 2, 15, 45])
@pytest.mark.parametrize("zoom", [1.0, 1.02])
def test_motion_is_not_a_cut(pan: float, zoom: float) -> None:
    assert cuts(shot(5, 6, pan, zoom)) == []


@pytest.mark.parametrize("gain", [0.3, 1.8])
def test_changing_light_is_not_a_cut(gain: float) -> None:
    frames = shot(6, 10)
    frames[5:] = [np.clip(frame * gain, 0, 1) for frame in frames[5:]]
    assert cuts(frames) == []


@pytest.mark.parametrize("flash", [np.ones, np.zeros])
def test_a_flash_or_a_single_odd_frame_is_not_a_cut(flash: type) -> None:
    frames = shot(7, 12)
    frames[4] = flash((HEIGHT, WIDTH, 3), np.float32)
    frames[8] = shot(8, 1)[0]
    assert cuts(frames) == []


def test_a_cut_to_black_and_back() -> None:
    black = [np.zeros((HEIGHT, WIDTH, 3), np.float32)] * 4
    assert cuts(shot(9, 4) + black + shot(9, 4)) == [4, 8]


def test_an_unreadable_frame_is_passed_over() -> None:
    thumbnails = [thumbnail(frame) for frame in shot(1, 6) + shot(2, 6)]
    assert find_cuts([*thumbnails[:3], None, *thumbnails[4:]]) == [6]
    assert find_cuts([*thumbnails[:6], None, *thumbnails[7:]]) == [7]
    assert find_cuts([None, None]) == []
    assert find_cuts([]) == []


def test_real_photos(photos: Path) -> None:
    """There is a cut between any two photos, but none while a camera pans over one."""
    pictures = [read_picture(path, 100).photo for path in sorted(photos.glob("*.png")) if "_lq" not in path.name]
    assert len(pictures) > 2
    shots = [photo[h // 5 : h // 5 + 9 * w // 16, :w] for photo in pictures for h, w in [photo.shape[:2]]]
    for one, other in combinations(shots, 2):
        size = (640, 360)
        pair = [cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo in (one, other)]
        assert cuts([pair[0], pair[0], pair[1], pair[1]]) == [2]
    solvay = next(photo for photo in pictures if photo.shape[1] == 1328)
    places = [(100 + 40 * f, 100 + 8 * f, 480 - 6 * f) for f in range(12)]
    frames = [solvay[y : y + 9 * w // 16, x : x + w] for x, y, w in places]
    assert cuts([cv2.resize(frame, (480, 270)) for frame in frames]) == []
    assert all(first[0] < second[0] for first, second in pairwise(places))

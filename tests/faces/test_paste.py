"""Pasting: only inside the mask, each pixel once, without seams between overlapping faces."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.measure import PeakMemory
from gpen.faces.masks.mask import SIZE
from gpen.faces.resampling.transforms import compose, invert, scaling
from tests.arrays import Canvas, match_colors
from tests.images.test_tensors import structured

pytestmark = pytest.mark.usefixtures("each_implementation")

Photo = NDArray[np.float32]


@pytest.fixture
def photo() -> Photo:
    return np.random.default_rng(0).random((120, 200, 3), dtype=np.float32)


def disc(radius: float = 0.35, soft: float = 0.05) -> Photo:
    y, x = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(x - (SIZE - 1) / 2, y - (SIZE - 1) / 2) / SIZE
    return np.clip((radius - distance) / soft, 0, 1).astype(np.float32)


def at(x: float, y: float, size: int, side: float, angle: float = 0.0) -> NDArray[np.float64]:
    """Canvas to crop of ``size``, which covers ``side`` pixels around (x, y) of the canvas."""
    turn = size / side * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shift = np.array([(size - 1) / 2] * 2) - turn @ (x, y)
    return np.hstack([turn, shift[:, None]])


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes that the process takes during a call, beyond what it holds."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux says how much memory a process took at most")
    call()  # the first call of anything takes memory for good
    memory = PeakMemory()
    call()
    return memory.above()


def flat(color: tuple[float, float, float], size: int = 64) -> Photo:
    return np.tile(np.array(color, np.float32), (size, size, 1))


def test_a_flat_crop_replaces_the_middle_and_nothing_outside(photo: Photo) -> None:
    canvas = Canvas(photo)
    canvas.add(flat((1, 0, 0)), at(90, 60, 64, 50, 0.3), disc())
    result, mask = canvas.blend(1.0)
    y, x = np.mgrid[:120, :200]
    distance = np.hypot(x - 90, y - 60)
    assert np.allclose(result[distance < 14], (1, 0, 0), atol=1e-5)
    assert np.array_equal(result[mask == 0], photo[mask == 0])
    assert not mask[distance > 19].any()
    assert mask[distance < 14].min() > 0.999


def test_strength_blends_inside_the_mask(photo: Photo) -> None:
    canvas = Canvas(photo)
    canvas.add(flat((1, 0, 0)), at(90, 60, 64, 50), disc())
    result, mask = canvas.blend(0.25)
    assert mask.max() == pytest.approx(0.25)
    assert np.allclose(result[60, 90], 0.75 * photo[60, 90] + 0.25 * np.array([1, 0, 0]), atol=1e-5)
    untouched, nothing = canvas.blend(0.0)
    assert np.array_equal(untouched, photo)
    assert not nothing.any()


def test_overlapping_faces_do_not_erase_one_another_in_either_order(photo: Photo) -> None:
    left = (flat((1, 0, 0)), at(80, 60, 64, 60), disc())
    right = (flat((0, 0, 1)), at(110, 60, 64, 60), disc())
    results = []
    for order in ((left, right), (right, left)):
        canvas = Canvas(photo)
        for face in order:
            canvas.add(*face)
        results.append(canvas.blend(1.0)[0])
    assert np.allclose(results[0], results[1], atol=1e-6)
    assert np.allclose(results[0][60, 80], (1, 0, 0), atol=0.02)
    assert np.allclose(results[0][60, 110], (0, 0, 1), atol=0.02)
    assert np.allclose(results[0][60, 95], (0.5, 0, 0.5), atol=0.05)  # the middle belongs to both
    steps = np.abs(np.diff(results[0][60, 84:107], axis=0)).max()
    assert steps < 0.5  # no seam between the two


def test_a_crop_that_goes_back_to_a_tenth_does_not_alias(photo: Photo) -> None:
    y, x = np.mgrid[:512, :512]
    checkerboard = np.repeat(((x + y) % 2).astype(np.float32)[..., None], 3, axis=2)
    canvas = Canvas(photo)
    canvas.add(checkerboard, at(90.3, 60.2, 512, 51, 0.1), disc(0.4, 0.01))
    result, mask = canvas.blend(1.0)
    assert np.abs(result[mask > 0.999] - 0.5).max() <= 4 / 255


@pytest.mark.parametrize("size", [32, 64, 300])
def test_a_crop_returns_to_its_position(size: int) -> None:
    """A ramp in canvas coordinates, sampled into a crop by hand, lands where it came from."""
    ramp = np.mgrid[:120, :200].transpose(1, 2, 0).astype(np.float32) / 200
    photo = np.concatenate([ramp, ramp[..., :1]], axis=2)
    matrix = at(100.4, 61.3, size, 70, -0.4)
    y, x = np.mgrid[:size, :size].astype(float)
    back = invert(matrix)
    canvas_x, canvas_y = (back[i, 0] * x + back[i, 1] * y + back[i, 2] for i in (0, 1))
    crop = np.stack([canvas_y, canvas_x, canvas_y], axis=2).astype(np.float32) / 200
    canvas = Canvas(photo)
    canvas.add(np.clip(crop, 0, 1), matrix, disc())
    result, _ = canvas.blend(1.0)
    assert np.abs(result - photo).max() * 200 <= 0.1  # pixels


@pytest.mark.parametrize(("x", "y"), [(-30.0, 60.0), (0.0, 0.0), (199.0, 119.0), (500.0, 60.0), (90.0, -400.0)])
def test_faces_over_and_beyond_the_border(photo: Photo, x: float, y: float) -> None:
    canvas = Canvas(photo)
    canvas.add(flat((1, 0, 0)), at(x, y, 64, 50), disc())
    result, mask = canvas.blend(1.0)
    assert np.isfinite(result).all()
    inside = 0 <= x < 200 and 0 <= y < 120
    assert mask.any() == inside
    if inside:
        assert np.allclose(result[int(y), int(x)], (1, 0, 0), atol=1e-4)


def test_an_empty_mask_touches_nothing(photo: Photo) -> None:
    canvas = Canvas(photo)
    canvas.add(flat((1, 0, 0)), at(90, 60, 64, 50), np.zeros((SIZE, SIZE), np.float32))
    assert np.array_equal(canvas.blend(1.0)[0], photo)


def test_the_mask_covers_the_crop_whatever_its_size(photo: Photo) -> None:
    masks = []
    for size in (64, 512):
        canvas = Canvas(photo)
        canvas.add(flat((1, 0, 0), size), compose(scaling(size / 64), at(90, 60, 64, 50)), disc())
        masks.append(canvas.blend(1.0)[1])
    assert np.abs(masks[0] - masks[1]).max() < 1e-4


def test_memory_follows_the_faces_not_the_canvas() -> None:
    canvas = Canvas(np.zeros((3000, 4000, 3), np.float32))
    peak = peak_memory(lambda: canvas.add(flat((1, 0, 0)), at(2000, 1500, 64, 60), disc()))
    assert peak <= 3000 * 4000  # a twelfth of the canvas


@pytest.mark.parametrize("enlargement", [2, 4.5, 6, 8, 16])
@pytest.mark.parametrize("angle", [0.0, 0.8])
def test_memory_of_an_enlarged_crop_is_a_few_times_its_rectangle(enlargement: float, angle: float) -> None:
    """The samples, many times the canvas's pixels, exist for a tile in each thread only."""
    side = 128 * enlargement
    canvas = Canvas(np.zeros((2200, 2200, 3), np.float32))
    crop, mask = flat((1, 0, 0), 128), np.ones((SIZE, SIZE), np.float32)
    peak = peak_memory(lambda: canvas.add(crop, at(1100, 1100, 128, side, angle), mask))
    across = min(side * (math.cos(angle) + math.sin(angle)), 2200)
    assert peak <= 3 * across**2 * 3 * 4 + 24e6 * torch.get_num_threads()


def test_blending_takes_memory_for_the_faces_and_the_mask() -> None:
    photo = np.ones((3000, 4000, 3), np.float32)
    canvas = Canvas(photo)
    canvas.add(flat((1, 0, 0)), at(2000, 1500, 64, 60), disc())
    results: list[Photo] = []
    peak = peak_memory(lambda: results.extend(canvas.blend(0.5, in_place=True)))
    assert results[0] is photo
    assert peak <= 3000 * 4000 * 4 / 4  # a quarter of the mask, whose pages stay untouched


def test_a_face_apart_is_blended_where_it_belongs() -> None:
    photo = np.ones((2000, 2000, 3), np.float32)
    canvas = Canvas(photo)
    canvas.add(flat((1, 0, 0)), at(1000, 1000, 64, 1800), disc())
    peak = peak_memory(lambda: canvas.blend(0.5, in_place=True))
    assert peak <= 1.25 * 2000**2 * 4  # the mask; a copy of the face takes as much again


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_blending_into_the_photo_itself_is_the_same(photo: Photo, strength: float) -> None:
    """Even where faces overlap, and shared pixels are computed more than once; one is apart."""
    results = []
    for in_place in (False, True):
        canvas = Canvas(photo.copy())
        for x, y, color in ((80, 60, (1, 0, 0)), (110, 60, (0, 0, 1)), (30, 25, (1, 1, 0)), (95, 60, (0, 1, 0))):
            canvas.add(flat(color), at(x, y, 64, 60), disc())
        results.append(canvas.blend(strength, in_place=in_place))
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("kind", ["read-only", "flipped", "of a structured array"])
def test_a_photo_that_cannot_be_written_to_is_copied(photo: Photo, kind: str) -> None:
    given = {"flipped": photo[:, ::-1].copy()[:, ::-1], "of a structured array": structured(photo)}.get(kind)
    given = photo.copy() if given is None else given
    given.flags.writeable = kind != "read-only"
    results = []
    for under, in_place in ((photo, False), (given, True)):
        canvas = Canvas(under)
        canvas.add(flat((1, 0, 0)), at(80, 60, 64, 60), disc())
        results.append(canvas.blend(1.0, in_place=in_place)[0])
    assert np.array_equal(given, photo)
    assert np.array_equal(*results)


def test_a_prepared_copy_becomes_one_result(photo: Photo) -> None:
    canvas, plain = Canvas(photo.copy()), Canvas(photo)
    for one in (canvas, plain):
        one.add(flat((1, 0, 0)), at(80, 60, 64, 60), disc())
    expected = plain.blend(1.0)[0]
    canvas.prepare()
    assert canvas._under is None  # the CPU has other work
    canvas._photo.device = torch.device("cuda")
    canvas.prepare()
    assert canvas._under is not None
    prepared = canvas._under.picture
    canvas.prepare()
    first, second = canvas.blend(1.0)[0], canvas.blend(1.0)[0]
    assert first is prepared
    assert second is not prepared
    assert np.array_equal(first, expected)
    assert np.array_equal(second, expected)
    canvas.prepare()
    assert canvas.blend(1.0, in_place=True)[0] is canvas._photo.array
    assert np.array_equal(canvas._photo.array, expected)


def test_matching_gives_mean_and_spread_of_the_original_in_lab() -> None:
    rng = np.random.default_rng(1)
    original = np.clip(rng.normal((0.6, 0.45, 0.35), 0.05, (64, 64, 3)), 0, 1).astype(np.float32)
    restored = np.clip(original * (0.7, 0.9, 1.1) + 0.1, 0, 1).astype(np.float32)
    mask = disc(0.5, 0.01)
    inside = np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 30
    before, matched, wanted = (
        cv2.cvtColor(picture, cv2.COLOR_RGB2Lab)[inside]
        for picture in (restored, match_colors("lab", restored, original, mask), original)
    )
    assert np.abs(before.mean(axis=0) - wanted.mean(axis=0)).max() > 5
    assert matched.mean(axis=0) == pytest.approx(wanted.mean(axis=0), abs=0.3)
    assert matched.std(axis=0) == pytest.approx(wanted.std(axis=0), rel=0.05)
    assert np.abs(match_colors("lab", original, original, mask) - original).max() < 3e-3

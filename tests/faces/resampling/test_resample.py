"""Resampling: faithful to a crop and back, without aliasing, at a cost that follows the pixels touched."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from gpen.faces.resampling import resample
from gpen.faces.resampling.low_pass import LowPass
from gpen.faces.resampling.transforms import compose, invert, scaling
from gpen.images.picture import FloatImage
from tests.arrays import crop_face, warp, warp_mask

pytestmark = pytest.mark.usefixtures("each_implementation")

SIZE = 512


def crop_going_back(pattern: NDArray[np.bool_], shrink: float, angle: float) -> NDArray[np.float32]:
    """The middle of a crop with ``pattern``, resampled to 1 / ``shrink`` of its size."""
    crop = np.repeat(pattern.astype(np.float32)[..., None], 3, axis=2)
    small = int(SIZE / shrink)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / shrink
    shift = np.array([small / 2 + 0.3, small / 2 - 0.2]) - turn @ (SIZE / 2, SIZE / 2)
    out = warp(crop, np.hstack([turn, shift[:, None]]), (small, small))
    edge = small // 4
    return out[edge:-edge, edge:-edge]


@pytest.mark.parametrize("angle", [0.0, 0.35])
def test_a_checkerboard_reduced_to_a_tenth_is_flat(angle: float) -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    out = crop_going_back((x + y) % 2 == 0, 10, angle)
    assert np.abs(out - 0.5).max() <= 4 / 255


@pytest.mark.parametrize("angle", [0.0, 0.35])
@pytest.mark.parametrize("period", [1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8])
@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_too_fine_for_the_photo_are_flat(period: float, axis: int, angle: float) -> None:
    position = np.mgrid[:SIZE, :SIZE][axis]
    stripes = (position / (10 * period)) % 1 < 0.5
    out = crop_going_back(stripes, 10, angle)
    assert np.abs(out - stripes.mean()).max() <= 16 / 255


def test_stripes_that_the_photo_can_hold_are_kept() -> None:
    position = np.mgrid[:SIZE, :SIZE][1]
    out = crop_going_back((position / 40) % 1 < 0.5, 10, 0.0)
    assert out.max() > 0.95
    assert out.min() < 0.05


@pytest.mark.parametrize("shrink", [0.3, 1.0, 1.7, 4.2])
def test_a_constant_stays_constant(shrink: float) -> None:
    image = np.full((60, 50, 3), 0.7, np.float32)
    out = warp(image, scaling(1 / shrink), (int(50 / shrink), int(60 / shrink)))
    assert np.abs(out - 0.7).max() <= 1e-5


@pytest.mark.parametrize("shrink", [0.4, 1.3, 3.1, 9.7])
def test_a_gradient_does_not_shift(shrink: float) -> None:
    """A ramp's value is its position, so any shift by filtering or interpolation can be measured."""
    ramp = np.repeat(np.linspace(0, 1, 400, dtype=np.float32)[None], 300, axis=0)
    matrix = compose(np.array([[1, 0, 0.37], [0, 1, -0.61]]), scaling(1 / shrink))
    width, height = int(400 / shrink), int(300 / shrink)
    out = warp(ramp, matrix, (width, height))
    x = (np.arange(width) - matrix[0, 2]) / matrix[0, 0]
    inside = slice(width // 5, -width // 5)
    error = np.abs(out[height // 2] * 399 - x)[inside].max()
    assert error <= 0.05 * max(1, shrink)


def test_there_and_back_through_a_larger_crop_is_faithful() -> None:
    rng = np.random.default_rng(3)
    photo = cv2.GaussianBlur(rng.random((120, 120), dtype=np.float32), (0, 0), 0.8)
    turn = 3.3 * np.array([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    matrix = np.hstack([turn, (np.array([256, 256]) - turn @ (60, 60))[:, None]])
    back = warp(warp(photo, matrix, (512, 512)), invert(matrix), (120, 120))
    error = np.abs(back - photo)[30:90, 30:90] * 255
    assert error.max() <= 6
    assert error.mean() <= 1


def sharp_to_the_last_pixel() -> FloatImage:
    """A texture with as much energy in each octave as photos have, freshly reduced to half."""
    side = 560
    white = np.fft.rfft2(np.random.default_rng(5).standard_normal((side, side)))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1
    texture = np.fft.irfft2(white / frequency, (side, side))
    texture = (0.5 + 0.12 * texture / texture.std()).astype(np.float32)
    small = cv2.resize(texture, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, axis=2)


@pytest.mark.parametrize(("degrees", "most_wrong"), [(0, 0.015), (8, 0.03), (15, 0.05), (30, 0.1)])
# Nearly 1 to nearly 2: from there on a smaller network is large enough.
@pytest.mark.parametrize("enlargement", [1.01, 1.07, 1.3, 1.98])
def test_a_crop_brings_back_detail_as_fine_as_pixels(enlargement: float, degrees: float, most_wrong: float) -> None:
    photo = sharp_to_the_last_pixel()
    middle, angle = len(photo) / 2, math.radians(degrees)
    side = math.ceil(len(photo) * enlargement * 1.45)
    turn = enlargement * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = np.hstack([turn, (np.array([side / 2 + 0.3, side / 2 - 0.2]) - turn @ (middle, middle))[:, None]])
    back = warp(crop_face(photo, matrix, side), invert(matrix), photo.shape[1::-1])
    before, after = ((one - cv2.GaussianBlur(one, (0, 0), 1.5))[40:-40, 40:-40] for one in (photo, back))
    kept = (after**2).sum() / (before**2).sum()
    assert 0.98 <= kept <= 1.03
    # It is the detail that was there, as far as the square of its frequencies fits into the turned one of the crop.
    assert ((after - before) ** 2).sum() / (before**2).sum() <= most_wrong


def test_only_the_needed_part_is_touched_and_the_result_is_the_same() -> None:
    image = np.random.default_rng(0).random((700, 900, 3), dtype=np.float32)
    for shrink in (0.5, 2.7):
        matrix = compose(np.array([[1, 0, -150.4], [0, 1, -99.2]]), scaling(1 / shrink))
        whole = warp(image, matrix, (60, 50))
        x, y = int(150 * shrink) - 80, int(99 * shrink) - 80
        x, y = max(0, x), max(0, y)
        part = image[y : y + 400, x : x + 400]
        offset = np.array([[1, 0, x], [0, 1, y]], float)
        assert np.abs(warp(part, compose(matrix, offset), (60, 50)) - whole).max() <= 1e-5


def test_the_cost_follows_the_result_not_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def spy(self: LowPass, *given: Any) -> Tensor:
        samples = real(self, *given)
        seen.append(samples.shape)
        return samples

    real = LowPass.filter
    monkeypatch.setattr(LowPass, "filter", spy)
    warp(np.zeros((4000, 6000, 3), np.float32), np.array([[1, 0, -3000], [0, 1, -2000]], float), (64, 64))
    assert seen
    assert max(map(max, seen)) < 300  # three samples per pixel, in whole blocks


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch, angle: float) -> None:
    image = np.random.default_rng(2).random((220, 180, 3), dtype=np.float32)
    turn = 1.4 * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = np.hstack([turn, [[40.3], [-20.1]]])
    whole = warp(image, matrix, (300, 200))
    monkeypatch.setattr(resample, "_SAMPLES_ELSEWHERE", 1 << 20)
    monkeypatch.setattr(resample, "_TILE_ON_CPU", 70)
    assert np.abs(warp(image, matrix, (300, 200)) - whole).max() <= 2e-4


def test_at_the_border_the_photo_is_mirrored() -> None:
    image = np.random.default_rng(1).random((90, 110), dtype=np.float32)
    padded = cv2.copyMakeBorder(image, 120, 120, 120, 120, cv2.BORDER_REFLECT_101)
    for matrix in (np.array([[1, 0, 70.3], [0, 1, 60.6]]), np.array([[0.4, 0, 30.2], [0, 0.4, 20.7]])):
        shift = np.array([[1, 0, -120], [0, 1, -120]], float)
        size = (64, 64)
        assert np.abs(warp(image, matrix, size) - warp(padded, compose(matrix, shift), size)).max() <= 1e-5


@pytest.mark.parametrize("shrink", [0.5, 1.5, 3.0, 12.0])
def test_masks_neither_overshoot_nor_shift(shrink: float) -> None:
    y, x = np.mgrid[:512, :512]
    mask = (np.hypot(x - 250, y - 270) < 150).astype(np.float32)
    side = int(512 / shrink)
    out = warp_mask(mask, scaling(1 / shrink), (side, side))
    assert out.min() >= 0
    assert out.max() <= 1
    assert out[0].max() == 0
    rows, columns = np.mgrid[:side, :side]
    center = np.array([(columns * out).sum(), (rows * out).sum()]) / out.sum()
    assert center == pytest.approx((np.array([250, 270]) + 0.5) / shrink - 0.5, abs=0.05)
    assert out.sum() * shrink**2 == pytest.approx(mask.sum(), rel=0.01)

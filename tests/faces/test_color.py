"""Low frequencies of the original under the restored face's detail, at every size of the networks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpen.faces.color import lab_of_rgb, rgb_of_lab
from gpen.images.tensors import as_array, as_tensor
from tests.arrays import match_colors

pytestmark = pytest.mark.usefixtures("each_implementation")

Photo = NDArray[np.float32]
SIZES = (256, 512, 1024, 2048)
TINT = (0.12, 0.02, -0.08)
ANYWHERE = np.ones((8, 8), np.float32)


def clouds(size: int, *cells: int, seed: int = 0) -> Photo:
    """Smooth random colours around 0.5, with features of 1/cells of the picture, each as strong."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.normal(0, 0.05, (n, n, 3)), (size, size), interpolation=cv2.INTER_CUBIC) for n in cells]
    return np.clip(0.5 + sum(layers), 0.2, 0.8).astype(np.float32)


def waves(size: int, *cycles: int) -> Photo:
    """Detail in all directions, without low frequencies; each of the cycles per picture as strong."""
    rng, x = np.random.default_rng(1), np.arange(size)[:, None] * (2 * np.pi / size)
    y = x[:, None]
    angles, phases = rng.uniform(0, 2 * np.pi, (2, len(cycles), 3))
    parts = [
        np.sin(np.rint(n * np.sin(angle)) * x + np.rint(n * np.cos(angle)) * y + phase)
        for n, angle, phase in zip(cycles, angles, phases, strict=True)
    ]
    return (0.04 * sum(parts)).astype(np.float32)


def low(picture: Photo) -> Photo:
    """Blurred by a square of 32 pixels in a crop of 512, in proportion in others."""
    return np.asarray(cv2.blur(picture, (len(picture) // 16,) * 2), np.float32)


def energy(detail: Photo) -> float:
    return float(np.square(detail, dtype=np.float64).sum())


@pytest.mark.parametrize("size", SIZES)
def test_a_tint_goes_and_detail_stays(size: int) -> None:
    original = clouds(size, 3, 6)
    detail = waves(size, 32, 48, 100)
    restored = original + detail + np.float32(TINT)
    matched = match_colors("wavelet", restored, original, ANYWHERE)
    assert matched.dtype == np.float32
    shift = (low(restored) - low(original)).mean(axis=(0, 1))
    assert np.abs(shift).max() * 255 > 20
    left = low(matched) - low(original)
    assert np.abs(left.mean(axis=(0, 1))).max() * 255 <= 0.1
    # Not only on average.
    inside = slice(size // 16, -size // 16)
    assert np.abs(left)[inside, inside].max() * 255 <= 1
    assert energy(matched - low(matched)) >= 0.95 * energy(restored - low(restored))
    assert energy(matched - original - detail) <= 0.05 * energy(detail)


@pytest.mark.parametrize("size", SIZES)
def test_a_tint_that_changes_slowly_goes_too(size: int) -> None:
    """Matching statistics cannot do that: the face is too dark on one side, and too light on the other."""
    original = clouds(size, 3, 6)
    shading = np.linspace(-0.1, 0.1, size, dtype=np.float32)[:, None]
    matched, in_lab = (match_colors(method, original + shading, original, ANYWHERE) for method in ("wavelet", "lab"))
    inside = slice(size // 8, -size // 8)
    assert np.abs(matched - original)[inside, inside].max() * 255 <= 1
    assert np.abs(in_lab - original)[inside, inside].max() * 255 > 5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("cycles", "least", "most"), [(2, 0.0, 0.1), (4, 0.0, 0.25), (16, 0.95, 1.01)])
def test_what_detail_is_depends_on_the_crop_alone(size: int, cycles: int, least: float, most: float) -> None:
    """Of waves that the network added, this share of the amplitude stays, at so many in the width of the crop."""
    x = np.arange(size)[None, :, None] * (2 * np.pi * cycles / size)
    added = np.broadcast_to(0.1 * np.cos(x + 1), (size, size, 3)).astype(np.float32)
    original = np.full((size, size, 3), 0.5, np.float32)
    inside = slice(size // 4, -size // 4)
    left = (match_colors("wavelet", original + added, original, ANYWHERE) - original)[inside, inside]
    assert least <= left.std() / added[inside, inside].std() <= most


@pytest.mark.parametrize(
    ("restored_size", "original_size"), [(512, 256), (256, 512), (96, 512), (640, 512), (1000, 64)]
)
def test_the_sizes_may_differ(restored_size: int, original_size: int) -> None:
    original = clouds(1024, 3)
    restored, seen = (
        cv2.resize(original, (n, n), interpolation=cv2.INTER_AREA) for n in (restored_size, original_size)
    )
    matched = match_colors("wavelet", restored + np.float32(TINT), seen, ANYWHERE)
    assert matched.shape == restored.shape
    assert np.abs(matched - restored).max() * 255 <= 4


def test_the_result_stays_within_the_range() -> None:
    dark, light = (np.full((64, 64, 3), value, np.float32) for value in (0.02, 0.98))
    checked = np.indices((64, 64, 3)).sum(axis=0) % 2 * np.float32(0.5)
    for original in (dark, light):
        matched = match_colors("wavelet", checked, original, ANYWHERE)
        assert 0 <= matched.min() < matched.max() <= 1


def test_lab_is_that_of_opencv_and_back() -> None:
    """Dark colours included, for which the formulas have a part of their own."""
    steps = np.concatenate([[0, 0.002, 0.01, 0.035, 0.045, 0.09], np.linspace(0.15, 1, 10)]).astype(np.float32)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    lab = lab_of_rgb(as_tensor(colors))
    # OpenCV interpolates in tables.
    assert np.abs(as_array(lab) - cv2.cvtColor(colors, cv2.COLOR_RGB2LAB)).max() < 0.7
    assert np.abs(as_array(rgb_of_lab(lab)) - colors).max() < 1e-5


def test_lab_gives_the_face_the_mean_and_the_spread_of_what_the_mask_covers() -> None:
    restored, original = clouds(64, 3), clouds(64, 5, seed=1) * np.float32((0.9, 1, 0.8))
    restored[:, 32:], original[:, 32:] = (1, 0, 0), (0, 1, 0)
    mask = np.zeros((16, 16), np.float32)
    mask[:, :7] = 1
    matched = match_colors("lab", restored, original, mask)
    wanted, got = (cv2.cvtColor(picture[:, :28], cv2.COLOR_RGB2LAB) for picture in (original, matched))
    assert got.mean(axis=(0, 1)) == pytest.approx(wanted.mean(axis=(0, 1)), abs=0.5)
    assert got.std(axis=(0, 1)) == pytest.approx(wanted.std(axis=(0, 1)), rel=0.05)


def test_without_matching_the_face_stays_as_it_is() -> None:
    restored = clouds(64, 3)
    assert np.array_equal(match_colors("none", restored, restored[::-1].copy(), ANYWHERE), restored)

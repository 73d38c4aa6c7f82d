"""Smoothing along a track: motion passes unchanged, jitter is removed, outliers do not spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from gpen.faces.tracking.smoothing import smooth, whittaker

SIZE = 100.0
FRAMES = np.arange(150.0)
SEEN = np.ones(150, bool)


def moving(*coefficients: float, frames: NDArray[np.float64] = FRAMES) -> NDArray[np.float64]:
    """Five landmarks and a box (N, 14) that move along a polynomial, each coordinate with its own offset."""
    path = np.polynomial.polynomial.polyval(frames, coefficients)
    return path[:, None] + np.random.default_rng(7).uniform(0, SIZE, 14)


def jitter(sigma: float, seed: int = 0, whole: bool = False, number: int = 150) -> NDArray[np.float64]:
    """Noise that is independent from frame to frame; whole: the same for all points of a frame."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, sigma, (number, 2)).repeat(7, axis=1) if whole else rng.normal(0, sigma, (number, 14))


@pytest.mark.parametrize("coefficients", [(3,), (3, 7.5), (3, -2, 0.04)], ids=["still", "pan", "accelerating"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 9, 150])
def test_constant_motion_passes_unchanged_to_the_ends(coefficients: tuple[float, ...], number: int) -> None:
    points = moving(*coefficients, frames=FRAMES[:number])
    assert np.abs(smooth(points, SEEN[:number], SIZE) - points).max() <= 1e-6


def test_a_zoom_passes() -> None:
    """Growth at a constant rate is not a polynomial, but the remaining error is invisible."""
    points = (moving(0) - 50) * 1.01 ** FRAMES[:, None]
    assert np.abs(smooth(points, SEEN, SIZE) - points).max() <= 0.01


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_jitter_falls_to_less_than_a_third(seed: int, whole: bool) -> None:
    true = moving(3, 7.5, 0.01, frames=np.arange(600.0))
    noise = jitter(1.5, seed, whole, 600)
    left = smooth(true + noise, np.ones(600, bool), SIZE) - true
    assert left.std() <= noise.std() / 3
    assert np.diff(left, axis=0).std() <= np.diff(noise, axis=0).std() / 15
    assert np.diff(left, 2, axis=0).std() <= np.diff(noise, 2, axis=0).std() / 50


@pytest.mark.parametrize("period", [12, 15, 20, 30, 60])
def test_a_nodding_head_is_followed(period: int) -> None:
    """The strong smoother alone would take a nod for jitter and remove nearly all of it."""
    true = moving(3, 2) + 10 * np.sin(2 * math.pi * FRAMES / period)[:, None]
    left = smooth(true + jitter(0.5), SEEN, SIZE) - true
    assert np.abs(left).max() <= 3
    assert np.sqrt(np.mean(left**2)) <= 0.8


def test_a_pan_that_stops_abruptly_is_followed() -> None:
    true = moving(0) + 5 * np.minimum(FRAMES, 75)[:, None]
    assert np.abs(smooth(true + jitter(0.5), SEEN, SIZE) - true).max() <= 3


def test_there_is_no_delay() -> None:
    """The shift in time that best aligns input and output is zero."""
    true = moving(3) + 60 * np.sin(2 * math.pi * FRAMES / 60)[:, None]
    left = smooth(true + jitter(1), SEEN, SIZE) - true
    speed = np.gradient(true, axis=0)
    delay = -float((left * speed).sum() / (speed**2).sum())
    assert abs(delay) * np.abs(speed).max() <= 0.1


def test_missing_frames_are_interpolated() -> None:
    points, seen = moving(3, -2, 0.04), SEEN.copy()
    for start, length in ((10, 1), (20, 5), (60, 3)):
        seen[start : start + length] = False
    broken = points.copy()
    broken[~seen] = np.nan
    assert np.abs(smooth(broken, seen, SIZE) - points).max() <= 1e-6


@pytest.mark.parametrize("frames", [[70], [70, 71], [0], [149], [10, 80, 140]])
def test_an_outlier_does_not_spread(frames: list[int]) -> None:
    true = moving(3, 4)
    measured = true + jitter(0.5)
    spoilt = measured.copy()
    spoilt[frames] += np.random.default_rng(3).normal(0, 30, (len(frames), 14))
    clean = smooth(measured, SEEN, SIZE)
    assert np.abs(smooth(spoilt, SEEN, SIZE) - clean).max() <= 1
    # A smoother that trusted it would be off by several pixels in the frames around it.
    assert np.abs(whittaker(spoilt, np.ones(150), 1000.0) - clean).max() > 3


@pytest.mark.parametrize("jump", [15, 40, 80])
def test_the_parts_before_and_after_a_jump_do_not_mix(jump: float) -> None:
    true = moving(3, 2)
    true[75:] += jump
    left = smooth(true + jitter(0.5), SEEN, SIZE) - true
    assert np.abs(left[70:80]).max() <= 1.5
    apart = smooth(true, SEEN, SIZE)
    assert np.abs(apart - true).max() <= 1e-6


@pytest.mark.parametrize("weights", [[1], [0, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0, 1]])
def test_one_or_two_rows_determine_all(weights: list[int]) -> None:
    points = moving(3, 5, frames=FRAMES[: len(weights)])
    there = np.array(weights, float)
    result = whittaker(np.where(there[:, None] > 0, points, 1e6), there, 1000.0)
    expected = points if np.count_nonzero(there) > 1 else np.broadcast_to(points[there > 0], points.shape)
    assert np.abs(result - expected).max() <= 1e-6


def test_whittaker_is_the_least_squares_solution() -> None:
    """Against the normal equations, solved densely."""
    rng = np.random.default_rng(1)
    points, weights = rng.normal(size=(40, 3)), rng.uniform(0, 1, 40)
    weights[10:14] = 0
    third = np.diff(np.eye(40), 3, axis=0)
    for penalty in (1.0, 1000.0):
        expected = np.linalg.solve(np.diag(weights) + penalty * third.T @ third, weights[:, None] * points)
        assert np.abs(whittaker(points, weights, penalty) - expected).max() <= 1e-9


def test_the_gains_that_the_penalties_were_chosen_for() -> None:
    impulse = np.zeros((401, 1))
    impulse[200] = 1
    gains = [float(np.linalg.norm(whittaker(impulse, np.ones(401), penalty))) for penalty in (1000.0, 1.0)]
    assert gains == pytest.approx([0.30, 0.54], abs=0.01)
    strong, weak = (whittaker(impulse, np.ones(401), penalty) for penalty in (1000.0, 1.0))
    # 0.83: the median of a Rayleigh distribution in units of its root mean square.
    assert np.linalg.norm(strong - weak) / (0.83 * np.linalg.norm(impulse - weak)) == pytest.approx(0.65, abs=0.01)

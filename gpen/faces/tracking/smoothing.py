"""Smoothing along a track: removes the jitter of detections and keeps the motion, without lag.

The whole track is known, so the smoother is zero-phase. It is Whittaker's, which minimises the squared distance to the
measurements plus a penalty times the squared third differences. Constant position, velocity and acceleration pass
unchanged, at the ends of a track too; missing frames have weight 0.

Sources: Whittaker, "On a new method of graduation", 1923; Eilers, "A perfect smoother", 2003. Outliers: Hampel's
identifier, as in Davies and Gather, "The identification of multiple outliers", 1993.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(frames, coordinates): per frame x and y of each landmark, then other coordinates to smooth with them."""

_ORDER = 3
_STRONG = 1000.0
"""The strong smoother's penalty. It leaves 0.30 of the standard deviation of jitter that is independent from frame to
frame, and halves motion with a period of 20 frames: 1000 x (2 sin(pi / 20))^6 = 0.95, a gain of 1 / (1 + 0.95)."""
_WEAK = 1.0
"""The weak smoother's penalty. It halves motion with a period of 6 frames, so it follows whatever a head can do."""
_JITTER_APART = 0.65
"""The distance between the two smoothers (root mean square) for jitter alone, as a multiple of the (median) distance
that the weak one removes."""
_MOTION = 3.0
"""The multiple of that distance that counts as motion; jitter alone reaches it in one frame of 8000."""
_NEGLIGIBLE = 0.002
"""Distances below this share of the face's size are ignored."""
_SPREAD = 4
"""Motion in one frame counts for this many frames on either side too."""

_MEDIAN = 5  # frames: tolerates two outliers among them
_OUTLIER = 5.0  # times the median distance from the running median
_OUTLIER_SHARE = 0.03  # of a face's size
_JUMP = 0.12
"""Of a face's size: a step that differs this much from both the step before and the step after is a jump, not motion. A
head that shakes three times a second by a third of its size reaches half of it."""
_UNUSUAL = 8.0  # times the median difference between steps, for noisier detections


def smooth(points: Points, seen: NDArray[np.bool_], size: float, landmarks: int = 10) -> Points:
    """Smooth the measured points of one face in consecutive frames.

    points: (N, C), in pixels; rows where ``seen`` (N,) is False may hold anything and are interpolated. The first and
    the last row must be seen. size: of the face, in pixels. landmarks: how many of the first coordinates tell jitter
    from motion. Frames whose landmarks are outliers count as missing. The parts before and after a jump are smoothed
    separately.
    """
    filled = _filled(points, seen)
    middle = _running_median(filled)
    # A part begins and ends with a frame in which the face was seen.
    jumps = [frame for frame in _jumps(middle[:, :landmarks], size) if seen[frame - 1] and seen[frame]]
    starts = [0, *jumps, len(points)]
    parts = []
    for start, end in itertools.pairwise(starts):
        part = slice(start, end)
        good = seen[part] & ~_outliers(filled[part], middle[part], landmarks, seen[part], size)
        # If a part consists of outliers only, they are all there is.
        parts.append(_smooth_part(filled[part], good if good.any() else seen[part], size, landmarks))
    return np.concatenate(parts)


def _smooth_part(points: Points, good: NDArray[np.bool_], size: float, landmarks: int) -> Points:
    """The strong smoother, blended into the weak one where it cannot follow the motion."""
    strong, weak = (whittaker(points, good.astype(float), penalty) for penalty in (_STRONG, _WEAK))
    removed = _distance(points[good], weak[good], landmarks)
    jitter = _JITTER_APART * float(np.median(removed)) + _NEGLIGIBLE * size
    apart = _distance(strong, weak, landmarks) / jitter
    share = _widened(np.clip(apart / _MOTION - 1, 0, 1))[:, None]
    return np.asarray(strong + share * (weak - strong))


def whittaker(points: Points, weights: NDArray[np.float64], penalty: float) -> Points:
    """Minimise the sum of weights x (result - points)^2 and of penalty x (third differences of the result)^2.

    points: (N, C). weights: (N,), 0 for missing rows, not all 0. If only one or two are not 0, first or second
    differences replace the third, so that the solution is unique.
    """
    order = min(_ORDER, int(np.count_nonzero(weights)))
    number = len(points)
    row = np.array([1.0])
    for _ in range(order):
        row = np.convolve(row, [1, -1])
    # bands[d, i] is the element (i, i + d) of the symmetric matrix.
    bands = np.zeros((order + 1, number))
    bands[0] = weights
    for d in range(order + 1):
        for i in range(order + 1 - d):
            bands[d, i : i + number - order] += penalty * row[i] * row[i + d]
    return _solve(bands, weights[:, None] * points)


def _solve(bands: NDArray[np.float64], right: Points) -> Points:
    """Solve a symmetric positive definite banded system by LDL' factorisation, in time linear in the rows."""
    width, number = len(bands) - 1, bands.shape[1]
    diagonal = bands[0].tolist()
    lower = [bands[d].tolist() for d in range(width + 1)]
    solution = right.copy()
    for i in range(number):
        for d in range(1, min(width, number - 1 - i) + 1):
            factor = lower[d][i] / diagonal[i]
            for e in range(d, min(width, number - 1 - i) + 1):
                if e == d:
                    diagonal[i + d] -= factor * lower[d][i]
                else:
                    lower[e - d][i + d] -= factor * lower[e][i]
            solution[i + d] -= factor * solution[i]
    for i in reversed(range(number)):
        solution[i] /= diagonal[i]
        for d in range(1, min(width, number - 1 - i) + 1):
            solution[i] -= lower[d][i] / diagonal[i] * solution[i + d]
    return np.asarray(solution)


def _filled(points: Points, seen: NDArray[np.bool_]) -> Points:
    """The points, interpolated linearly over missing rows."""
    frames = np.arange(len(points))
    return np.stack([np.interp(frames, frames[seen], column) for column in points[seen].T], axis=1)


def _running_median(points: Points) -> Points:
    """The median of five frames; beyond its ends the track is extrapolated linearly."""
    reach = _MEDIAN // 2
    padded = np.concatenate([_before(points, reach), points, _before(points[::-1], reach)[::-1]])
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN, axis=0), axis=-1))


def _before(points: Points, number: int) -> Points:
    """Rows extrapolated before the first, on the Theil-Sen line through the first five.

    Its slope is the median of the slopes between any two, robust against one outlier.
    """
    first = points[:_MEDIAN]
    one, other = np.triu_indices(len(first), 1)
    slopes = (first[other] - first[one]) / (other - one)[:, None]
    slope = np.median(slopes, axis=0) if len(slopes) else np.zeros(points.shape[1])
    start = np.median(first - slope * np.arange(len(first))[:, None], axis=0)
    return np.asarray(start - slope * np.arange(number, 0, -1)[:, None])


def _jumps(middle: Points, size: float) -> list[int]:
    """The frames where a face has jumped since the frame before."""
    steps = np.diff(middle, axis=0)
    if len(steps) < 2:
        return []
    change = np.sqrt(np.mean(np.diff(steps, axis=0) ** 2, axis=1))
    both = np.minimum(np.append(np.inf, change), np.append(change, np.inf))
    return [int(step) + 1 for step in np.flatnonzero(both > max(_JUMP * size, _UNUSUAL * float(np.median(both))))]


def _outliers(
    points: Points, middle: Points, landmarks: int, seen: NDArray[np.bool_], size: float
) -> NDArray[np.bool_]:
    """Frames whose landmarks lie far from the running median."""
    off = _distance(points, middle, landmarks)
    usual = float(np.median(off[seen])) if seen.any() else 0.0
    return np.asarray(off > max(_OUTLIER * usual, _OUTLIER_SHARE * size))


def _distance(first: Points, second: Points, landmarks: int) -> NDArray[np.float64]:
    """The root mean square difference of the landmarks' coordinates, per frame."""
    return np.asarray(np.sqrt(np.mean((first - second)[:, :landmarks] ** 2, axis=1)))


def _widened(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest share around each frame, with smooth transitions."""
    padded = np.pad(share, 2 * _SPREAD)
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * _SPREAD + 1).max(axis=-1)
    hann = np.hanning(2 * _SPREAD + 3)[1:-1]
    return np.convolve(largest, hann / hann.sum(), mode="valid")

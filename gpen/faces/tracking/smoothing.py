"""Smoothing along a track: the jitter of detections goes, motion stays where and when it was.

The whole track is known, so the smoother looks both ways and has no phase, hence no lag: it is Whittaker's, which
minimises the squared distance to what was measured plus a penalty times the squared third differences. Position,
velocity and acceleration that are constant pass unchanged, at the ends of a track as well, and missing frames are
those whose distance does not count.

Sources: Whittaker, "On a new method of graduation", 1923; Eilers, "A perfect smoother", 2003. For bad frames: Hampel's
identifier, as in Davies and Gather, "The identification of multiple outliers", 1993.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(frames, coordinates): along the second axis x and y of each landmark, then what is smoothed with them."""

_ORDER = 3
_STRONG = 1000.0
"""Leaves 0.30 of the standard deviation of jitter that is independent from frame to frame: less than a third. Motion
with a period of 20 frames it halves: 1000 x (2 sin(pi / 20))^6 = 0.95, which makes a gain of 1 / (1 + 0.95)."""
_WEAK = 1.0
"""The same with a period of 6 frames: follows whatever a head can do."""
_USUAL = 0.65
"""How far the two lie apart (root mean square) where a whole face jitters and does nothing else, in units of what the
weak one removes (median)."""
_CLEARLY = 3.0
"""How many times that far they have to lie apart before it is motion: jitter alone does so in one frame of 8000."""
_NEGLIGIBLE = 0.002
"""Of a face's size. Nothing is made of smaller distances."""
_SPREAD = 4
"""Frames on either side for which motion counts as well."""

_MEDIAN = 5  # frames: up to two bad ones among them do no harm
_BAD = 5.0  # times the usual distance from the median
_BAD_SHARE = 0.03  # of a face's size
_JUMP = 0.12
"""Of a face's size: a step this much unlike both that before it and that after it is no motion, but a cut. A head that
shakes three times a second by a third of its size comes to half as much."""
_UNLIKELY = 8.0  # times the usual unlikeness of a step, where detections are worse than that


def smooth(points: Points, seen: NDArray[np.bool_], size: float, landmarks: int = 10) -> Points:
    """Smooth what was measured of one face in consecutive frames.

    points: (N, C), in pixels; rows where ``seen`` is False may hold anything and are filled in; the first and the last
    row are seen. size: of the face, in pixels. landmarks: how many of the first coordinates tell jitter from motion.
    Frames in which the landmarks lie far from where they are before and after are taken for missing. What lies before
    a jump and what lies after it do not touch each other.
    """
    filled = _filled(points, seen)
    middle = _running_median(filled)
    # A part begins and ends with a frame in which the face was seen.
    jumps = [frame for frame in _jumps(middle[:, :landmarks], size) if seen[frame - 1] and seen[frame]]
    starts = [0, *jumps, len(points)]
    parts = []
    for start, end in itertools.pairwise(starts):
        part = slice(start, end)
        good = seen[part] & ~_bad(filled[part], middle[part], landmarks, seen[part], size)
        # What is left of a part that is bad throughout is the best there is.
        parts.append(_smooth_part(filled[part], good if good.any() else seen[part], size, landmarks))
    return np.concatenate(parts)


def _smooth_part(points: Points, good: NDArray[np.bool_], size: float, landmarks: int) -> Points:
    """The strong smoother, and the weak one where the strong one cannot follow."""
    strong, weak = (whittaker(points, good.astype(float), penalty) for penalty in (_STRONG, _WEAK))
    removed = _distance(points[good], weak[good], landmarks)
    usual = _USUAL * float(np.median(removed)) + _NEGLIGIBLE * size
    apart = _distance(strong, weak, landmarks) / usual
    share = _widened(np.clip(apart / _CLEARLY - 1, 0, 1))[:, None]
    return np.asarray(strong + share * (weak - strong))


def whittaker(points: Points, weights: NDArray[np.float64], penalty: float) -> Points:
    """Minimise the sum of weights x (result - points)^2 and of penalty x (third differences of the result)^2.

    points: (N, C). weights: (N,), 0 where there is nothing; not all are 0. Where only one or two are not, first or
    second differences take the place of the third, for which there would be more than one answer.
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
    """Solve for a symmetric positive definite matrix of few bands, by LDL'; time grows with the number of rows only."""
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
    """Straight lines where nothing was seen."""
    frames = np.arange(len(points))
    return np.stack([np.interp(frames, frames[seen], column) for column in points[seen].T], axis=1)


def _running_median(points: Points) -> Points:
    """The median of five frames; past the ends the track goes on straight."""
    reach = _MEDIAN // 2
    padded = np.concatenate([_before(points, reach), points, _before(points[::-1], reach)[::-1]])
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN, axis=0), axis=-1))


def _before(points: Points, number: int) -> Points:
    """The rows that come before the first, on the line through the first five that Theil and Sen would draw.

    Its slope is the median of those between any two, so that one bad row does not turn it.
    """
    first = points[:_MEDIAN]
    one, other = np.triu_indices(len(first), 1)
    slopes = (first[other] - first[one]) / (other - one)[:, None]
    slope = np.median(slopes, axis=0) if len(slopes) else np.zeros(points.shape[1])
    start = np.median(first - slope * np.arange(len(first))[:, None], axis=0)
    return np.asarray(start - slope * np.arange(number, 0, -1)[:, None])


def _jumps(middle: Points, size: float) -> list[int]:
    """The frames before which a face jumped."""
    steps = np.diff(middle, axis=0)
    if len(steps) < 2:
        return []
    unlike = np.sqrt(np.mean(np.diff(steps, axis=0) ** 2, axis=1))
    both = np.minimum(np.append(np.inf, unlike), np.append(unlike, np.inf))
    return [int(step) + 1 for step in np.flatnonzero(both > max(_JUMP * size, _UNLIKELY * float(np.median(both))))]


def _bad(points: Points, middle: Points, landmarks: int, seen: NDArray[np.bool_], size: float) -> NDArray[np.bool_]:
    """Frames whose landmarks lie far from the median of those around."""
    off = _distance(points, middle, landmarks)
    usual = float(np.median(off[seen])) if seen.any() else 0.0
    return np.asarray(off > max(_BAD * usual, _BAD_SHARE * size))


def _distance(first: Points, second: Points, landmarks: int) -> NDArray[np.float64]:
    """The root mean square over the landmarks' coordinates, for each frame."""
    return np.asarray(np.sqrt(np.mean((first - second)[:, :landmarks] ** 2, axis=1)))


def _widened(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest share around each frame, with slopes between different ones."""
    padded = np.pad(share, 2 * _SPREAD)
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * _SPREAD + 1).max(axis=-1)
    hann = np.hanning(2 * _SPREAD + 3)[1:-1]
    return np.convolve(largest, hann / hann.sum(), mode="valid")

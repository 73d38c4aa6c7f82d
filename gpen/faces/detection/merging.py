"""From the detections of many pictures of one photo to each face once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .network import Detections

BEST_WIDTH = 80.0
"""The face width that the networks handle best, in pixels: 40 to 160 give the best scores and boxes."""


def sane(rows: Detections, width: int, height: int) -> NDArray[np.bool_]:
    """Which detections can be a face of a photo of that size: finite, around its landmarks, with its centre inside."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    rows = np.where(finite[:, None], rows, 0.0)
    wide, tall = rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]
    middle_x, middle_y = (rows[:, 0] + rows[:, 2]) / 2, (rows[:, 1] + rows[:, 3]) / 2
    points = rows[:, 5:].reshape(-1, 5, 2)
    # The landmarks of false detections: all at one point, or outside the box.
    spread = np.ptp(points, axis=1).max(axis=1) if len(points) else np.zeros(0)
    off = np.abs(points.mean(axis=1) - np.stack([middle_x, middle_y], axis=1)) if len(points) else points[:, 0]
    return np.asarray(
        finite
        & (wide >= 2)
        & (tall >= 2)
        & (middle_x > 0)
        & (middle_y > 0)
        & (middle_x < width)
        & (middle_y < height)
        & (spread > 0.1 * np.minimum(wide, tall))
        & (off[:, 0] < wide)
        & (off[:, 1] < tall)
    )


def merged(rows: Detections, widths_seen: NDArray[np.float64]) -> Detections:
    """Each face once, best first: of several detections, the one with the best score at the best size.

    widths_seen: the width of each face in the picture that it was found in, in pixels.
    """
    quality = rows[:, 4] - 0.05 * np.abs(np.log2(np.maximum(widths_seen, 1e-3) / BEST_WIDTH))
    kept: list[int] = []
    for i in np.lexsort((rows[:, 1], rows[:, 0], -quality)):
        if not any(_same_face(rows[i], rows[k]) for k in kept):
            kept.append(int(i))
    nested = {i for i in kept for k in kept if _feature_of(rows[i], rows[k])}
    return rows[[i for i in kept if i not in nested]]


def apart_from(rows: Detections, others: Detections) -> NDArray[np.bool_]:
    """Which detections are no part of other faces, and hold none: no centre of one lies in the box of the other."""
    if not len(others):
        return np.ones(len(rows), bool)
    a, b = rows[:, None], others[None]
    a_middle, b_middle = (a[..., 0:2] + a[..., 2:4]) / 2, (b[..., 0:2] + b[..., 2:4]) / 2
    within = np.all((a_middle >= b[..., 0:2]) & (a_middle <= b[..., 2:4]), axis=2)
    around = np.all((b_middle >= a[..., 0:2]) & (b_middle <= a[..., 2:4]), axis=2)
    return np.asarray(~np.any(within | around, axis=1))


def _areas(a: Detections, b: Detections) -> tuple[float, float, float]:
    sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[0:2], b[0:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common, float(np.prod(a[2:4] - a[0:2])), float(np.prod(b[2:4] - b[0:2]))


def _same_face(a: Detections, b: Detections) -> bool:
    common, of_a, of_b = _areas(a, b)
    smaller, larger = sorted((of_a, of_b))
    return common > 0.4 * (of_a + of_b - common) or (common > 0.6 * smaller and larger < 3 * smaller)


def _feature_of(a: Detections, b: Detections) -> bool:
    """Whether a is much smaller than b, inside it, and less certain: an eye or a nostril taken for a face."""
    common, of_a, of_b = _areas(a, b)
    return of_b >= 3 * of_a and common > 0.8 * of_a and a[4] < b[4]

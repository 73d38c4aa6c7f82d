"""Faces that are not upright: photos scanned sideways, tilted heads.

The networks detect a lying face, but with a lower score, and with the landmarks that an upright face would have. So
every detection that is not beyond doubt is checked again on a rotated square around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .multiscale import COLUMNS, Detections, Finder, Image, find_at_every_size

# The landmarks of a frontal face, as complex numbers; only the shape matters, not the size.
_FRONTAL = np.array([-0.62 - 0.59j, 0.62 - 0.59j, 0.0 + 0.13j, -0.54 + 0.70j, 0.55 + 0.69j])
_FRONTAL = _FRONTAL - _FRONTAL.mean()
_CHECK_THRESHOLD = 0.3
_CHECK_SIDE = 160  # pixels of the rotated square
# By angle in degrees: the factor by which the evidence must exceed that for leaving the face as it is.
_REQUIRED_GAIN = {0: 1.0, 90: 1.05, 270: 1.05, 180: 1.05, 30: 1.2, -30: 1.2}
# Reached by a score of 0.9 with little distortion, and never by a lying face in our photos. The largest faces are
# checked anyway: they matter most.
_BEYOND_DOUBT = 0.82
_ALWAYS_CHECKED = 3


@dataclass
class _Scan:
    rows: Detections
    evidence: float
    """The sum over the faces."""
    tilt: int
    """The rotation to the left, in degrees, that makes most of the faces upright."""
    votes: int
    """How many faces need it."""


def find_at_every_angle(finder: Finder, image: Image, threshold: float, turn: bool = True) -> Detections:
    """The faces of a picture, each once, in no particular order.

    A picture without detections is searched again at 90, 270 and 180 degrees; one whose faces are mostly tilted is
    searched again at their angle. Landmarks keep the face's own order: "left" means left when the face is upright.
    turn: False to search the picture once, as it is.
    """
    if not turn:
        return find_at_every_size(finder, image, threshold)
    first = _scan(finder, image, threshold)
    if not len(first.rows):
        scans = [_scan_rotated(finder, image, threshold, tilt) for tilt in (90, 270, 180)]
        return max(scans, key=lambda scan: (bool(len(scan.rows)), scan.tilt == 0, scan.evidence)).rows
    if first.tilt:
        again = _scan_rotated(finder, image, threshold, first.tilt)
        if again.tilt == 0 and len(again.rows) >= first.votes:
            return again.rows
    return first.rows


def _scan_rotated(finder: Finder, image: Image, threshold: float, tilt: int) -> _Scan:
    turned, back = _rotated(image, tilt)
    scan = _scan(finder, turned, threshold)
    scan.rows = _rotated_back(scan.rows, back)
    return scan


def _rotated(image: Image, tilt: int) -> tuple[Image, NDArray[np.float64]]:
    """The picture rotated to the left by ``tilt`` degrees, uncropped, and the 2×3 matrix back to ``image``.

    The matrix maps coordinates of pixel edges.
    """
    height, width = image.shape[:2]
    cos, sin = np.round(np.cos(np.radians(tilt)), 12), np.round(np.sin(np.radians(tilt)), 12)
    wide = round(abs(cos) * width + abs(sin) * height)
    tall = round(abs(sin) * width + abs(cos) * height)
    turn = np.array([[cos, -sin], [sin, cos]])
    back = np.column_stack([turn, (width / 2, height / 2) - turn @ (wide / 2, tall / 2)])
    if tilt % 90 == 0:
        return np.rot90(image, tilt // 90).copy(), back
    centres = back.copy()
    centres[:, 2] += turn @ (0.5, 0.5) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, centres, (wide, tall), flags=flags), back  # type: ignore[return-value]


def _rotated_back(rows: Detections, back: NDArray[np.float64]) -> Detections:
    """Map detections by the matrix. Boxes keep their centre and size; for multiples of 90 degrees they are exact."""
    turn, shift = back[:, :2], back[:, 2]
    middle = (rows[:, 0:2] + rows[:, 2:4]) / 2 @ turn.T + shift
    half = (rows[:, 2:4] - rows[:, 0:2]) / 2
    if abs(turn[0, 1]) > abs(turn[0, 0]):
        half = half[:, ::-1]
    landmarks = (rows[:, 5:].reshape(-1, 2) @ turn.T + shift).reshape(-1, 10)
    return np.concatenate([middle - half, middle + half, rows[:, 4:5], landmarks], axis=1)


def _scan(finder: Finder, image: Image, threshold: float) -> _Scan:
    rows = find_at_every_size(finder, image, threshold)
    large = np.argsort(-np.prod(rows[:, 2:4] - rows[:, 0:2], axis=1), kind="stable")[:_ALWAYS_CHECKED]
    kept, votes = [], dict.fromkeys(_REQUIRED_GAIN, 0)
    for i, row in enumerate(rows):
        tilt = 0
        if i in large or row[4] * _fit(row) < _BEYOND_DOUBT:
            seen = _check_rotated(finder, image, row, threshold)
            if seen is None:
                continue
            tilt, row[5:] = seen
        kept.append(row)
        votes[tilt] += 1
    tilt = max(votes, key=lambda tilt: votes[tilt])
    return _Scan(
        np.reshape(kept, (-1, COLUMNS)),
        sum(map(_evidence, kept)),
        tilt if 2 * votes[tilt] > len(kept) else 0,
        votes[tilt],
    )


def _fit(row: Detections) -> float:
    """How well the landmarks fit an upright frontal face: 1 is perfect, 0 is lying."""
    points = row[5::2] + 1j * row[6::2]
    points = points - points.mean()
    size = float(np.linalg.norm(points))
    if size == 0:
        return 0.0
    along = complex(np.vdot(_FRONTAL, points)) / float(np.linalg.norm(_FRONTAL)) ** 2
    distortion = float(np.linalg.norm(points - along * _FRONTAL)) / size
    upright = along.real / abs(along) if along else 0.0
    return max(0.0, 1 - 2 * distortion) * max(0.0, upright)


def _evidence(row: Detections) -> float:
    """The evidence for an upright face. RetinaFace scores lying faces 0.99 and upright ones 0.999, hence the log."""
    return float(-np.log(1 - min(row[4], 1 - 1e-6))) * _fit(row)


def _check_rotated(
    finder: Finder, image: Image, row: Detections, threshold: float
) -> tuple[int, NDArray[np.float64]] | None:
    """The rotation to the left, in degrees, that makes this face upright, and its landmarks (10,).

    None if no rotation shows a face at all: the detection was an accident of one size.
    """
    look, corner, scale = _square_around(image, row)
    best_tilt, best_landmarks, best, score = 0, row[5:].copy(), 0.0, 0.0
    for tilt in _REQUIRED_GAIN:
        turned, back = _rotated(look, tilt)
        middle = np.array(turned.shape[1::-1]) / 2
        for seen in _central(finder(turned, _CHECK_THRESHOLD), middle):
            score = max(score, float(seen[4]))
            evidence = _evidence(seen) / _REQUIRED_GAIN[tilt]
            if evidence > best:
                best_tilt, best = tilt, evidence
                if tilt:
                    best_landmarks = _rotated_back(seen[None], back)[0, 5:] / scale + np.tile(corner, 5)
                else:
                    best_landmarks = row[5:].copy()
    return None if score < threshold - 0.05 else (best_tilt, best_landmarks)


def _square_around(image: Image, row: Detections) -> tuple[Image, tuple[int, int], float]:
    """A square around the face, twice its size, with its corner in the image and its scale."""
    side = max(4, round(2 * max(row[2] - row[0], row[3] - row[1])))
    x, y = (round(float(row[i] + row[i + 2] - side) / 2) for i in (0, 1))
    height, width = image.shape[:2]
    inside = image[max(y, 0) : y + side, max(x, 0) : x + side]
    square = cv2.copyMakeBorder(
        inside,
        max(-y, 0),
        max(y + side - height, 0),
        max(-x, 0),
        max(x + side - width, 0),
        cv2.BORDER_REPLICATE,
    )
    how = cv2.INTER_AREA if side > _CHECK_SIDE else cv2.INTER_CUBIC
    look = cv2.resize(square, (_CHECK_SIDE, _CHECK_SIDE), interpolation=how)
    return look, (x, y), _CHECK_SIDE / side  # type: ignore[return-value]


def _central(rows: Detections, middle: NDArray[np.float64]) -> Detections:
    """The detections near the middle of the square: those that can be its face."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    off = np.abs((rows[:, 0:2] + rows[:, 2:4]) / 2 - middle).max(axis=1)
    wide = rows[:, 2] - rows[:, 0]
    return np.asarray(rows[(off < 0.15 * _CHECK_SIDE) & (wide > 0.2 * _CHECK_SIDE)])

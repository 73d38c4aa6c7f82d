"""Faces that are not upright: photographs scanned sideways, tilted heads.

The detectors see a lying face, but put its landmarks where they would be were it upright, and are less
sure of it. So every find that is not beyond doubt is looked at again, turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .multiscale import COLUMNS, Finder, Image, Rows, find_at_every_size

# A frontal face: left eye, right eye, nose, mouth corners. Only its shape matters, not its size.
_FRONTAL = np.array([-0.62 - 0.59j, 0.62 - 0.59j, 0.0 + 0.13j, -0.54 + 0.70j, 0.55 + 0.69j])
_FRONTAL = _FRONTAL - _FRONTAL.mean()
_FAINT = 0.3
_LOOK = 160
# How much more must speak for a turn than for leaving the face alone.
_CLEARLY = {0: 1.0, 90: 1.05, 270: 1.05, 180: 1.05, 30: 1.2, -30: 1.2}
# A find scoring 0.9 with little distortion. None that was lying has come this close, but a few large
# ones are looked at anyway: they are the ones that matter most.
_BEYOND_DOUBT = 0.82
_ALWAYS = 3


@dataclass
class _Scan:
    rows: Rows
    evidence: float
    tilt: int
    """By how many degrees to the left the picture should be turned for most of its faces to be upright."""
    in_favour: int
    """How many faces say so."""


def find_at_every_turn(finder: Finder, image: Image, threshold: float, turn: bool = True) -> Rows:
    """Return the faces of a picture, each once, in no particular order.

    A picture in which no face is found is searched turned by 90, 270 and 180 degrees; one whose faces
    mostly look tilted is searched that way round. Landmarks keep the face's own order: "left" is what is
    left when the face is upright. With ``turn`` False the picture and its faces are taken as they are.
    """
    if not turn:
        return find_at_every_size(finder, image, threshold)
    first = _scan(finder, image, threshold)
    if not len(first.rows):
        scans = [_scan_turned(finder, image, threshold, tilt) for tilt in (90, 270, 180)]
        return max(scans, key=lambda scan: (bool(len(scan.rows)), scan.tilt == 0, scan.evidence)).rows
    if first.tilt:
        again = _scan_turned(finder, image, threshold, first.tilt)
        if again.tilt == 0 and len(again.rows) >= first.in_favour:
            return again.rows
    return first.rows


def _scan_turned(finder: Finder, image: Image, threshold: float, tilt: int) -> _Scan:
    turned, back = _turned(image, tilt)
    scan = _scan(finder, turned, threshold)
    scan.rows = _turned_back(scan.rows, back)
    return scan


def _turned(image: Image, tilt: int) -> tuple[Image, NDArray[np.float64]]:
    """Turn a picture to the left, whole; with the 2×3 matrix from its edge coordinates to the image's."""
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


def _turned_back(rows: Rows, back: NDArray[np.float64]) -> Rows:
    """Map faces with the matrix. Boxes stay boxes of about their size: a quarter turn's are exact."""
    turn, shift = back[:, :2], back[:, 2]
    middle = (rows[:, 0:2] + rows[:, 2:4]) / 2 @ turn.T + shift
    half = (rows[:, 2:4] - rows[:, 0:2]) / 2
    if abs(turn[0, 1]) > abs(turn[0, 0]):
        half = half[:, ::-1]
    landmarks = (rows[:, 5:].reshape(-1, 2) @ turn.T + shift).reshape(-1, 10)
    return np.concatenate([middle - half, middle + half, rows[:, 4:5], landmarks], axis=1)


def _scan(finder: Finder, image: Image, threshold: float) -> _Scan:
    rows = find_at_every_size(finder, image, threshold)
    large = np.argsort(-np.prod(rows[:, 2:4] - rows[:, 0:2], axis=1), kind="stable")[:_ALWAYS]
    kept, votes = [], dict.fromkeys(_CLEARLY, 0)
    for i, row in enumerate(rows):
        tilt = 0
        if i in large or row[4] * _fit(row) < _BEYOND_DOUBT:
            seen = _look_again(finder, image, row, threshold)
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


def _fit(row: Rows) -> float:
    """How well the landmarks fit an upright frontal face: 1 for a perfect one, 0 for a lying one."""
    points = row[5::2] + 1j * row[6::2]
    points = points - points.mean()
    size = float(np.linalg.norm(points))
    if size == 0:
        return 0.0
    along = complex(np.vdot(_FRONTAL, points)) / float(np.linalg.norm(_FRONTAL)) ** 2
    distortion = float(np.linalg.norm(points - along * _FRONTAL)) / size
    upright = along.real / abs(along) if along else 0.0
    return max(0.0, 1 - 2 * distortion) * max(0.0, upright)


def _evidence(row: Rows) -> float:
    """How much speaks for an upright face here. RetinaFace says 0.99 of lying ones and 0.999 of others."""
    return float(-np.log(1 - min(row[4], 1 - 1e-6))) * _fit(row)


def _look_again(finder: Finder, image: Image, row: Rows, threshold: float) -> tuple[int, NDArray[np.float64]] | None:
    """Return the turn (degrees, to the left) at which this face is upright, and its landmarks (10,).

    None when no turn shows a face at all: what was found looked like one at one size only.
    """
    look, corner, scale = _look(image, row)
    best_tilt, best_landmarks, best, score = 0, row[5:].copy(), 0.0, 0.0
    for tilt in _CLEARLY:
        turned, back = _turned(look, tilt)
        middle = np.array(turned.shape[1::-1]) / 2
        for seen in _central(finder(turned, _FAINT), middle):
            score = max(score, float(seen[4]))
            evidence = _evidence(seen) / _CLEARLY[tilt]
            if evidence > best:
                best_tilt, best = tilt, evidence
                if tilt:
                    best_landmarks = _turned_back(seen[None], back)[0, 5:] / scale + np.tile(corner, 5)
                else:
                    best_landmarks = row[5:].copy()
    return None if score < threshold - 0.05 else (best_tilt, best_landmarks)


def _look(image: Image, row: Rows) -> tuple[Image, tuple[int, int], float]:
    """Return a square of twice the face's size around it, its corner in the image, and its scale."""
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
    how = cv2.INTER_AREA if side > _LOOK else cv2.INTER_CUBIC
    look = cv2.resize(square, (_LOOK, _LOOK), interpolation=how)
    return look, (x, y), _LOOK / side  # type: ignore[return-value]


def _central(rows: Rows, middle: NDArray[np.float64]) -> Rows:
    """The finds that can be the face the square was cut around."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    off = np.abs((rows[:, 0:2] + rows[:, 2:4]) / 2 - middle).max(axis=1)
    wide = rows[:, 2] - rows[:, 0]
    return np.asarray(rows[(off < 0.15 * _LOOK) & (wide > 0.2 * _LOOK)])

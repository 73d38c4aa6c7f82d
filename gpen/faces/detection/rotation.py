"""Faces that are not upright: photos scanned sideways, tilted heads.

The networks detect a lying face, but with a lower score, and with the landmarks that an upright face would have. So
every detection that is not beyond doubt is checked again on rotated squares around it, those of all faces at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .multiscale import find_at_every_size
from .network import COLUMNS, Detections, DetectorNetwork
from .pyramid import Affine, Pyramid

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


@dataclass(frozen=True)
class _Check:
    tilt: int
    """The rotation to the left, in degrees, that makes a face upright."""
    landmarks: NDArray[np.float64]
    """(10,), in pixels of the photo."""


def find_at_every_angle(network: DetectorNetwork, photo: Pyramid, threshold: float, turn: bool = True) -> Detections:
    """The faces of a photo, each once, in no particular order.

    A photo without detections is searched again at 90, 270 and 180 degrees; one whose faces are mostly tilted is
    searched again at their angle. Landmarks keep the face's own order: "left" means left when the face is upright.
    turn: False to search the photo once, as it is.
    """
    if not turn:
        return find_at_every_size(network, photo, threshold)
    first = _scan(network, photo, threshold)
    if not len(first.rows):
        scans = [_scan_rotated(network, photo, threshold, tilt) for tilt in (90, 270, 180)]
        return max(scans, key=lambda scan: (bool(len(scan.rows)), scan.tilt == 0, scan.evidence)).rows
    if first.tilt:
        again = _scan_rotated(network, photo, threshold, first.tilt)
        if again.tilt == 0 and len(again.rows) >= first.votes:
            return again.rows
    return first.rows


def _scan_rotated(network: DetectorNetwork, photo: Pyramid, threshold: float, tilt: int) -> _Scan:
    turned, back = photo.rotated(tilt)
    scan = _scan(network, turned, threshold)
    scan.rows = _mapped(scan.rows, back)
    return scan


def _mapped(rows: Detections, matrix: Affine) -> Detections:
    """Map detections. Boxes keep their centre and, but for the scale, their size; for quarter turns they are exact."""
    turn, shift = matrix[:, :2], matrix[:, 2]
    middle = (rows[:, 0:2] + rows[:, 2:4]) / 2 @ turn.T + shift
    half = (rows[:, 2:4] - rows[:, 0:2]) / 2
    if abs(turn[0, 1]) > abs(turn[0, 0]):
        half = half[:, ::-1]
    landmarks = (rows[:, 5:].reshape(-1, 2) @ turn.T + shift).reshape(-1, 10)
    return np.concatenate([middle - half, middle + half, rows[:, 4:5], landmarks], axis=1)


def _scan(network: DetectorNetwork, photo: Pyramid, threshold: float) -> _Scan:
    rows = find_at_every_size(network, photo, threshold)
    large = np.argsort(-np.prod(rows[:, 2:4] - rows[:, 0:2], axis=1), kind="stable")[:_ALWAYS_CHECKED]
    doubtful = [i for i, row in enumerate(rows) if i in large or row[4] * _fit(row) < _BEYOND_DOUBT]
    checks = dict(zip(doubtful, _check_rotated(network, photo, rows[doubtful], threshold), strict=True))
    kept, votes = [], dict.fromkeys(_REQUIRED_GAIN, 0)
    for i, row in enumerate(rows):
        check = checks.get(i, _Check(0, row[5:]))
        if check is not None:
            row[5:] = check.landmarks
            kept.append(row)
            votes[check.tilt] += 1
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


def _check_rotated(network: DetectorNetwork, photo: Pyramid, rows: Detections, threshold: float) -> list[_Check | None]:
    """For each face, the rotation that makes it upright.

    None if no rotation shows a face at all: the detection was an accident of one size.
    """
    if not len(rows):
        return []
    squares = [_square_around(row, tilt) for row in rows for tilt in _REQUIRED_GAIN]
    found = network.find(list(photo.parts(squares, _CHECK_SIDE, "border")), _CHECK_THRESHOLD)
    views = len(_REQUIRED_GAIN)
    return [
        _best_view(row, zip(squares[i : i + views], found[i : i + views], strict=True), threshold)
        for row, i in zip(rows, range(0, len(found), views), strict=True)
    ]


def _best_view(row: Detections, views: Iterable[tuple[Affine, Detections]], threshold: float) -> _Check | None:
    """views: for each angle in the order of _REQUIRED_GAIN, the matrix of the square, and what it shows."""
    best, most, score = _Check(0, row[5:].copy()), 0.0, 0.0
    for (tilt, gain), (square, rows) in zip(_REQUIRED_GAIN.items(), views, strict=True):
        for seen in _central(rows):
            score = max(score, float(seen[4]))
            evidence = _evidence(seen) / gain
            if evidence > most:
                most = evidence
                best = _Check(tilt, _mapped(seen[None], square)[0, 5:] if tilt else row[5:].copy())
    return None if score < threshold - 0.05 else best


def _square_around(row: Detections, tilt: int) -> Affine:
    """The matrix from a square around the face, twice its size and rotated to the left, to the photo."""
    scale = 2 * max(row[2] - row[0], row[3] - row[1]) / _CHECK_SIDE
    cos, sin = scale * np.cos(np.radians(tilt)), scale * np.sin(np.radians(tilt))
    turn = np.array([[cos, -sin], [sin, cos]])
    middle = (row[0:2] + row[2:4]) / 2
    return np.column_stack([turn, middle - turn @ np.full(2, _CHECK_SIDE / 2)])


def _central(rows: Detections) -> Sequence[Detections]:
    """The detections near the middle of a square: those that can be its face."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    off = np.abs((rows[:, 0:2] + rows[:, 2:4]) / 2 - _CHECK_SIDE / 2).max(axis=1)
    wide = rows[:, 2] - rows[:, 0]
    return list(rows[(off < 0.15 * _CHECK_SIDE) & (wide > 0.2 * _CHECK_SIDE)])

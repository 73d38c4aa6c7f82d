"""One face seen at every angle: which way up it is, and its landmarks as an upright view shows them.

The networks detect a turned face too, but with a lower score, and with the landmarks of a face that is more upright
than this one. So it is looked at on squares turned in steps, those of all faces at once. The views together tell about
how it is turned; three more, around that angle, tell it exactly, and give the landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import Detections, DetectorNetwork
from .pyramid import Affine, Pyramid

# The landmarks of a frontal face, as complex numbers; only the shape matters, not the size.
_FRONTAL = np.array([-0.62 - 0.59j, 0.62 - 0.59j, 0.0 + 0.13j, -0.54 + 0.70j, 0.55 + 0.69j])
_FRONTAL = _FRONTAL - _FRONTAL.mean()
_SIDE = 160  # pixels of a square
_THRESHOLD = 0.3
_STEP = 30
"""Degrees between the squares. With 45, every seventh face between them was taken for one that is 20 degrees off."""
_CLOSER_STEP = 15
"""The same for the squares that show the face nearly upright."""
_AGREEMENT = 45.0
"""Views whose faces are turned by so many degrees against one another do not support each other."""
_UPRIGHT = 5.0
"""Degrees: the landmarks of a face that is tilted less are good as the photo shows them."""


@dataclass(frozen=True)
class Turned:
    """What the views of a face tell."""

    tilt: float
    """The rotation to the left, in degrees, that makes the face upright: 0 to 360. 0 where it is upright already."""
    landmarks: NDArray[np.float64]
    """(10,), in pixels of the photo."""
    certainty: float
    """Of the best view, as :func:`certainty` measures it."""


@dataclass(frozen=True)
class _View:
    row: Detections
    """What it shows, in pixels of the photo."""
    tilt: float
    """The rotation to the left that would make the face upright, according to this view."""
    certainty: float
    evidence: float


@dataclass(frozen=True)
class _Consensus:
    tilt: float
    """The angle that most of the evidence supports, 0 to 360."""
    views: Sequence[_View]
    """The views that support it, at least one."""

    @classmethod
    def of(cls, views: Sequence[_View]) -> _Consensus:
        """A single view may take a chin for a forehead, but its neighbours do not. views: at least one."""
        tilts, evidence = np.array([view.tilt for view in views]), np.array([view.evidence for view in views])
        apart = difference(tilts[None], tilts[:, None])
        first = int((np.maximum(0, 1 - np.abs(apart) / _AGREEMENT) @ evidence).argmax())
        near = np.flatnonzero(np.abs(apart[first]) < _STEP)
        off = float(evidence[near] @ apart[first, near]) / max(float(evidence[near].sum()), 1e-9)
        return cls((tilts[first] + off) % 360, [views[int(i)] for i in near])

    @property
    def best(self) -> _View:
        """The one with the most evidence."""
        return max(self.views, key=lambda view: view.evidence)

    @property
    def landmarks(self) -> NDArray[np.float64]:
        """The mean, by evidence: views that are turned too far to either side err to opposite sides."""
        weights = np.array([view.evidence for view in self.views]) + 1e-9
        return np.asarray(weights @ np.array([view.row[5:] for view in self.views]) / weights.sum())


def look_at_every_angle(
    network: DetectorNetwork, photo: Pyramid, rows: Detections, threshold: float
) -> list[Turned | None]:
    """For each face what its views tell; None if none shows a face at all: it was an accident of one size."""
    first = [
        _Consensus.of(views) if max((view.row[4] for view in views), default=0.0) >= threshold - 0.05 else None
        for views in _look(network, photo, list(rows), [range(0, 360, _STEP)] * len(rows))
    ]
    faces = [(row, one) for row, one in zip(rows, first, strict=True) if one is not None]
    # In whole pixels and degrees, so that the last bits of the first views do not reach the pixels of these.
    closer = [[round(one.tilt) + off for off in (-_CLOSER_STEP, 0, _CLOSER_STEP)] for _, one in faces]
    seen = iter(_look(network, photo, [np.round(one.best.row) for _, one in faces], closer))
    found: list[Turned | None] = []
    for row, one in zip(rows, first, strict=True):
        if one is None:
            found.append(None)
            continue
        views = next(seen)
        one = _Consensus.of(views) if views else one
        is_upright = one.best.evidence == 0 or abs(difference(one.tilt, 0)) <= _UPRIGHT
        landmarks, tilt = (row[5:].copy(), 0.0) if is_upright else (one.landmarks, one.tilt)
        found.append(Turned(tilt, landmarks, max(view.certainty for view in one.views)))
    return found


def certainty(row: Detections) -> float:
    """How certain a detection is of an upright face, 0 to 1."""
    return _certainty(row, _fit(row))


def evidence(row: Detections) -> float:
    """The evidence for an upright face. RetinaFace scores lying faces 0.99 and upright ones 0.999, hence the log."""
    return _evidence(row, _fit(row))


def mapped(rows: Detections, matrix: Affine) -> Detections:
    """Map detections. Boxes keep their centre and, but for the scale, their size; for quarter turns they are exact."""
    turn, shift = matrix[:, :2], matrix[:, 2]
    middle = (rows[:, 0:2] + rows[:, 2:4]) / 2 @ turn.T + shift
    half = (rows[:, 2:4] - rows[:, 0:2]) / 2 * np.sqrt(abs(np.linalg.det(turn)))
    if abs(turn[0, 1]) > abs(turn[0, 0]):
        half = half[:, ::-1]
    landmarks = (rows[:, 5:].reshape(-1, 2) @ turn.T + shift).reshape(-1, 10)
    return np.concatenate([middle - half, middle + half, rows[:, 4:5], landmarks], axis=1)


def difference(a: NDArray[np.float64] | float, b: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """a - b for angles in degrees, from -180 to 180."""
    return np.asarray((np.asarray(a) - b + 180) % 360 - 180)


def _look(
    network: DetectorNetwork, photo: Pyramid, rows: Sequence[Detections], angles: Sequence[Sequence[float]]
) -> list[list[_View]]:
    """For each face the views at its angles that show one."""
    squares = [_square_around(row, angle) for row, group in zip(rows, angles, strict=True) for angle in group]
    if not squares:
        return []
    seen = network.find(list(photo.parts(squares, _SIDE, "border")), _THRESHOLD)
    views = iter(zip(squares, map(_central, seen), strict=True))
    return [
        [_view(square, shown, angle) for angle in group for square, shown in [next(views)] if len(shown)]
        for group in angles
    ]


def _view(square: Affine, shown: Sequence[Detections], angle: float) -> _View:
    weighed = [(_evidence(row, fit), fit, row) for row in shown for fit in [_fit(row)]]
    most, fit, best = max(weighed, key=lambda one: one[0])
    tilt = angle + float(np.degrees(np.angle(_along(best))))
    return _View(mapped(best[None], square)[0], tilt, _certainty(best, fit), most)


def _square_around(row: Detections, tilt: float) -> Affine:
    """The matrix from a square around the face, twice its size and rotated to the left, to the photo."""
    scale = 2 * max(row[2] - row[0], row[3] - row[1]) / _SIDE
    cos, sin = scale * np.cos(np.radians(tilt)), scale * np.sin(np.radians(tilt))
    turn = np.array([[cos, -sin], [sin, cos]])
    middle = (row[0:2] + row[2:4]) / 2
    return np.column_stack([turn, middle - turn @ np.full(2, _SIDE / 2)])


def _central(rows: Detections) -> list[Detections]:
    """The detections near the middle of a square: those that can be its face."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    off = np.abs((rows[:, 0:2] + rows[:, 2:4]) / 2 - _SIDE / 2).max(axis=1)
    wide = rows[:, 2] - rows[:, 0]
    return list(rows[(off < 0.15 * _SIDE) & (wide > 0.2 * _SIDE)])


def _certainty(row: Detections, fit: float) -> float:
    return float(row[4]) * fit


def _evidence(row: Detections, fit: float) -> float:
    return float(-np.log(1 - min(row[4], 1 - 1e-6))) * fit


def _fit(row: Detections) -> float:
    """How well the landmarks fit an upright frontal face: 1 is perfect, 0 is lying."""
    points = row[5::2] + 1j * row[6::2]
    points = points - points.mean()
    size = float(np.linalg.norm(points))
    if size == 0:
        return 0.0
    along = _along(row)
    distortion = float(np.linalg.norm(points - along * _FRONTAL)) / size
    upright = along.real / abs(along) if along else 0.0
    return max(0.0, 1 - 2 * distortion) * max(0.0, upright)


def _along(row: Detections) -> complex:
    """How much larger than the frontal landmarks these are, and, as its angle, how they are turned to the right."""
    points = row[5::2] + 1j * row[6::2]
    return complex(np.vdot(_FRONTAL, points - points.mean())) / float(np.linalg.norm(_FRONTAL)) ** 2

"""Faces that are not upright: photos scanned sideways, tilted heads, people lying down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .merging import apart_from, merged
from .multiscale import find_at_every_size
from .network import COLUMNS, Detections, DetectorNetwork
from .pyramid import Pyramid
from .views import Turned, certainty, difference, evidence, look_at_every_angle, mapped

# Reached by a score of 0.9 with little distortion, and never by a lying face in our photos. The largest faces are
# checked anyway: they matter most.
_BEYOND_DOUBT = 0.82
_ALWAYS_CHECKED = 3
# Degrees by which a photo as a whole may be turned; each face votes for the nearest.
_TURNS = (0, 90, 270, 180, 30, 330)
_LONGEST_TURNED = 512
"""The longer side of the finest level that is searched at the other quarter turns too, in pixels."""
_LYING = 30.0
"""Degrees from which a face counts as lying; the search of the photo as it is finds the others."""
_LYING_CERTAINTY = 0.65
"""Lying faces beside an upright one reach 0.71 and more, and what else looks like one 0.61 at most."""


@dataclass
class _Scan:
    rows: Detections
    evidence: float
    """The sum over the faces."""
    tilt: int
    """The rotation to the left, in degrees, that makes most of the faces upright."""
    votes: int
    """How many faces need it."""


def find_at_every_angle(network: DetectorNetwork, photo: Pyramid, threshold: float, turn: bool = True) -> Detections:
    """The faces of a photo, each once, in no particular order.

    A photo without detections is searched again at 90, 270 and 180 degrees; one whose faces are mostly tilted is
    searched again at their angle. One with faces is searched at the other quarter turns too, but only for faces that
    are not small and that lie beyond doubt. Landmarks keep the face's own order: "left" means left when the face is
    upright.
    turn: False to search the photo once, as it is.
    """
    if not turn:
        return find_at_every_size(network, [photo], threshold)[0]
    rows, tilt = _most_faces(network, photo, threshold)
    return np.concatenate([rows, _lying(network, photo, rows, tilt, threshold)]) if len(rows) else rows


def _most_faces(network: DetectorNetwork, photo: Pyramid, threshold: float) -> tuple[Detections, int]:
    """The faces that one search of the photo shows, at the angle that shows most, and this angle."""
    first = _scan(network, photo, threshold)
    if not len(first.rows):
        scans = {tilt: _scan_rotated(network, photo, threshold, tilt) for tilt in (90, 270, 180)}
        best = max(scans, key=lambda tilt: (bool(len(scans[tilt].rows)), scans[tilt].tilt == 0, scans[tilt].evidence))
        return scans[best].rows, best
    # One tilted head does not make a tilted photo.
    if first.tilt and (first.tilt % 90 == 0 or first.votes > 1):
        again = _scan_rotated(network, photo, threshold, first.tilt)
        if again.tilt in (0, 30, 330) and len(again.rows) >= first.votes:
            return again.rows, first.tilt
    return first.rows, 0


def _lying(network: DetectorNetwork, photo: Pyramid, rows: Detections, tilt: int, threshold: float) -> Detections:
    """The faces beside those in ``rows``, which a search at ``tilt`` degrees has found."""
    factor = photo.reduction
    while max(photo.level(factor).shape[:2]) > _LONGEST_TURNED:
        factor *= 2
    coarse = photo.from_level(factor)
    turned = [coarse.rotated(degrees) for degrees in (0, 90, 180, 270) if degrees != tilt]
    found = find_at_every_size(network, [pyramid for pyramid, _ in turned], threshold)
    others = np.concatenate([mapped(rows, back) for rows, (_, back) in zip(found, turned, strict=True)])
    others = others[apart_from(others, rows)]
    others = merged(others, (others[:, 2] - others[:, 0]) / factor)
    checks = look_at_every_angle(network, photo, others, threshold)
    kept = []
    for row, check in zip(others, checks, strict=True):
        if check is not None and _LYING <= check.tilt <= 360 - _LYING and check.certainty >= _LYING_CERTAINTY:
            row[5:] = check.landmarks
            kept.append(row)
    return np.reshape(kept, (-1, COLUMNS))


def _scan_rotated(network: DetectorNetwork, photo: Pyramid, threshold: float, tilt: int) -> _Scan:
    turned, back = photo.rotated(tilt)
    scan = _scan(network, turned, threshold)
    scan.rows = mapped(scan.rows, back)
    return scan


def _scan(network: DetectorNetwork, photo: Pyramid, threshold: float) -> _Scan:
    (rows,) = find_at_every_size(network, [photo], threshold)
    large = np.argsort(-np.prod(rows[:, 2:4] - rows[:, 0:2], axis=1), kind="stable")[:_ALWAYS_CHECKED]
    doubtful = [i for i, row in enumerate(rows) if i in large or certainty(row) < _BEYOND_DOUBT]
    checks = dict(zip(doubtful, look_at_every_angle(network, photo, rows[doubtful], threshold), strict=True))
    kept, votes = [], dict.fromkeys(_TURNS, 0)
    for i, row in enumerate(rows):
        check = checks.get(i, Turned(0.0, row[5:], certainty(row)))
        if check is not None:
            row[5:] = check.landmarks
            kept.append(row)
            votes[min(_TURNS, key=lambda turn: abs(difference(check.tilt, turn)))] += 1
    tilt = max(votes, key=lambda tilt: votes[tilt])
    return _Scan(
        np.reshape(kept, (-1, COLUMNS)),
        sum(map(evidence, kept)),
        tilt if 2 * votes[tilt] > len(kept) else 0,
        votes[tilt],
    )

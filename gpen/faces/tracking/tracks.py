"""Tracks: the faces of a video, followed from frame to frame, smoothed, and bridged over short gaps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..face import Face
from ..selection.traits import UNMEASURED, FaceTraits, median_traits
from .smoothing import smooth

LONGEST_GAP = 5
"""The most consecutive frames that a track bridges without a detection."""

Boxes = NDArray[np.float64]
"""(N, 4): x0, y0, x1, y1."""

_OVERLAP = 0.3
"""The least intersection over union of a face with its track's expected box."""
_NEAR = 2.0
"""The factor by which boxes are enlarged for a second attempt: a face may start to move, or move while undetected."""
_COVERED = 0.3
"""Share of the smaller box: a bridged face that a detected one covers this much is hidden behind it, or is the same."""
_REMEMBERED = 3
"""The detections that a track's velocity is fitted to."""
_TINY = 1e-9  # so that empty boxes overlap nothing


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face in one frame of a video."""

    number: int
    """Of its track, from 0, in the order in which tracks begin; from left to right within a frame."""
    face: Face
    """Smoothed."""
    typical: Face
    """The medians over the whole track, for choosing among faces without flicker."""
    bridged: bool = False
    """Whether it was not detected in this frame, only before and after."""
    traits: FaceTraits = UNMEASURED
    """What was measured: the medians over the whole track."""


def track_faces(
    frames: Sequence[Sequence[Face]], cuts: Collection[int] = (), traits: Sequence[Sequence[FaceTraits]] = ()
) -> list[list[TrackedFace]]:
    """Follow faces from frame to frame.

    frames: the faces detected in each frame, in pixels. cuts: frames that begin a new shot, where every track ends.
    traits: what was measured of each face; empty where nothing was.
    A face continues a track if its box overlaps the box that the track's motion predicts. A track ends after
    :data:`LONGEST_GAP` frames without a detection; shorter gaps are bridged, unless another face covers the missing
    one. Landmarks and boxes are smoothed along each track by :func:`gpen.faces.tracking.smoothing.smooth`.
    Returns the faces of each frame, from left to right.
    """
    result: list[list[TrackedFace]] = [[] for _ in frames]
    for number, track in enumerate(_tracks(frames, frozenset(cuts), traits)):
        for frame, face in track.smoothed(number):
            result[frame].append(face)
    return [sorted(_uncovered(faces), key=lambda tracked: tracked.face.center) for faces in result]


def without_tracking(
    frames: Sequence[Sequence[Face]], traits: Sequence[Sequence[FaceTraits]] = ()
) -> list[list[TrackedFace]]:
    """The faces of unrelated pictures, unchanged, numbered from left to right within each.

    frames: the faces of each picture, sorted from left to right. traits: as for :func:`track_faces`.
    """
    return [
        [
            TrackedFace(number, face, face, traits=measured)
            for number, (face, measured) in enumerate(zip(faces, _of_frame(traits, frame, faces), strict=True))
        ]
        for frame, faces in enumerate(frames)
    ]


def _of_frame(traits: Sequence[Sequence[FaceTraits]], frame: int, faces: Sequence[Face]) -> Sequence[FaceTraits]:
    return traits[frame] if traits else [UNMEASURED] * len(faces)


@dataclass
class _Track:
    frames: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    traits: list[FaceTraits] = field(default_factory=list)

    def add(self, frame: int, face: Face, traits: FaceTraits) -> None:
        self.frames.append(frame)
        self.faces.append(face)
        self.traits.append(traits)

    def expected(self, frame: int) -> list[float]:
        """The box predicted for a later frame: the last one, moved at the track's velocity."""
        last = self.faces[-1]
        times = self.frames[-_REMEMBERED:]
        velocity = np.zeros(2)
        if len(times) > 1:
            centers = [face.center for face in self.faces[-_REMEMBERED:]]
            velocity = np.polyfit(np.subtract(times, times[-1]), centers, 1)[0]
        x, y = velocity * (frame - self.frames[-1])
        x0, y0, x1, y1 = last.box
        return [x0 + x, y0 + y, x1 + x, y1 + y]

    def smoothed(self, number: int) -> list[tuple[int, TrackedFace]]:
        """The faces with their frames, the bridged ones included."""
        first, last = self.frames[0], self.frames[-1]
        rows = np.subtract(self.frames, first)
        seen = np.zeros(last - first + 1, bool)
        seen[rows] = True
        measured = np.array([[*face.landmarks.ravel(), *face.box] for face in self.faces])
        points = np.zeros((len(seen), measured.shape[1]))
        points[rows] = measured
        score = np.interp(np.arange(len(seen)), rows, [face.score for face in self.faces])
        middle = np.median(measured, axis=0)
        typical = _face(middle, float(np.median([face.score for face in self.faces])))
        traits = median_traits(self.traits)
        smoothed = smooth(points, seen, float(np.sqrt(typical.width * typical.height)))
        return [
            (first + i, TrackedFace(number, _face(row, float(score[i])), typical, not seen[i], traits))
            for i, row in enumerate(smoothed)
        ]


def _face(row: NDArray[np.float64], score: float) -> Face:
    x0, y0, x1, y1 = (float(v) for v in row[10:])
    return Face((x0, y0, x1, y1), score, row[:10].reshape(5, 2).copy())


def _tracks(
    frames: Sequence[Sequence[Face]], cuts: frozenset[int], traits: Sequence[Sequence[FaceTraits]]
) -> list[_Track]:
    tracks: list[_Track] = []
    alive: list[_Track] = []
    for frame, given in enumerate(frames):
        measured = dict(zip(given, _of_frame(traits, frame, given), strict=True))
        faces = sorted(given, key=lambda face: face.center)
        alive = [] if frame in cuts else [t for t in alive if frame - t.frames[-1] <= LONGEST_GAP + 1]
        followed = _matched([track.expected(frame) for track in alive], [list(face.box) for face in faces])
        for number, face in enumerate(faces):
            if number in followed:
                track = alive[followed[number]]
            else:
                track = _Track()
                tracks.append(track)
                alive.append(track)
            track.add(frame, face, measured[face])
    return tracks


def _matched(expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> dict[int, int]:
    """Match found boxes to expected ones, greedily by overlap: index of expected by index of found."""
    matched: dict[int, int] = {}
    if not expected or not found:
        return matched
    before, after = np.array(expected), np.array(found)
    for overlaps in (_overlaps(before, after), _overlaps(_enlarged(before), _enlarged(after))):
        order = np.argsort(-overlaps, axis=None, kind="stable")
        for old, new in zip(*np.unravel_index(order, overlaps.shape), strict=True):
            if overlaps[old, new] < _OVERLAP:
                break
            if int(new) not in matched and int(old) not in matched.values():
                matched[int(new)] = int(old)
    return matched


def _overlaps(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Intersection over union of all pairs: (N, M)."""
    common = _common(first, second)
    return np.asarray(common / np.maximum(_areas(first)[:, None] + _areas(second)[None] - common, _TINY))


def _common(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0), axis=2))


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))


def _enlarged(boxes: Boxes) -> Boxes:
    more = (boxes[:, 2:] - boxes[:, :2]) * (_NEAR - 1) / 2
    return np.concatenate([boxes[:, :2] - more, boxes[:, 2:] + more], axis=1)


def _uncovered(faces: Sequence[TrackedFace]) -> list[TrackedFace]:
    """The faces without bridged ones that a detected face covers."""
    bridged = [tracked for tracked in faces if tracked.bridged]
    found = [tracked for tracked in faces if not tracked.bridged]
    if not bridged or not found:
        return list(faces)
    first, second = (np.array([tracked.face.box for tracked in some]) for some in (bridged, found))
    covered = _common(first, second) / np.maximum(np.minimum(_areas(first)[:, None], _areas(second)[None]), _TINY)
    return [*found, *(tracked for tracked, row in zip(bridged, covered, strict=True) if row.max() < _COVERED)]

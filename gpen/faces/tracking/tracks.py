"""The faces of a video: followed from frame to frame, smoothed along each track, bridged where they are missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..face import Face
from .smoothing import smooth

LONGEST_GAP = 5
"""Frames in which a face may be missing and still be the same one."""

Boxes = NDArray[np.float64]
"""(N, 4): x0, y0, x1, y1."""

_OVERLAP = 0.3
"""Intersection over union with where a face is expected, for it to be that face."""
_NEAR = 2.0
"""How many times as large boxes are made where none overlaps as they are: a face begins to move, or moves on unseen."""
_COVERED = 0.3
"""Of the smaller of two boxes: a missing face that another one covers that much is hidden behind it, or is that one."""
_REMEMBERED = 3
"""Sightings that tell how fast a face moves."""
_TINY = 1e-9  # so that boxes without an area overlap nothing


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face in one frame of a video.

    number: of its track, in the order in which they begin, from left to right where several do, from 0. face: smoothed.
    typical: the medians over the whole track, by which to choose among faces without wavering. bridged: whether no
    face was found there, only before and after.
    """

    number: int
    face: Face
    typical: Face
    bridged: bool = False


def track_faces(frames: Sequence[Sequence[Face]], cuts: Collection[int] = ()) -> list[list[TrackedFace]]:
    """Follow faces from frame to frame.

    frames: the faces found in each frame, in pixels. cuts: frames that begin a new shot; no track goes on there.
    Faces belong together where their boxes overlap, as far as a face has moved on meanwhile; a track ends with the
    sixth frame in which its face is missing. Landmarks and boxes are smoothed along each track as
    :func:`gpen.faces.tracking.smoothing.smooth` says. Returns the faces of each frame, sorted from left to right: each that was
    given, and those that were missing in up to five frames between, unless another face lies over them.
    """
    result: list[list[TrackedFace]] = [[] for _ in frames]
    for number, track in enumerate(_tracks(frames, frozenset(cuts))):
        for frame, face in track.smoothed(number):
            result[frame].append(face)
    return [sorted(_uncovered(faces), key=lambda tracked: tracked.face.center) for faces in result]


def without_tracking(frames: Sequence[Sequence[Face]]) -> list[list[TrackedFace]]:
    """The faces of pictures that have nothing to do with each other: as they are, numbered from left to right in each.

    frames: the faces of each picture, sorted from left to right.
    """
    return [[TrackedFace(number, face, face) for number, face in enumerate(faces)] for faces in frames]


@dataclass
class _Track:
    frames: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    def add(self, frame: int, face: Face) -> None:
        self.frames.append(frame)
        self.faces.append(face)

    def expected(self, frame: int) -> list[float]:
        """The box in a frame to come: the last one, moved on as fast as the face has moved."""
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
        """The faces by frame, those between that are missing among them."""
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
        smoothed = smooth(points, seen, float(np.sqrt(typical.width * typical.height)))
        return [
            (first + i, TrackedFace(number, _face(row, float(score[i])), typical, bridged=not seen[i]))
            for i, row in enumerate(smoothed)
        ]


def _face(row: NDArray[np.float64], score: float) -> Face:
    x0, y0, x1, y1 = (float(v) for v in row[10:])
    return Face((x0, y0, x1, y1), score, row[:10].reshape(5, 2).copy())


def _tracks(frames: Sequence[Sequence[Face]], cuts: frozenset[int]) -> list[_Track]:
    tracks: list[_Track] = []
    alive: list[_Track] = []
    for frame, given in enumerate(frames):
        faces = sorted(given, key=lambda face: face.center)
        alive = [] if frame in cuts else [t for t in alive if frame - t.frames[-1] <= LONGEST_GAP + 1]
        followed = _matched([track.expected(frame) for track in alive], [list(face.box) for face in faces])
        for number, face in enumerate(faces):
            if number in followed:
                alive[followed[number]].add(frame, face)
            else:
                tracks.append(_Track([frame], [face]))
                alive.append(tracks[-1])
    return tracks


def _matched(expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> dict[int, int]:
    """Which found box goes on which expected one; those that overlap most first."""
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
    """Intersection over union of each box with each: (N, M)."""
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
    """Without those bridged that lie behind a face that was found."""
    bridged = [tracked for tracked in faces if tracked.bridged]
    found = [tracked for tracked in faces if not tracked.bridged]
    if not bridged or not found:
        return list(faces)
    first, second = (np.array([tracked.face.box for tracked in some]) for some in (bridged, found))
    covered = _common(first, second) / np.maximum(np.minimum(_areas(first)[:, None], _areas(second)[None]), _TINY)
    return [*found, *(tracked for tracked, row in zip(bridged, covered, strict=True) if row.max() < _COVERED)]

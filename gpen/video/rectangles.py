"""Which rectangles of a frame restoring its faces reads and changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import FaceError
from ..faces.align import place
from ..faces.face import Face
from ..faces.resampling.transforms import apply, corners, invert, shrinking
from ..faces.source import FoundFace
from ..options import Options
from .orientation import Rectangle

_REACH = 6
"""Pixels of a crop, around it, that resampling may read."""

_Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two beyond


def face_rectangles(
    faces: Sequence[FoundFace], options: Options, width: int, height: int
) -> list[tuple[Rectangle, list[FoundFace]]]:
    """The rectangles of a frame, none of which overlap, that restoring the faces reads or changes, with the faces."""
    boxes = [(_reach(face.face, options, width, height), [face]) for face in faces]
    merged = True
    while merged:
        merged = False
        for i in range(len(boxes)):
            for j in range(i + 1, len(boxes)):
                (one, here), (other, there) = boxes[i], boxes[j]
                if _overlap(one, other):
                    both = (min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]))
                    boxes[i] = both, here + there
                    del boxes[j]
                    merged = True
                    break
            if merged:
                break
    return [
        ((slice(top, bottom), slice(left, right)), sorted(inside, key=lambda face: face.face.center))
        for (left, top, right, bottom), inside in boxes
    ]


def _reach(face: Face, options: Options, width: int, height: int) -> _Box:
    size = 512  # any: the crop covers the same part of the frame at every size
    try:
        matrix = place(face, size, options.template).matrix
    except FaceError:  # nothing is done to it, and the pipeline says why
        x, y = (int(np.clip(v, 0, most - 1)) for v, most in zip(face.center, (width, height), strict=True))
        return x, y, x + 1, y + 1
    square = apply(invert(matrix), corners(size, size))
    low, high = square.min(axis=0), square.max(axis=0)
    # Smaller networks skip more pixels of a frame for each of a crop.
    margin = _REACH * max(1.0, 4 * shrinking(matrix))
    if options.grain > 0:  # which is measured in half as much again around the face
        margin = max(margin, float((high - low).max()) / 2)
    low, high = low - margin, high + margin
    # Beyond the edges of the frame it is mirrored: what lies as far inside is read.
    far = np.array([width, height])
    high = np.maximum(high, -low)
    low = np.minimum(low, 2 * far - high)
    left, top = (int(max(0, np.floor(v))) for v in low)
    right, bottom = (int(min(most, np.ceil(v) + 1)) for v, most in zip(high, far, strict=True))
    return min(left, width - 1), min(top, height - 1), max(right, 1), max(bottom, 1)


def _overlap(one: _Box, other: _Box) -> bool:
    # A sample of chroma may belong to pixels of both.
    room = 4
    return (
        one[0] - room < other[2] and other[0] - room < one[2] and one[1] - room < other[3] and other[1] - room < one[3]
    )


def moved(found: FoundFace, left: int, top: int) -> FoundFace:
    """The face in a rectangle whose first pixel is at ``left`` and ``top``."""
    face, offset = found.face, np.array([left, top])
    x0, y0, x1, y1 = face.box
    shifted = Face((x0 - left, y0 - top, x1 - left, y1 - top), face.score, face.landmarks - offset)
    return replace(found, face=shifted)

"""Close-ups of faces, before and after side by side: for photos of groups, in which faces are too small to compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..images.picture import FloatImage
from ..images.resize import resize
from .drawing import Drawing, NumberedFace, draw_faces
from .face import Face

MOST_IN_VIEW = 2
"""Faces that need no close-ups: they are large enough in the photo."""

_AROUND = 1.6  # of the larger side of a face's box
_CELLS = 8  # in a row
_SMALLEST, _LARGEST = 96, 320  # pixels a side


def with_close_ups(drawing: Drawing, before: FloatImage, after: FloatImage, faces: Sequence[NumberedFace]) -> Drawing:
    """A drawing with the faces of a photo below it, each before and after.

    before, after: the photo (H, W, 3), [0, 1], at one size, in whose pixels the faces are.
    """
    width = drawing.shape[1]
    size = min(max(width // _CELLS, _SMALLEST), _LARGEST)
    gap = max(2, size // 32)
    pairs = [np.hstack([_close_up(before, face, size, number), _close_up(after, face, size)]) for number, face in faces]
    in_row = max(1, (width + gap) // (2 * size + gap))
    rows = [pairs[start : start + in_row] for start in range(0, len(pairs), in_row)]
    height = drawing.shape[0] + len(rows) * (size + gap)
    sheet = np.zeros((height, max(width, 2 * size), 3), np.uint8)
    sheet[: drawing.shape[0], :width] = drawing
    for row, parts in enumerate(rows):
        top = drawing.shape[0] + gap + row * (size + gap)
        for column, part in enumerate(parts):
            left = column * (2 * size + gap)
            sheet[top : top + size, left : left + 2 * size] = part
    return sheet


def _close_up(photo: FloatImage, face: Face, size: int, number: int | None = None) -> Drawing:
    height, width = photo.shape[:2]
    side = min(round(_AROUND * max(face.width, face.height)), height, width)
    side = max(side, 1)
    left, top = (round(middle - side / 2) for middle in face.center)
    left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
    part = resize(photo[top : top + side, left : left + side], (size, size))
    scale = size / side
    x0, y0, x1, y1 = ((edge - start) * scale for edge, start in zip(face.box, (left, top, left, top), strict=True))
    placed = dataclasses.replace(face, box=(x0, y0, x1, y1))
    return draw_faces(part, [] if number is None else [(number, placed)], boxes=False)

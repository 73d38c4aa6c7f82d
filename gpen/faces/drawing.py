"""Drawings: faces with their numbers, pictures side by side under captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.picture import FloatImage
from .face import Face

Drawing = NDArray[np.uint8]
"""(H, W, 3), RGB, 0 to 255."""

NumberedFace = tuple[int, Face]
"""A face and its number in the photo, or in the video."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_YELLOW, _GREY, _BLACK, _WHITE = (255, 214, 10), (170, 170, 170), (0, 0, 0), (255, 255, 255)


def draw_faces(
    photo: FloatImage,
    faces: Iterable[NumberedFace],
    *,
    boxes: bool = True,
    landmarks: bool = True,
    skipped: Iterable[NumberedFace] = (),
) -> Drawing:
    """The photo (H, W, 3), [0, 1], with a number above each face, and its box and landmarks unless turned off.

    Without boxes, landmarks are not drawn either, and the number moves to the left, off the restored pixels. skipped:
    faces to draw in grey.
    """
    drawing = np.ascontiguousarray(np.rint(np.clip(photo, 0, 1) * 255).astype(np.uint8))
    height, width = drawing.shape[:2]
    colored = [(face, _GREY) for face in skipped] + [(face, _YELLOW) for face in faces]
    for (number, face), color in colored:
        line, dot = max(1, round(face.height / 100)), max(1, round(face.height / 60))
        x0, y0, x1, y1 = (round(v) for v in face.box)
        if boxes:
            cv2.rectangle(drawing, (x0, y0), (x1, y1), color, line, cv2.LINE_AA)
            for x, y in face.landmarks if landmarks else ():
                cv2.circle(drawing, (round(x), round(y)), dot, color, -1, cv2.LINE_AA)
        size = float(np.clip(face.height / 4, 10, max(10, height / 20)))
        (wide, tall), below = _text_size(str(number), size)
        left = int(np.clip(x0 if boxes else x0 - wide, 0, max(0, width - wide - 3)))
        bottom = int(np.clip(y0 - 2, tall + below + 2, max(tall + below + 2, height)))
        cv2.rectangle(drawing, (left, bottom - tall - below - 2), (left + wide + 2, bottom), color, -1)
        _text(drawing, str(number), (left + 1, bottom - below), size, _BLACK)
    return drawing


def side_by_side(pictures: Sequence[Drawing], captions: Sequence[str]) -> Drawing:
    """Pictures of the same size in a row, each under its caption (ASCII)."""
    return grid([pictures], [[caption] for caption in captions])


def grid(rows: Sequence[Sequence[Drawing]], captions: Sequence[Sequence[str]]) -> Drawing:
    """Rows of pictures of the same size, with a caption above each column.

    captions: for each column its lines of text (ASCII); all columns have the same number of lines.
    """
    height, width = rows[0][0].shape[:2]
    size = float(np.clip(height / 25, 10, 60))
    while size > 6 and max(_text_size(line, size)[0][0] for lines in captions for line in lines) > width - 8:
        size -= 1
    (_, tall), below = _text_size("Ag", size)
    line_height = tall + below + 6
    gap = max(2, width // 200)
    columns: list[Drawing] = []
    for number, lines in enumerate(captions):
        strip = np.zeros((line_height * len(lines) + 6, width, 3), np.uint8)
        for line, text in enumerate(lines):
            _text(strip, text, (4, line * line_height + tall + 6), size, _WHITE)
        parts = [strip, rows[0][number]]
        for row in rows[1:]:
            parts += [np.zeros((gap, width, 3), np.uint8), row[number]]
        columns += [np.vstack(parts)] if not columns else [_space(columns[0], gap), np.vstack(parts)]
    return np.hstack(columns)


def _space(beside: Drawing, width: int) -> Drawing:
    return np.zeros((beside.shape[0], width, 3), np.uint8)


def _text_size(text: str, size: float) -> tuple[tuple[int, int], int]:
    (wide, tall), below = cv2.getTextSize(text, _FONT, size / 22, max(1, round(size / 14)))
    return (int(wide), int(tall)), int(below)


def _text(drawing: Drawing, text: str, origin: tuple[int, int], size: float, color: tuple[int, int, int]) -> None:
    cv2.putText(drawing, text, origin, _FONT, size / 22, color, max(1, round(size / 14)), cv2.LINE_AA)

"""What `--person` decides, as a table for docs/options.md.

The photo is that of the 1927 Solvay conference, and the example one of its faces, darker and blurred. A stand-in for a
face recogniser compares faces by the colours of 8 x 8 cells: it tells pictures apart, not people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import gpen
from gpen.faces.align import similarity
from gpen.faces.recognition.identity import SIZE, TEMPLATE
from gpen.faces.recognition.people import people_in
from gpen.faces.resampling.resample import warp
from tests.recognizers import embedding

PHOTO = "photos/Solvay_conference_1927.png"
WANTED = 12
"""The face that is looked for, counted from left to right."""
SHOWN = 3
"""How many of the other faces the table has, the most similar first."""


class ColorRecognizer:
    """In place of a face recogniser."""

    same_person = 0.9

    def align(self, crop: Tensor, landmarks: NDArray[np.float64]) -> Tensor:
        """See :class:`gpen.faces.recognition.identity.Recognizer`."""
        return warp(crop, similarity(landmarks, TEMPLATE), (SIZE, SIZE))

    def embed(self, faces: Sequence[Tensor]) -> NDArray[np.float32]:
        """See :class:`gpen.faces.recognition.identity.Recognizer`."""
        return np.stack([embedding(np.rint(face.clamp(0, 1).numpy() * 255).astype(np.uint8)) for face in faces])


def person_table(shared: Path, model: gpen.Model) -> str:
    """The table in Markdown. shared: holds the photo and YuNet."""
    photo = gpen.read_picture(shared / PHOTO, max_megapixels=10).photo
    detector = gpen.make_detector("yunet", [shared / "weights"])
    face = sorted(detector.detect(photo), key=lambda face: face.box[0])[WANTED]
    x, y = map(round, face.center)
    half = round(1.5 * face.height)
    part = photo[max(0, y - half) : y + half, max(0, x - half) : x + half]
    example = cv2.GaussianBlur(part * np.float32(0.8), (0, 0), 1.5)
    people = people_in([("example", example)], detector, 0.7, ColorRecognizer())
    result = gpen.restore(photo, model, detector, people=people)
    lines = [result.summary, "", "| face | outcome |", "|---|---|"]
    lines += [f"| {face.number} | restored |" for face in result.faces]
    others = sorted(result.skipped, key=lambda left: re.findall(r"\d\.\d+", left.reason)[0], reverse=True)
    lines += [f"| {left.number} | {left.reason} |" for left in others[:SHOWN]]
    return "\n".join(lines)

"""Which of the detected faces are restored."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..options import Options
from .face import Face

_PART = re.compile(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?")


def select_faces(
    faces: list[Face],
    options: Options,
    photo_size: tuple[int, int],
    region: NDArray[np.float32] | None = None,
    *,
    given: bool = False,
) -> dict[int, str]:
    """Why faces are left out: number of the face to a reason; faces not in it are to be restored.

    faces: in the order of their numbers, from left to right. photo_size: (width, height). region: (H, W) of
    the photo, or None; only faces whose centre lies where it is above 0.5 are taken. given: the faces were
    given, not detected, so that their scores do not matter. Restrictions by number,
    size, score and region come first, the largest or most central is then chosen among what is left.
    """
    wanted = parse_numbers(options.only_faces)
    reasons: dict[int, str] = {}
    for number, face in enumerate(faces):
        if wanted is not None and number not in wanted:
            reasons[number] = f"not among faces {options.only_faces.strip()}"
        elif not given and face.score < options.detection_threshold:
            reasons[number] = f"score {face.score:.2f} is under {options.detection_threshold:g}"
        elif min(face.width, face.height) < options.min_face_size:
            reasons[number] = f"{face.width:.0f} x {face.height:.0f} pixels, smaller than {options.min_face_size}"
        elif region is not None and not _inside(face, region):
            reasons[number] = "outside the mask"
    left = [number for number in range(len(faces)) if number not in reasons]
    if options.select != "all" and left:
        chosen = _best(faces, left, options.select, photo_size)
        reasons.update({number: f"not the {_NAMES[options.select]} face" for number in left if number != chosen})
    return reasons


_NAMES = {"largest": "largest", "central": "most central"}


def parse_numbers(text: str) -> frozenset[int] | None:
    """Numbers in text such as "0,2,5-7"; None for empty text. Raises OptionError on anything else."""
    if not text.strip():
        return None
    numbers: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise OptionError(
                f"Only these faces is {text!r}; it has to be numbers and ranges with commas between, such as 0,2,5-7."
            )
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first:
            raise OptionError(f"Only these faces is {text!r}: the range {part.strip()} runs backwards.")
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


def _best(faces: list[Face], numbers: list[int], select: str, photo_size: tuple[int, int]) -> int:
    if select == "largest":
        return max(numbers, key=lambda number: faces[number].width * faces[number].height)
    middle = (photo_size[0] - 1) / 2, (photo_size[1] - 1) / 2

    def off_center(number: int) -> float:
        x, y = faces[number].center
        return (x - middle[0]) ** 2 + (y - middle[1]) ** 2

    return min(numbers, key=off_center)


def _inside(face: Face, region: NDArray[np.float32]) -> bool:
    x, y = face.center
    height, width = region.shape
    column, row = round(min(max(x, 0), width - 1)), round(min(max(y, 0), height - 1))
    return bool(region[row, column] > 0.5)

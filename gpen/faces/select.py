"""Which of the detected faces are restored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..options import Options
from .face import Face
from .track import TrackedFace

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
    return _left_out(list(range(len(faces))), faces, faces, options, photo_size, region, given)


def select_tracked(
    tracked: Sequence[TrackedFace],
    options: Options,
    photo_size: tuple[int, int],
    region: NDArray[np.float32] | None = None,
    *,
    given: bool = False,
) -> dict[int, str]:
    """The same for the faces of one frame of a video, by place in ``tracked``.

    Numbers are those of the tracks. Score, size, and which is the largest or most central one are told by the medians
    over a track, so that the choice changes with the people in the picture and not from frame to frame; whether a face
    lies in the region is told by its place in this frame.
    """
    numbers = [face.number for face in tracked]
    here, typical = [face.face for face in tracked], [face.typical for face in tracked]
    return _left_out(numbers, here, typical, options, photo_size, region, given)


def without_choice(options: Options) -> Options:
    """The options for faces that were chosen already."""
    return replace(options, select="all", only_faces="", min_face_size=0)


def _left_out(
    numbers: Sequence[int],
    here: Sequence[Face],
    faces: Sequence[Face],
    options: Options,
    photo_size: tuple[int, int],
    region: NDArray[np.float32] | None,
    given: bool,
) -> dict[int, str]:
    """Reasons by place. here: where faces are, faces: what else counts of them."""
    wanted = parse_numbers(options.only_faces)
    reasons: dict[int, str] = {}
    for place, face in enumerate(faces):
        if wanted is not None and numbers[place] not in wanted:
            reasons[place] = f"not among faces {options.only_faces.strip()}"
        elif not given and face.score < options.detection_threshold:
            reasons[place] = f"score {face.score:.2f} is under {options.detection_threshold:g}"
        elif min(face.width, face.height) < options.min_face_size:
            reasons[place] = f"{face.width:.0f} x {face.height:.0f} pixels, smaller than {options.min_face_size}"
        elif region is not None and not _inside(here[place], region):
            reasons[place] = "outside the mask"
    left = [place for place in range(len(faces)) if place not in reasons]
    if options.select != "all" and left:
        chosen = _best(faces, left, options.select, photo_size)
        reasons.update({place: f"not the {_NAMES[options.select]} face" for place in left if place != chosen})
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


def _best(faces: Sequence[Face], places: list[int], select: str, photo_size: tuple[int, int]) -> int:
    if select == "largest":
        return max(places, key=lambda place: faces[place].width * faces[place].height)
    middle = (photo_size[0] - 1) / 2, (photo_size[1] - 1) / 2

    def off_center(place: int) -> float:
        x, y = faces[place].center
        return (x - middle[0]) ** 2 + (y - middle[1]) ** 2

    return min(places, key=off_center)


def _inside(face: Face, region: NDArray[np.float32]) -> bool:
    x, y = face.center
    height, width = region.shape
    column, row = round(min(max(x, 0), width - 1)), round(min(max(y, 0), height - 1))
    return bool(region[row, column] > 0.5)

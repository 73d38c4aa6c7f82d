"""Selection: which of a photo's faces are restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..images.picture import FloatImage
from .face import Face
from .tracking.tracks import TrackedFace

_NAMES = {"largest": "largest", "central": "most central"}


@dataclass(frozen=True, kw_only=True)
class FaceChoice:
    """Which faces to restore. The defaults select every face."""

    numbers: frozenset[int] | None = None
    """Only the faces with these numbers; None for no restriction."""
    min_score: float = 0.0
    """The lowest score; 0 for faces that were given, not detected."""
    min_size: int = 0
    """The least width and height of the box, in pixels of the photo."""
    select: str = "all"
    """Of the remaining faces: "all", the "largest", or the most "central" one."""


def select_faces(
    faces: Sequence[Face],
    choice: FaceChoice,
    photo_size: tuple[int, int],
    region: FloatImage | None = None,
) -> dict[int, str]:
    """The faces to skip: a reason by the number of the face.

    faces: in the order of their numbers, from left to right. photo_size: (width, height). region: (H, W) of the photo,
    or None; faces whose centre lies where it is 0.5 or less are skipped. The restrictions by number, score, size and
    region apply first; the largest or most central face is chosen among the rest.
    """
    return _skipped(list(range(len(faces))), faces, faces, choice, photo_size, region)


def select_tracked(
    tracked: Sequence[TrackedFace],
    choice: FaceChoice,
    photo_size: tuple[int, int],
    region: FloatImage | None = None,
) -> dict[int, str]:
    """The faces of one frame of a video to skip: a reason by the position in ``tracked``.

    As :func:`select_faces`, but with the numbers of the tracks. Score, size and position are the medians over a track,
    so that the choice does not flicker from frame to frame; only the region is compared with the position in this
    frame.
    """
    numbers = [face.number for face in tracked]
    here, typical = [face.face for face in tracked], [face.typical for face in tracked]
    return _skipped(numbers, here, typical, choice, photo_size, region)


def _skipped(
    numbers: Sequence[int],
    here: Sequence[Face],
    faces: Sequence[Face],
    choice: FaceChoice,
    photo_size: tuple[int, int],
    region: FloatImage | None,
) -> dict[int, str]:
    """Reasons by position. here: the faces in this frame, for the region; faces: for everything else."""
    reasons: dict[int, str] = {}
    for position, face in enumerate(faces):
        if choice.numbers is not None and numbers[position] not in choice.numbers:
            reasons[position] = f"not among faces {_ranges(choice.numbers)}"
        elif face.score < choice.min_score:
            reasons[position] = f"score {face.score:.2f} is under {choice.min_score:g}"
        elif min(face.width, face.height) < choice.min_size:
            reasons[position] = f"{face.width:.0f} x {face.height:.0f} pixels, smaller than {choice.min_size}"
        elif region is not None and not _inside(here[position], region):
            reasons[position] = "outside the mask"
    rest = [position for position in range(len(faces)) if position not in reasons]
    if choice.select != "all" and rest:
        best = _best(faces, rest, choice.select, photo_size)
        reasons.update({position: f"not the {_NAMES[choice.select]} face" for position in rest if position != best})
    return reasons


@lru_cache(maxsize=1)  # there may be a million numbers, and a skipped face in every frame
def _ranges(numbers: frozenset[int]) -> str:
    """Numbers as a user writes them, such as "0,2,5-7"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _best(faces: Sequence[Face], positions: list[int], select: str, photo_size: tuple[int, int]) -> int:
    if select == "largest":
        return max(positions, key=lambda position: faces[position].width * faces[position].height)
    middle = (photo_size[0] - 1) / 2, (photo_size[1] - 1) / 2

    def off_center(position: int) -> float:
        x, y = faces[position].center
        return (x - middle[0]) ** 2 + (y - middle[1]) ** 2

    return min(positions, key=off_center)


def _inside(face: Face, region: FloatImage) -> bool:
    x, y = face.center
    height, width = region.shape
    column, row = round(min(max(x, 0), width - 1)), round(min(max(y, 0), height - 1))
    return bool(region[row, column] > 0.5)

"""Selection: which of a photo's faces are restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...images.picture import FloatImage
from ...images.tensors import DevicePhoto
from ..face import Face
from ..recognition.people import People
from ..tracking.tracks import TrackedFace
from .measure import measure_faces
from .traits import FaceTraits

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
    max_size: int = 0
    """The largest width and height of the box, in pixels of the photo; 0 for no limit."""
    max_sharpness: float = 0.0
    """Faces that are sharper are skipped, 0 to 1 as :func:`.sharpness.sharpness` measures; 0 for no limit."""
    report_sharpness: bool = False
    """Whether the sharpness of every face is measured for its own sake."""
    people: People | None = None
    """Only faces of these people; None for no restriction."""
    select: str = "all"
    """Of the remaining faces: "all", the "largest", or the most "central" one."""

    @property
    def needs_pixels(self) -> bool:
        """Whether anything is measured of the faces' pixels."""
        return self.needs_sharpness or self.people is not None

    @property
    def needs_sharpness(self) -> bool:
        """Whether faces' sharpness is measured."""
        return self.max_sharpness > 0 or self.report_sharpness

    def measure(self, photo: FloatImage | DevicePhoto, faces: Sequence[Face]) -> list[FaceTraits]:
        """Measure what is needed of the faces of a photo, as :func:`~gpen.faces.selection.measure.measure_faces`."""
        return measure_faces(photo, faces, is_sharpness_wanted=self.needs_sharpness, people=self.people)


Measure = Callable[[Sequence[int]], Mapping[int, FaceTraits]]
"""Measures the faces at the given positions, and returns what was measured, by position."""


def select_faces(
    faces: Sequence[Face],
    choice: FaceChoice,
    photo_size: tuple[int, int],
    region: FloatImage | None = None,
    measure: Measure = lambda positions: {},
) -> dict[int, str]:
    """The faces to skip: a reason by the number of the face.

    faces: in the order of their numbers, from left to right. photo_size: (width, height). region: (H, W) of the photo,
    or None; faces whose centre lies where it is 0.5 or less are skipped. The restrictions by number, score, size and
    region apply first, then those by what is measured, then the largest or most central face is chosen among the rest.
    """
    numbered = _Numbered(list(range(len(faces))), faces, faces)
    return _skipped(numbered, choice, photo_size, region, measure)


def select_tracked(
    tracked: Sequence[TrackedFace],
    choice: FaceChoice,
    photo_size: tuple[int, int],
    region: FloatImage | None = None,
) -> dict[int, str]:
    """The faces of one frame of a video to skip: a reason by the position in ``tracked``.

    As :func:`select_faces`, but with the numbers of the tracks. Score, size, position and what was measured are the
    medians over a track, so that the choice does not flicker from frame to frame; only the region is compared with the
    position in this frame.
    """
    numbered = _Numbered(
        [face.number for face in tracked], [face.face for face in tracked], [face.typical for face in tracked]
    )

    def measure(positions: Sequence[int]) -> dict[int, FaceTraits]:
        return {position: tracked[position].traits for position in positions}

    return _skipped(numbered, choice, photo_size, region, measure)


@dataclass(frozen=True, eq=False)
class _Numbered:
    """The faces of a photo, or of a frame of a video."""

    numbers: Sequence[int]
    here: Sequence[Face]
    """In this frame, for the region."""
    faces: Sequence[Face]
    """For everything else."""


def _skipped(
    numbered: _Numbered,
    choice: FaceChoice,
    photo_size: tuple[int, int],
    region: FloatImage | None,
    measure: Measure,
) -> dict[int, str]:
    """Reasons by position."""
    numbers, here, faces = numbered.numbers, numbered.here, numbered.faces
    reasons: dict[int, str] = {}
    for position, face in enumerate(faces):
        if choice.numbers is not None and numbers[position] not in choice.numbers:
            reasons[position] = f"not among faces {_ranges(choice.numbers)}"
        elif face.score < choice.min_score:
            reasons[position] = f"score {face.score:.2f} is under {choice.min_score:g}"
        elif min(face.width, face.height) < choice.min_size:
            reasons[position] = f"{face.width:.0f} x {face.height:.0f} pixels, smaller than {choice.min_size}"
        elif choice.max_size and max(face.width, face.height) > choice.max_size:
            reasons[position] = f"{face.width:.0f} x {face.height:.0f} pixels, larger than {choice.max_size}"
        elif region is not None and not _inside(here[position], region):
            reasons[position] = "outside the mask"
    if choice.needs_pixels:
        measured = measure([position for position in range(len(faces)) if position not in reasons])
        reasons |= {position: why for position, traits in measured.items() if (why := _by_traits(traits, choice))}
    rest = [position for position in range(len(faces)) if position not in reasons]
    if choice.select != "all" and rest:
        best = _best(faces, rest, choice.select, photo_size)
        reasons.update({position: f"not the {_NAMES[choice.select]} face" for position in rest if position != best})
    return reasons


def _by_traits(traits: FaceTraits, choice: FaceChoice) -> str:
    """Why a face is skipped because of its pixels; empty where it is not."""
    sharpness = traits.sharpness
    if choice.max_sharpness and sharpness is not None and sharpness > choice.max_sharpness:
        return f"sharp enough: its sharpness is {sharpness:.2f}, above {choice.max_sharpness:g}"
    if choice.people is None:
        return ""
    if traits.likeness is None:
        return "its landmarks cannot be aligned, so nobody can be recognised"
    least = choice.people.same_person
    if traits.likeness < least:
        return f"none of the people asked for: the cosine similarity is {traits.likeness:.2f}, less than {least:g}"
    return ""


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

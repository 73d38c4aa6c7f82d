"""Where the faces of a photo come from: a detector, a list, a video's tracks, or the photo itself.

The pipeline asks one small protocol, so that detected, given, followed and aligned faces take the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..errors import OptionError, PhotoError
from ..images.picture import FloatImage
from .align import TEMPLATES
from .detection.detector import FaceDetector
from .face import Face
from .select import FaceChoice, select_faces


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of a photo, and whether it is to be worked on."""

    number: int
    """Its position among the photo's faces, from left to right, from 0; in a video the number of its track."""
    face: Face
    """Box, score and landmarks, in pixels of the photo."""
    skip_reason: str = ""
    """Why it is left as it is; empty where it is to be worked on."""


class FaceSource(Protocol):
    """Finds the faces of a photo and says which of them are to be worked on."""

    @property
    def whole_photo(self) -> bool:
        """Whether all of the photo is one face, aligned as the network takes it."""
        ...

    def find(self, photo: FloatImage, region: FloatImage | None = None) -> list[FoundFace]:
        """The faces of a photo (H, W, 3), from left to right.

        region: (H, W); faces whose centre lies where it is 0.5 or less are to be skipped. GpenError where faces cannot
        be looked for.
        """
        ...


class DetectedFaces:
    """The faces that a detector finds, scored at least ``threshold``."""

    whole_photo = False

    def __init__(self, detector: FaceDetector, choice: FaceChoice, threshold: float) -> None:
        self._detector = detector
        self._choice = replace(choice, min_score=threshold)
        self._threshold = threshold

    def find(self, photo: FloatImage, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`."""
        return _chosen(self._detector.detect(photo, self._threshold), self._choice, photo, region)


class GivenFaces:
    """Faces that are known already; they are numbered from left to right, and their scores do not matter."""

    whole_photo = False

    def __init__(self, faces: Sequence[Face], choice: FaceChoice) -> None:
        self._faces = sorted(faces, key=lambda face: face.center)
        self._choice = choice

    def find(self, photo: FloatImage, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`."""
        return _chosen(self._faces, self._choice, photo, region)


class ChosenFaces:
    """Faces that were found and chosen already, such as those of a frame of a video."""

    whole_photo = False

    def __init__(self, faces: Sequence[FoundFace]) -> None:
        self._faces = list(faces)

    def find(self, photo: FloatImage, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`. The region was considered when the faces were chosen."""
        return self._faces


class WholePhoto:
    """An aligned portrait: the photo is a square, and all of it is one face. ``what`` names it in errors."""

    whole_photo = True

    def __init__(self, what: str = "An aligned portrait") -> None:
        self._what = what

    def find(self, photo: FloatImage, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`. OptionError for a region, PhotoError for a photo that is not a square."""
        if region is not None:
            raise OptionError(f"{self._what} is one face, and all of it is worked on: leave the region out.")
        height, width = photo.shape[:2]
        if height != width:
            raise PhotoError(
                f"{self._what} has to be a square, as the network takes it; this one is {width} x {height}. Crop it."
            )
        face = Face((0.0, 0.0, width - 1.0, height - 1.0), 1.0, TEMPLATES["gpen"] * width - 0.5)
        return [FoundFace(0, face)]


def _chosen(faces: Sequence[Face], choice: FaceChoice, photo: FloatImage, region: FloatImage | None) -> list[FoundFace]:
    height, width = photo.shape[:2]
    reasons = select_faces(faces, choice, (width, height), region)
    return [FoundFace(number, face, reasons.get(number, "")) for number, face in enumerate(faces)]

"""Face sources: where the faces of a photo come from: a detector, a list, a video's tracks, or the photo itself.

They share one small protocol, so that the pipeline treats all faces alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from ..errors import OptionError, PhotoError
from ..images.picture import FloatImage
from ..images.tensors import DevicePhoto
from .align import TEMPLATES
from .detection.detector import FaceDetector, reporting_memory
from .face import Face
from .selection.select import FaceChoice, select_faces
from .selection.traits import UNMEASURED, FaceTraits


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of a photo, and whether to restore it."""

    number: int
    """Its position among the photo's faces, from left to right, from 0; in a video, the number of its track."""
    face: Face
    """In pixels of the photo."""
    skip_reason: str = ""
    """Why to skip it; empty if it is to be restored."""
    sharpness: float | None = None
    """0 to 1, in a video the median over its track; None where it was not measured."""


class FaceSource(Protocol):
    """Finds the faces of a photo and says which of them to skip."""

    @property
    def whole_photo(self) -> bool:
        """Whether the whole photo is one face, aligned for the network."""
        ...

    def find(self, photo: FloatImage | DevicePhoto, region: FloatImage | None = None) -> list[FoundFace]:
        """The faces of a photo (H, W, 3), RGB, [0, 1], from left to right.

        region: (H, W); faces whose centre lies where it is 0.5 or less are skipped. Raises GpenError if the photo
        cannot be searched for faces.
        """
        ...


class DetectedFaces:
    """The faces that a detector finds with a score of at least ``threshold``."""

    whole_photo = False

    def __init__(self, detector: FaceDetector, choice: FaceChoice, threshold: float) -> None:
        self._detector = detector
        self._choice = replace(choice, min_score=threshold)
        self._threshold = threshold

    def find(self, photo: FloatImage | DevicePhoto, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`."""
        return _chosen(self._detector.detect(_pixels(photo), self._threshold), self._choice, photo, region)


class GivenFaces:
    """A list of faces, numbered from left to right; their scores do not matter."""

    whole_photo = False

    def __init__(self, faces: Sequence[Face], choice: FaceChoice) -> None:
        self._faces = sorted(faces, key=lambda face: face.center)
        self._choice = choice

    def find(self, photo: FloatImage | DevicePhoto, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`."""
        return _chosen(self._faces, self._choice, photo, region)


class ChosenFaces:
    """Faces that were chosen beforehand, such as those of a video's frame."""

    whole_photo = False

    def __init__(self, faces: Sequence[FoundFace]) -> None:
        self._faces = list(faces)

    def find(self, photo: FloatImage | DevicePhoto, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`. The region has no effect: it was applied when the faces were chosen."""
        return self._faces


class WholePhoto:
    """An aligned portrait: the photo is a square that shows one face.

    what: names the photo in errors, as the subject of a sentence.
    """

    whole_photo = True

    def __init__(self, what: str = "An aligned portrait") -> None:
        self._what = what

    def find(self, photo: FloatImage | DevicePhoto, region: FloatImage | None = None) -> list[FoundFace]:
        """See :class:`FaceSource`. Raises OptionError for a region, PhotoError if the photo is not a square."""
        if region is not None:
            raise OptionError(f"{self._what} is one face, and all of it is restored: leave the region out.")
        height, width = photo.shape[:2]
        if height != width:
            raise PhotoError(
                f"{self._what} has to be a square, as the network takes it; this one is {width} x {height}. Crop it."
            )
        face = Face((0.0, 0.0, width - 1.0, height - 1.0), 1.0, TEMPLATES["gpen"] * width - 0.5)
        return [FoundFace(0, face)]


def _pixels(photo: FloatImage | DevicePhoto) -> FloatImage | Tensor:
    """The photo where it is needed: crops are going to be taken from the same copy."""
    if not isinstance(photo, DevicePhoto):
        return photo
    if photo.device.type == "cpu":
        return photo.array
    with reporting_memory(photo.device, photo.shape[1], photo.shape[0]):
        return photo.whole()


def _chosen(
    faces: Sequence[Face], choice: FaceChoice, photo: FloatImage | DevicePhoto, region: FloatImage | None
) -> list[FoundFace]:
    height, width = photo.shape[:2]
    measured: dict[int, FaceTraits] = {}

    def measure(positions: Sequence[int]) -> dict[int, FaceTraits]:
        # For a report all faces are measured, whatever was decided about them.
        wanted = range(len(faces)) if choice.report_sharpness else positions
        traits = choice.measure(photo, [faces[position] for position in wanted])
        measured.update(zip(wanted, traits, strict=True))
        return {position: measured[position] for position in positions}

    reasons = select_faces(faces, choice, (width, height), region, measure)
    return [
        FoundFace(number, face, reasons.get(number, ""), measured.get(number, UNMEASURED).sharpness)
        for number, face in enumerate(faces)
    ]

"""Where the faces of each photo of a batch come from."""

from __future__ import annotations

from typing import Protocol

from ..errors import FaceError
from ..faces.face import Face
from ..faces.faces_file import FacesFromFile
from ..faces.select import FaceChoice
from ..faces.source import ChosenFaces, FaceSource, GivenFaces
from ..images import Picture
from .plan import PhotoFile
from .video import TrackedFaces


class BatchFaces(Protocol):
    """Gives each photo of a batch the source of its faces."""

    @property
    def name(self) -> str:
        """What knows or finds the faces; empty where none are looked for."""
        ...

    @property
    def min_score(self) -> float:
        """The lowest score that a face may have; 0 where scores do not matter."""
        ...

    def source(self, photo: PhotoFile, picture: Picture) -> FaceSource:
        """The source for one photo; GpenError where there is none."""
        ...


class SameSource:
    """One source for every photo, such as a detector."""

    def __init__(self, source: FaceSource, name: str, min_score: float = 0.0) -> None:
        self.name = name
        self.min_score = min_score
        self._source = source

    def source(self, photo: PhotoFile, picture: Picture) -> FaceSource:
        """See :class:`BatchFaces`."""
        return self._source


class ListedFaces:
    """The faces that a file lists, as ``gpen detect`` writes it."""

    min_score = 0.0

    def __init__(self, file: FacesFromFile, choice: FaceChoice) -> None:
        self.name = str(file.path)
        self._file = file
        self._choice = choice

    def source(self, photo: PhotoFile, picture: Picture) -> FaceSource:
        """See :class:`BatchFaces`. FaceError where the file does not list the photo at this size."""
        return GivenFaces(self._faces(photo, picture), self._choice)

    def _faces(self, photo: PhotoFile, picture: Picture) -> list[Face]:
        try:
            # The file may list a folder above the one that was given now: there the whole path tells more.
            return self._file.faces_for(photo.path.absolute(), picture.width, picture.height)
        except FaceError:
            return self._file.faces_for(photo.name, picture.width, picture.height)


class VideoFaces:
    """The faces of the frames of a video, which were followed and chosen before."""

    min_score = 0.0

    def __init__(self, tracked: TrackedFaces) -> None:
        self.name = tracked.name
        self._tracked = tracked

    def source(self, photo: PhotoFile, picture: Picture) -> FaceSource:
        """See :class:`BatchFaces`. PhotoError where the faces of the frame are not known."""
        return ChosenFaces(self._tracked.of(photo))

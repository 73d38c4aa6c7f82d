"""Where the faces of each photo in a batch come from."""

from __future__ import annotations

from typing import Protocol

from ..errors import FaceError
from ..faces.face import Face
from ..faces.faces_file import FacesFromFile
from ..faces.selection.select import FaceChoice
from ..faces.source import ChosenFaces, FaceSource, GivenFaces
from ..images import Picture
from .plan import PhotoFile
from .video import TrackedFaces


class BatchFaces(Protocol):
    """Gives the face source of each photo in a batch."""

    @property
    def name(self) -> str:
        """The detector or file that the faces come from; empty if photos are aligned faces."""
        ...

    @property
    def min_score(self) -> float:
        """The lowest detection score of a face; 0 if scores do not matter."""
        ...

    def source(self, photo: PhotoFile, picture: Picture) -> FaceSource:
        """The face source of one photo; GpenError if there is none."""
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
    """The faces listed in a faces file."""

    min_score = 0.0

    def __init__(self, file: FacesFromFile, choice: FaceChoice) -> None:
        self.name = str(file.path)
        self._file = file
        self._choice = choice

    def source(self, photo: PhotoFile, picture: Picture) -> FaceSource:
        """See :class:`BatchFaces`. FaceError unless the file lists the photo at this size."""
        return GivenFaces(self._faces(photo, picture), self._choice)

    def _faces(self, photo: PhotoFile, picture: Picture) -> list[Face]:
        try:
            # The file may list a folder above the given one, where only the whole path identifies the photo.
            return self._file.faces_for(photo.path.absolute(), picture.width, picture.height)
        except FaceError:
            return self._file.faces_for(photo.name, picture.width, picture.height)


class VideoFaces:
    """The faces of the frames of a video, already tracked and chosen."""

    min_score = 0.0

    def __init__(self, tracked: TrackedFaces) -> None:
        self.name = tracked.name
        self._tracked = tracked

    def source(self, photo: PhotoFile, picture: Picture) -> FaceSource:
        """See :class:`BatchFaces`. PhotoError if the frame was not tracked."""
        return ChosenFaces(self._tracked.of(photo))

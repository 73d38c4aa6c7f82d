"""The faces of a film from a faces file, in place of a detector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from ..errors import FaceError
from ..faces.face import Face
from ..faces.faces_file import FacesFromFile, FilmFaces
from .source import Film


class ListedFaces:
    """The faces that a file lists for a film. FaceError where it lists none, or those of frames of another size."""

    def __init__(self, file: FacesFromFile, film: Film) -> None:
        self._file = file.path
        self._film = film
        self._entry: FilmFaces = file.faces_of_film(film.path, film.path.name, *film.size_shown)
        self._frames = {frame.frame: frame for frame in self._entry.frames}

    @property
    def digest(self) -> str:
        """Differs where other faces are listed."""
        frames = [
            [frame.frame, [[face.box, face.score, face.landmarks.tolist()] for face in frame.faces]]
            for frame in self._entry.frames
        ]
        return hashlib.sha256(json.dumps(frames).encode()).hexdigest()[:12]

    def of(self, frame: int, timestamp: int) -> Sequence[Face]:
        """The faces of a frame; FaceError where the file says that the frame is shown at another time."""
        listed = self._frames.get(frame)
        if listed is None:
            return ()
        seconds = self._film.time(timestamp)
        if listed.seconds is not None and abs(listed.seconds - seconds) > 0.5 / self._film.rate:
            raise FaceError(
                f"{self._file} lists frame {frame} of {self._entry.path} at {listed.seconds:.3f} s, but in "
                f"{self._film.path} it is shown at {seconds:.3f} s. Was the film cut? Detect its faces again."
            )
        return listed.faces

    def check_end(self, frames: int) -> None:
        """FaceError where the file lists frames beyond the last one of the film."""
        last = self._entry.frames[-1].frame if self._entry.frames else 0
        if last >= frames:
            raise FaceError(
                f"{self._file} lists frame {last} of {self._entry.path}, but the last one of {self._film.path} is "
                f"{frames - 1}. Was the film cut? Detect its faces again."
            )

"""Steady texture of the frames of a video in files, whichever of them a process works on, in whichever order."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

from ..faces.tracking.texture import LOOK_BACK, FrameTexture, SteadyTexture
from .plan import PhotoFile
from .video import TrackedFaces


class FrameTextures:
    """Says which frames have to be restored once more so that a frame's texture is as if all frames had been.

    That is after a frame whose result exists already, or that another machine restores. It depends on no frame further
    back than :data:`~gpen.faces.tracking.texture.LOOK_BACK`, so on no more than these are needed. A frame that could
    not be read is passed over.

    tracked: the faces of all frames, in their order. strength: as for
    :class:`~gpen.faces.tracking.texture.SteadyTexture`.
    """

    def __init__(self, tracked: TrackedFaces, strength: float) -> None:
        self._texture = SteadyTexture(strength)
        self._paths = [Path(path) for path in tracked.frames]
        self._numbers = {path: number for number, path in enumerate(self._paths)}
        self._tracks = [{face.number for face in faces if not face.skip_reason} for faces in tracked.frames.values()]
        self._given: set[int] = set()

    def begin(self, photo: PhotoFile) -> list[PhotoFile]:
        """Frames to restore before this one, in their order, each with :meth:`of`; their results are not needed."""
        number = self._numbers[photo.path.absolute()]
        window = range(max(0, number - LOOK_BACK), number)
        needed = [frame for frame in window if self._tracks[frame] & self._tracks[number]]
        missing = []
        if not self._given.issuperset(needed) or max(self._given, default=-1) >= number:
            self._texture.clear()
            self._given.clear()
            missing = needed
        self._given = {frame for frame in self._given if frame in window} | {*missing, number}
        # All frames of a video are in one folder.
        name = PurePosixPath(photo.name)
        return [
            dataclasses.replace(photo, path=path, name=str(name.with_name(path.name)))
            for path in (self._paths[frame] for frame in missing)
        ]

    def of(self, photo: PhotoFile) -> FrameTexture:
        """The steady texture of a frame."""
        return FrameTexture(self._texture, self._numbers[photo.path.absolute()])

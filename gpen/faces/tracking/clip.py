"""The faces of all frames of a video: collected while the frames are read, then tracked and chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...images.picture import FloatImage
from ...wording import count
from ..face import Face
from ..selection.select import FaceChoice, select_tracked
from ..selection.traits import FaceTraits
from ..source import FoundFace
from .shot_cuts import CutFinder, thumbnail
from .tracks import TrackedFace, track_faces, without_tracking


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """The faces of a video, tracked and chosen."""

    frames: list[list[FoundFace]]
    """Of each frame, from left to right, numbered by track."""
    tracks: int
    cuts: int
    bridged: int
    """Faces that were not detected in their frame, only before and after."""

    @property
    def summary(self) -> str:
        """One sentence about the tracks."""
        return (
            f"{count(self.tracks, 'track')} of faces in {count(len(self.frames), 'frame')} with "
            f"{count(self.cuts, 'cut')}; {count(self.bridged, 'missing face')} bridged."
        )


@dataclass(eq=False)
class ClipFaces:
    """Collects the faces of a video's frames, and keeps no frame."""

    choice: FaceChoice
    """About medians over a track."""
    found: list[list[Face]] = field(default_factory=list)
    """The faces of each frame."""
    traits: list[list[FaceTraits]] = field(default_factory=list)
    """What was measured of them, where the choice needs that."""
    cuts: CutFinder = field(default_factory=CutFinder)

    def add(self, photo: FloatImage, faces: Sequence[Face]) -> None:
        """Take the next frame, float32 (H, W, 3), RGB, [0, 1], and its faces."""
        self._append(faces, self.choice.measure(photo, faces) if self.choice.needs_pixels else [])
        self.cuts.add(len(self.found) - 1, thumbnail(photo))

    def skip(self) -> None:
        """Take a frame that cannot be read."""
        self._append([], [])

    def _append(self, faces: Sequence[Face], traits: Sequence[FaceTraits]) -> None:
        self.found.append(list(faces))
        if self.choice.needs_pixels:
            self.traits.append(list(traits))

    def tracked(self, size: tuple[int, int], region: FloatImage | None, *, steady: bool = True) -> TrackedClip:
        """Track and choose the faces, once all frames were added.

        size: (width, height) of the frames. region: (H, W), as for :func:`gpen.restore`. steady: whether faces are
        followed and smoothed; otherwise each frame stands alone.
        """
        cuts = self.cuts.end()
        tracked = track_faces(self.found, cuts, self.traits) if steady else without_tracking(self.found, self.traits)
        return TrackedClip(
            [_chosen(faces, self.choice, size, region) for faces in tracked],
            len({face.number for faces in tracked for face in faces}),
            len(cuts),
            sum(face.bridged for faces in tracked for face in faces),
        )


def _chosen(
    tracked: Sequence[TrackedFace], choice: FaceChoice, size: tuple[int, int], region: FloatImage | None
) -> list[FoundFace]:
    reasons = select_tracked(tracked, choice, size, region)
    return [
        FoundFace(face.number, face.face, reasons.get(position, ""), face.traits.sharpness)
        for position, face in enumerate(tracked)
    ]

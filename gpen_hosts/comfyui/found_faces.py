"""The faces of a batch of frames, as nodes pass them on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...gpen.errors import PhotoError
from ...gpen.faces.align import Placement
from ...gpen.faces.face import Face
from ...gpen.wording import count


@dataclass(frozen=True, eq=False)
class FrameFace:
    """A face in one of the frames."""

    frame: int
    """The index of the frame."""
    number: int
    """Its position among the frame's faces, from left to right, from 0; in a video the number of its track."""
    face: Face
    """Box, score and landmarks, in pixels of the frame."""
    placement: Placement | None = None
    """Its alignment in its crop; None until it is cropped."""
    reason: str = ""
    """Why it was skipped, or empty."""


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """The faces of a batch of frames."""

    frames: int
    """How many frames there are."""
    width: int
    """Of each frame, in pixels."""
    height: int
    """Of each frame, in pixels."""
    chosen: tuple[FrameFace, ...]
    """The faces to work on, by frame and then from left to right."""
    left_out: tuple[FrameFace, ...] = ()
    """The others."""
    is_video: bool = False
    """Whether they were tracked through the frames of one video."""

    @property
    def summary(self) -> str:
        """One sentence for people."""
        photos = count(self.frames, "photo")
        if not self.chosen and not self.left_out:
            return f"No face was found in {photos}."
        chosen = f"{count(len(self.chosen), 'face')} chosen in {photos}"
        if not self.left_out:
            return f"{chosen}."
        reasons = list(dict.fromkeys(face.reason for face in self.left_out))
        more = ", …" if len(reasons) > 1 else ""
        return f"{chosen}, {len(self.left_out)} skipped ({reasons[0]}{more})."

    def of_frame(self, frame: int) -> list[FrameFace]:
        """The chosen faces of one frame, from left to right."""
        return [face for face in self.chosen if face.frame == frame]

    def scale_to(self, frames: Tensor) -> tuple[float, float]:
        """Width and height of ``frames`` (B, H, W, C) relative to the frames that the faces were found in.

        PhotoError where their number or proportions differ.
        """
        number, height, width = frames.shape[:3]
        wide, high = width / self.width, height / self.height
        if number != self.frames or abs(wide - high) > max(wide, high) / min(height, width):
            raise PhotoError(
                f"The faces were found in {count(self.frames, 'photo')} of {self.width} x {self.height} pixels; "
                f"here {'is' if number == 1 else 'are'} {number} of {width} x {height}. Connect the photos that "
                "the faces were found in, or the same photos enlarged."
            )
        return wide, high

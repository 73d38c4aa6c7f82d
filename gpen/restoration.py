"""What became of a photo and of its faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .faces.face import Face
from .faces.resample import Image, Matrix
from .wording import count


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """One restored face.

    number: its place among all detected faces, from left to right, from 0. matrix: 2 x 3, pixels of the
    original photo to pixels of the crop before. before: float32 (in_size, in_size, 3), as the network saw it,
    after: (out_size, out_size, 3), RGB, [0, 1]; None where crops are not kept. identity: cosine distance between the
    two as the face was laid over the photo, None where there is no guard. share: how much of the strength the guard
    left.
    """

    number: int
    face: Face
    matrix: Matrix
    before: Image | None
    after: Image | None
    identity: float | None = None
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class SkippedFace:
    """A detected face that was left as it was, and why. identity: how far it would have moved, if that is why."""

    number: int
    face: Face
    reason: str
    identity: float | None = None


@dataclass(frozen=True, eq=False)
class Layers:
    """What a restoration is made again from, without running the network.

    blend: the photo (H, W, 3) and the mask (H, W) at a strength. note: the restoration's for such a mask and strength.
    nbytes: of what is held, the photo before and the faces over it.
    """

    blend: Callable[[float], tuple[Image, Image]]
    note: Callable[[Image, float], str]
    nbytes: int


@dataclass(frozen=True, eq=False)
class Restoration:
    """What became of a photo.

    photo: float32 (H, W, 3), RGB, [0, 1], enlarged where that was asked for. mask: float32 (H, W), how much
    of each pixel is restored face; photo equals the input (enlarged) wherever it is 0. faces: the restored
    ones, skipped: the others; both by number. has_background: whether what is not face is a background that was
    given, not the input. done: what was done to the faces, in a word. note: a sentence more. layers: what
    :meth:`at` needs, where it was kept.
    """

    photo: Image
    mask: Image
    faces: list[RestoredFace] = field(default_factory=list)
    skipped: list[SkippedFace] = field(default_factory=list)
    has_background: bool = False
    done: str = "restored"
    note: str = ""
    layers: Layers | None = None

    def at(self, strength: float) -> Restoration:
        """The same at another strength, 0 to 1: what a run with that option returns, without the network.

        ValueError unless it was made with ``keep_layers``.
        """
        if self.layers is None:
            raise ValueError("the layers of this restoration were not kept")
        photo, mask = self.layers.blend(strength)
        return replace(self, photo=photo, mask=mask, note=self.layers.note(mask, strength))

    @property
    def summary(self) -> str:
        """One sentence for people, or two."""
        return f"{self._about_faces} {self.note}".rstrip()

    @property
    def _about_faces(self) -> str:
        found = len(self.faces) + len(self.skipped)
        rest = "the result is the background" if self.has_background else "the photograph is unchanged"
        if not found:
            return f"No face was found; {rest}."
        if not self.faces:
            reasons = dict.fromkeys(left.reason for left in self.skipped)
            why = next(iter(reasons)) + (", ..." if len(reasons) > 1 else "")
            return f"None of {count(found, 'face')} was chosen ({why}); {rest}."
        left = f", {len(self.skipped)} left as they were" if self.skipped else ""
        return f"{count(len(self.faces), 'face')} {self.done}{left}."

"""What became of a photo and of its faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..faces.face import Face
from ..faces.resample import Matrix
from ..images.picture import FloatImage
from ..wording import count


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """One restored face."""

    number: int
    """Its position among all faces of the photo, from left to right, from 0; in a video the number of its track."""
    face: Face
    """Where it lies in the photo."""
    matrix: Matrix
    """2 x 3, pixels of the original photo to pixels of the crop before."""
    before: FloatImage | None
    """float32 (in_size, in_size, 3), RGB, [0, 1], as the network saw it; None where crops are not kept."""
    after: FloatImage | None
    """(out_size, out_size, 3), as it was pasted; None where crops are not kept."""
    identity: float | None = None
    """Cosine distance between the two as the face was pasted; None where there is no identity guard."""
    share: float = 1.0
    """How much of the strength the identity guard left."""


@dataclass(frozen=True, eq=False)
class SkippedFace:
    """A face that was left as it was."""

    number: int
    """As for :class:`RestoredFace`."""
    face: Face
    """Where it lies in the photo."""
    reason: str
    """Why it was skipped."""
    identity: float | None = None
    """How far the identity would have moved, if that is why."""


@dataclass(frozen=True, eq=False)
class CachedLayers:
    """What a restoration is blended again from at another strength, without running the network."""

    blend: Callable[[float], tuple[FloatImage, FloatImage]]
    """The photo (H, W, 3) and the mask (H, W) at a strength."""
    note: Callable[[FloatImage, float], str]
    """The restoration's note for such a mask and strength."""
    nbytes: int
    """Bytes that are held: the photo before, and the faces over it."""


@dataclass(frozen=True, eq=False)
class Restoration:
    """What became of a photo."""

    photo: FloatImage
    """float32 (H, W, 3), RGB, [0, 1], enlarged where that was asked for."""
    mask: FloatImage
    """float32 (H, W), how much of each pixel is restored face; the photo equals the input wherever it is 0."""
    faces: list[RestoredFace] = field(default_factory=list)
    """The restored faces, by number."""
    skipped: list[SkippedFace] = field(default_factory=list)
    """The other faces, by number."""
    has_background: bool = False
    """Whether the background was given, and is not the enlarged input."""
    done: str = "restored"
    """What was done to the faces, in a word."""
    note: str = ""
    """One more sentence about it."""
    layers: CachedLayers | None = None
    """What :meth:`with_strength` needs, where it was kept."""

    def with_strength(self, strength: float) -> Restoration:
        """The same at another strength, 0 to 1: what a run with that option returns, without the network.

        ValueError unless it was made with ``keep_layers``.
        """
        if self.layers is None:
            raise ValueError("the layers of this restoration were not kept")
        photo, mask = self.layers.blend(strength)
        return replace(self, photo=photo, mask=mask, note=self.layers.note(mask, strength))

    def at(self, strength: float) -> Restoration:
        """Deprecated name of :meth:`with_strength`, kept for one release."""
        return self.with_strength(strength)

    @property
    def changed(self) -> bool:
        """Whether it is more than the photo at its size or another."""
        return bool(self.faces) or self.has_background

    @property
    def summary(self) -> str:
        """One or two sentences for people."""
        return f"{self._about_faces} {self.note}".rstrip()

    @property
    def _about_faces(self) -> str:
        found = len(self.faces) + len(self.skipped)
        rest = "the result is the background" if self.has_background else "the photo is unchanged"
        if not found:
            return f"No face was found; {rest}."
        if not self.faces:
            reasons = dict.fromkeys(face.reason for face in self.skipped)
            why = next(iter(reasons)) + (", ..." if len(reasons) > 1 else "")
            return f"None of {count(found, 'face')} was chosen ({why}); {rest}."
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{count(len(self.faces), 'face')} {self.done}{skipped}."

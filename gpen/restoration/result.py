"""The result of a run: the photo, its restored faces, and the skipped ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ..faces.face import Face
from ..faces.resampling.transforms import Matrix
from ..images.picture import FloatImage
from ..images.staging import on_host
from ..images.tensors import as_array
from ..options import Options
from ..weights.download import FileVersion
from ..wording import count

if TYPE_CHECKING:
    from .upscaler import Upscaler


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """A face as the network saw it, and as it was pasted: float32, RGB, [0, 1]."""

    before: Tensor
    """(in_size, in_size, 3), on the network's device."""
    after: Tensor
    """(out_size, out_size, 3), on the network's device."""

    def on_cpu(self) -> FaceCrops:
        """The same in host memory."""
        return FaceCrops(*on_host([self.before, self.after]))


@dataclass(frozen=True)
class FaceNetwork:
    """The network that a face was given for its size."""

    name: str
    """The name of its file."""
    size: int
    """Height and width of the faces that it makes, in pixels."""
    face_size: int
    """Height and width of the face's crop in the result, in pixels."""

    @property
    def is_too_small(self) -> bool:
        """Whether the face is larger, so that what the network makes is enlarged."""
        return self.face_size > self.size


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """One restored face."""

    number: int
    """Its position among all faces of the photo, from left to right, from 0; in a video the number of its track."""
    face: Face
    """Where it lies in the photo."""
    matrix: Matrix
    """2 x 3, pixels of the original photo to pixels of the crop before."""
    crops: FaceCrops | None = None
    """Before and after; None if crops are not kept."""
    identity: float | None = None
    """Cosine distance between before and after, as pasted, 0 to 2; None without an identity guard."""
    share: float = 1.0
    """The share of the strength that the identity guard allowed, 0 to 1."""
    sharpness: float | None = None
    """How sharp it was before, 0 to 1, in a video the median over its track; None where it was not measured."""
    network: FaceNetwork | None = None
    """What restored it, where each face gets the network of its size; None where all get the same."""

    @cached_property
    def before(self) -> FloatImage | None:
        """float32 (in_size, in_size, 3), RGB, [0, 1], as the network saw it; None if crops are not kept."""
        return None if self.crops is None else as_array(self.crops.before)

    @cached_property
    def after(self) -> FloatImage | None:
        """float32 (out_size, out_size, 3), RGB, [0, 1], as it was pasted; None if crops are not kept."""
        return None if self.crops is None else as_array(self.crops.after)


@dataclass(frozen=True, eq=False)
class SkippedFace:
    """A face that was left unchanged."""

    number: int
    """As for :class:`RestoredFace`."""
    face: Face
    """Where it lies in the photo."""
    reason: str
    """Why it was skipped."""
    identity: float | None = None
    """The cosine distance that the identity guard rejected, if that is why."""
    sharpness: float | None = None
    """As for :class:`RestoredFace`."""


@dataclass(frozen=True, eq=False)
class CachedLayers:
    """What it takes to blend a restoration again at another strength, without running the network."""

    blend: Callable[[float], tuple[FloatImage, FloatImage]]
    """Given a strength, returns the photo (H, W, 3) and the mask (H, W)."""
    note: Callable[[FloatImage, float], str]
    """Given that mask and strength, returns the note."""
    nbytes: int
    """Bytes held in memory: the photo before, and the faces with their masks."""


@dataclass(frozen=True)
class MadeWith:
    """What a restoration was made with."""

    networks: tuple[Path, ...]
    """The files of the networks that the faces were given, in the order of their first use."""
    options: Options
    """The options of the run, with the mask that "auto" became."""
    upscaler: Path | None = None
    """The file of the model that made the background; None where none did, or the background was given."""
    versions: Mapping[Path, FileVersion | None] = field(default_factory=dict, compare=False)
    """Of these files, when they were loaded: another one may have taken their place since."""

    @classmethod
    def of(cls, networks: Mapping[Path, FileVersion | None], options: Options, upscaler: Upscaler | None) -> MadeWith:
        """networks: the version of each file. upscaler: None where none made the background."""
        if upscaler is None:
            return cls(tuple(networks), options, versions=dict(networks))
        return cls(tuple(networks), options, upscaler.path, {**networks, upscaler.path: upscaler.version})


@dataclass(frozen=True, eq=False)
class Restoration:
    """The outcome for one photo."""

    photo: FloatImage
    """float32 (H, W, 3), RGB, [0, 1], enlarged if an option or a background asked for it."""
    mask: FloatImage
    """float32 (H, W), [0, 1], the share of restored face in each pixel; where it is 0, the photo is unchanged."""
    faces: list[RestoredFace] = field(default_factory=list)
    """The restored faces, by number."""
    skipped: list[SkippedFace] = field(default_factory=list)
    """The other faces, by number."""
    has_background: bool = False
    """Whether a background was given, in place of the enlarged input."""
    done: str = "restored"
    """What was done to the faces, in one word."""
    note: str = ""
    """One more sentence for the summary, or empty."""
    mask_shape: str = ""
    """Which mask was used, "ellipse", "box" or "parsed"; empty where the task or the photo leaves no choice."""
    layers: CachedLayers | None = None
    """What :meth:`with_strength` needs; None unless kept."""
    made_with: MadeWith | None = None
    """Networks and options of the run; None where it was not made by one."""

    def with_strength(self, strength: float) -> Restoration:
        """The same at another strength, 0 to 1: equals a run with that option, without running the network.

        Raises ValueError unless it was made with ``keep_layers``.
        """
        if self.layers is None:
            raise ValueError("the layers of this restoration were not kept")
        photo, mask = self.layers.blend(strength)
        made_with = self.made_with and replace(
            self.made_with, options=replace(self.made_with.options, strength=strength)
        )
        return replace(self, photo=photo, mask=mask, note=self.layers.note(mask, strength), made_with=made_with)

    def at(self, strength: float) -> Restoration:
        """Deprecated name of :meth:`with_strength`, kept for one release."""
        return self.with_strength(strength)

    @property
    def changed(self) -> bool:
        """Whether faces were pasted, at whatever strength, or there is a background."""
        return bool(self.faces) or self.has_background

    @property
    def has_changed_pixels(self) -> bool:
        """Whether a network made any of its pixels."""
        strength = 1.0 if self.made_with is None else self.made_with.options.strength
        return self.has_background or (bool(self.faces) and strength > 0)

    @property
    def summary(self) -> str:
        """The outcome in one or two sentences, for users."""
        return " ".join(part for part in (self._about_faces, self._about_sizes, self.note) if part)

    @property
    def _about_sizes(self) -> str:
        """Which faces are larger than the largest network makes them."""
        given = ((face.number, face.network) for face in self.faces if face.network is not None)
        larger = {number: network for number, network in given if network.is_too_small}
        if not larger:
            return ""
        network = next(iter(larger.values()))
        faces = ", ".join(f"face {number} ({network.face_size})" for number, network in larger.items())
        return f"Larger in the result than {network.name} makes faces ({network.size} pixels): {faces}."

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

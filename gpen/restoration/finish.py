"""From a restoration to the file that is written: alpha, colour profile, and unchanged photos copied as they are."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..atomic import atomic_path
from ..errors import PhotoError
from ..images import Picture, left_out, write_picture
from ..images.color.wide import in_color, with_wide_colors
from ..images.extras import EXTRA_KINDS
from ..images.metadata.content_credentials import ContentSigner
from ..images.metadata.metadata import C2PA, Metadata, without_notice
from ..images.metadata.provenance import Provenance, with_provenance
from ..images.picture import FloatImage
from ..images.resize import resize
from ..images.write import written_format
from ..tasks import Task
from .provenance import provenance
from .result import Restoration


@dataclass(frozen=True, eq=False)
class FinishedPhoto:
    """A result, ready to be written. Made by :func:`finish`."""

    opaque: Picture
    """The result without its alpha."""
    alpha: FloatImage | None
    """The photo's alpha (H, W) at its original size; it is enlarged only when needed, to save memory."""
    is_unchanged: bool
    """Whether the result equals the photo as it was read."""
    provenance: Provenance | None = None
    """What was done to it; None if no network changed anything, or it is not to be said."""

    @property
    def picture(self) -> Picture:
        """The result, with its alpha."""
        if self.alpha is None:
            return self.opaque
        return dataclasses.replace(self.opaque, alpha=resize(self.alpha, (self.opaque.width, self.opaque.height)))

    def left_out(self, target: Path, source: Path) -> tuple[str, ...]:
        """In sentences, what the result written to ``target`` will not hold of the photo's file, ``source``."""
        return () if self._is_copy(target, source) else left_out(self.opaque, target)

    def _is_copy(self, target: Path, source: Path) -> bool:
        same = source.suffix.lower() == target.suffix.lower() or written_format(target) == self.opaque.format
        return self.is_unchanged and same

    def write(
        self, target: Path, source: Path, quality: int | None = None, signer: ContentSigner | None = None
    ) -> None:
        """Write the result to ``target``; raises PhotoError if that fails.

        If nothing changed and the format stays the same, the photo's own file, ``source``, is copied: encoding it
        again could only lose quality. Nothing is logged: :meth:`left_out` says what is lost.
        quality: of JPEG and WebP files, 1 to 100; None for the default. signer: signs what has a provenance.
        """
        if not self._is_copy(target, source):
            note, sign = self.provenance, None
            if signer is not None and note is not None:
                sign = functools.partial(signer.sign, note=note, source=source)
            write_picture(target, self.picture, quality=quality, warn=False, sign=sign)
            return
        try:
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise PhotoError(f"{target} cannot be written: {error.strerror or error}.") from error


def finish(
    task: Task, picture: Picture, restoration: Restoration, *, note: bool = False, signed: bool = False
) -> FinishedPhoto:
    """Turn the outcome of a task on ``picture`` into what is written to a file.

    note: say in its XMP what was done to it, if a network changed anything. signed: whether it is going to be signed,
    which keeps the C2PA manifest of the photo.
    """
    said = provenance(task, picture, restoration) if note else None
    if not task.keeps_photo:
        # The input's profile, metadata and alpha do not apply to a new picture.
        notices = (picture.salvaged,) if picture.salvaged else ()
        new = _noted(Picture(restoration.photo, metadata=Metadata(notices=notices)), said)
        return FinishedPhoto(new, None, is_unchanged=False, provenance=said)
    same_size = restoration.photo.shape == picture.photo.shape
    new_background = restoration.has_background
    photo = with_wide_colors(picture, restoration.photo, restoration.mask, new_background=new_background)
    result = _noted(dataclasses.replace(picture, photo=photo, alpha=None), said)
    if signed and said is not None:
        result = dataclasses.replace(result, metadata=without_notice(result.metadata, C2PA))
    if task.adds_color and picture.grey and restoration.faces:
        result = in_color(result)
    # A damaged file is not copied, nor one of a kind that is not written, whatever its name.
    is_whole = not picture.salvaged and picture.format not in EXTRA_KINDS
    unchanged = same_size and not restoration.changed and is_whole
    return FinishedPhoto(result, picture.alpha, is_unchanged=unchanged, provenance=said)


def _noted(picture: Picture, note: Provenance | None) -> Picture:
    if note is None:
        return picture
    return dataclasses.replace(picture, metadata=with_provenance(picture.metadata, note))

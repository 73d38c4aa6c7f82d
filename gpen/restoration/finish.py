"""From a restoration to the picture that is written to a file: alpha, profile, size, and what is copied unchanged."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..atomic import atomic_path
from ..errors import PhotoError
from ..images import Picture, write_picture
from ..images.picture import FloatImage
from ..images.resize import resize
from ..tasks import Task
from .result import Restoration


@dataclass(frozen=True, eq=False)
class FinishedPhoto:
    """What is to be written of a photo. Made by :func:`finish`."""

    opaque: Picture
    """The result without its alpha."""
    alpha: FloatImage | None
    """The photo's alpha, as it was read; enlarged only when it is needed, since it takes memory."""
    is_unchanged: bool
    """Whether the result is the photo as it was read."""

    @property
    def picture(self) -> Picture:
        """The result, with its alpha."""
        if self.alpha is None:
            return self.opaque
        return dataclasses.replace(self.opaque, alpha=resize(self.alpha, (self.opaque.width, self.opaque.height)))

    def write(self, target: Path, source: Path, quality: int | None = None) -> None:
        """Write it to ``target``; PhotoError when that fails.

        The file ``source`` that the photo came from is copied where nothing was changed and the format stays: encoding
        it again could only lose something.
        """
        if not self.is_unchanged or source.suffix.lower() != target.suffix.lower():
            write_picture(target, self.picture, quality=quality)
            return
        try:
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise PhotoError(f"{target} cannot be written: {error.strerror or error}.") from error


def finish(task: Task, picture: Picture, restoration: Restoration) -> FinishedPhoto:
    """What is to be written of a photo to which a task was done."""
    if not task.keeps_photo:
        # The profile, metadata and alpha of the input say nothing about the result.
        return FinishedPhoto(Picture(restoration.photo), None, is_unchanged=False)
    same_size = restoration.photo.shape == picture.photo.shape
    result = dataclasses.replace(picture, photo=restoration.photo, alpha=None)
    if task.adds_color and picture.grey and restoration.faces:
        result = dataclasses.replace(result, grey=False, icc=None)  # the profile is one of greys
    return FinishedPhoto(result, picture.alpha, is_unchanged=same_size and not restoration.changed)

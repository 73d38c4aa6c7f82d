"""Mask files: the region whose faces are restored, and the damage to inpaint."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np

from ..errors import PhotoError
from .picture import FloatImage
from .read import READABLE_SUFFIXES, read_picture


def read_region_mask(path: Path, max_megapixels: float) -> FloatImage:
    """A region mask, float32 (H, W), [0, 1]: the brightness of a picture. Raises PhotoError if it cannot be read."""
    return np.asarray(read_picture(path, max_megapixels).photo.mean(axis=2))


class DamageMasks:
    """Damage masks: pictures of the photos' size, white where a photo is damaged.

    path: one mask for all photos, or a folder that holds a mask for each photo, of the same name with any picture
    suffix. Raises PhotoError if it does not exist.
    """

    def __init__(self, path: Path, max_megapixels: float) -> None:
        if not path.exists():
            raise PhotoError(f"The damage mask {path} does not exist. Give a picture, or a folder of pictures.")
        self._path = path
        self._max_megapixels = max_megapixels

    def of(self, name: str) -> FloatImage:
        """The mask of a photo, float32 (H, W), [0, 1].

        name: the photo's path in the folder of photos, with / between folders. Raises PhotoError if the mask is missing
        or cannot be read.
        """
        path = self._in_folder(name) if self._path.is_dir() else self._path
        picture = read_picture(path, self._max_megapixels)
        mask = picture.photo.mean(axis=2)
        if picture.alpha is not None:
            # White on a transparent background: only opaque pixels are damage.
            mask *= picture.alpha
        return np.asarray(mask, dtype=np.float32)

    def _in_folder(self, name: str) -> Path:
        stem = self._path / PurePath(name).with_suffix("")
        same = [stem.with_name(stem.name + suffix) for suffix in sorted(READABLE_SUFFIXES)]
        found = [path for path in (self._path / name, *same) if path.is_file()]
        if not found:
            expected = PurePath(name).with_suffix(".png")
            raise PhotoError(
                f"There is no mask for this photo in {self._path}; it would be called {expected}. Add it to the folder."
            )
        return found[0]

"""Masks in picture files: the region of faces to work on, and the damage to fill in."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np

from ..errors import PhotoError
from .picture import FloatImage
from .read import READABLE_SUFFIXES, read_picture


def read_region_mask(path: Path, max_megapixels: float) -> FloatImage:
    """The brightness of a picture, float32 (H, W), 0 to 1; PhotoError where it cannot be read."""
    return np.asarray(read_picture(path, max_megapixels).photo.mean(axis=2))


class DamageMasks:
    """Pictures of the photos' size that are white where the photos are damaged.

    path: such a picture, or a folder of them; there a photo's mask has its name, with the suffix of any picture.
    PhotoError where there is neither.
    """

    def __init__(self, path: Path, max_megapixels: float) -> None:
        if not path.exists():
            raise PhotoError(f"The damage mask {path} does not exist. Give a picture, or a folder of pictures.")
        self._path = path
        self._max_megapixels = max_megapixels

    def of(self, name: str) -> FloatImage:
        """The mask of the photo of that name, float32 (H, W), 0 to 1; PhotoError where it is missing or unreadable.

        name: relative to the folder of the photos, with / between folders.
        """
        path = self._in_folder(name) if self._path.is_dir() else self._path
        picture = read_picture(path, self._max_megapixels)
        mask = picture.photo.mean(axis=2)
        if picture.alpha is not None:
            # What is drawn on a transparent ground counts as far as it covers the ground.
            mask *= picture.alpha
        return np.asarray(mask, dtype=np.float32)

    def _in_folder(self, name: str) -> Path:
        stem = self._path / PurePath(name).with_suffix("")
        same = [stem.with_name(stem.name + suffix) for suffix in sorted(READABLE_SUFFIXES)]
        found = [path for path in (self._path / name, *same) if path.is_file()]
        if not found:
            expected = PurePath(name).with_suffix(".png")
            raise PhotoError(f"There is no mask for this photo in {self._path}; it would be called {expected}.")
        return found[0]

"""Mask files: the region whose faces are restored, the damage to inpaint, and what is protected."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePath

import numpy as np

from ..errors import PhotoError
from ..filenames import folded
from .picture import FloatImage
from .read import read_picture
from .suffixes import KNOWN_SUFFIXES


def read_mask(path: Path, max_megapixels: float) -> FloatImage:
    """A mask, float32 (H, W), [0, 1]: the brightness of a picture, 0 where it is transparent.

    Raises PhotoError if it cannot be read.
    """
    picture = read_picture(path, max_megapixels)
    mask = picture.photo.mean(axis=2)
    if picture.alpha is not None:
        # White on a transparent background: only opaque pixels count.
        mask *= picture.alpha
    return np.asarray(mask, dtype=np.float32)


class PhotoMasks:
    """Masks of one kind: pictures of the photos' size, white where a photo is damaged, for example.

    path: one mask for all photos, or a folder that holds a mask for each photo, of the same name with any picture
    suffix; if there is none, a name in other case or other Unicode composition counts as the same. what: such as
    "damage mask". Raises PhotoError if it does not exist.
    """

    def __init__(self, path: Path, what: str, max_megapixels: float) -> None:
        if not path.exists():
            raise PhotoError(f"The {what} {path} does not exist. Give a picture, or a folder of pictures.")
        self._path = path
        self._what = what
        self._max_megapixels = max_megapixels
        self._shared: FloatImage | None = None

    @classmethod
    def at(cls, path: Path | None, what: str, max_megapixels: float) -> PhotoMasks | None:
        """The masks at a path, or None."""
        return None if path is None else cls(path, what, max_megapixels)

    def of(self, name: str) -> FloatImage:
        """The mask of a photo, float32 (H, W), [0, 1]; not to be changed.

        name: the photo's path in the folder of photos, with / between folders. Raises PhotoError if the mask is missing
        or cannot be read.
        """
        if self._path.is_dir():
            return read_mask(self._in_folder(name), self._max_megapixels)
        if self._shared is None:
            self._shared = read_mask(self._path, self._max_megapixels)
        return self._shared

    def _in_folder(self, name: str) -> Path:
        stem = self._path / PurePath(name).with_suffix("")
        same = [stem.with_name(stem.name + suffix) for suffix in sorted(KNOWN_SUFFIXES)]
        found = next((path for path in (self._path / name, *same) if path.is_file()), None)
        found = found or self._by_folded_stem.get(_folded_stem(name))
        if found is None:
            expected = PurePath(name).with_suffix(".png")
            raise PhotoError(
                f"There is no {self._what} for this photo in {self._path}; it would be called {expected}. Add it to "
                "the folder: a black picture marks nothing."
            )
        return found

    @cached_property
    def _by_folded_stem(self) -> dict[str, Path]:
        paths = sorted(self._path.rglob("*"), reverse=True)  # the first of several wins
        return {
            _folded_stem(path.relative_to(self._path).as_posix()): path
            for path in paths
            if path.suffix.lower() in KNOWN_SUFFIXES and path.is_file()
        }


def _folded_stem(name: str) -> str:
    return folded(PurePath(name).with_suffix("").as_posix())

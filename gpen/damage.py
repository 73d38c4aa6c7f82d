"""Masks of damage in files: one for one photograph, or a folder with one for each."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np

from .errors import PhotoError
from .faces.resample import Image
from .images import READABLE_SUFFIXES, read_picture
from .jobs import Photograph


class DamageMasks:
    """Pictures that are white where photographs are damaged, and of their size.

    path: such a picture, or a folder of them; there a photograph's mask has its name, with any picture's suffix.
    PhotoError where there is neither.
    """

    def __init__(self, path: Path, max_megapixels: float) -> None:
        if not path.exists():
            raise PhotoError(f"There is no mask of the damage {path}. Give a picture, or a folder of pictures.")
        self._path = path
        self._max_megapixels = max_megapixels

    def of(self, photograph: Photograph) -> Image:
        """The mask of a photograph, float32 (H, W), 0 to 1; PhotoError where it is missing or cannot be read."""
        path = self._in_folder(photograph) if self._path.is_dir() else self._path
        picture = read_picture(path, self._max_megapixels)
        mask = picture.photo.mean(axis=2)
        if picture.alpha is not None:
            # What is drawn on a transparent ground counts as far as it covers the ground.
            mask *= picture.alpha
        return np.asarray(mask, dtype=np.float32)

    def _in_folder(self, photograph: Photograph) -> Path:
        stem = self._path / PurePath(photograph.name).with_suffix("")
        same = [stem.with_name(stem.name + suffix) for suffix in sorted(READABLE_SUFFIXES)]
        found = [path for path in (self._path / photograph.name, *same) if path.is_file()]
        if not found:
            name = PurePath(photograph.name).with_suffix(".png")
            raise PhotoError(f"There is no mask for this photograph in {self._path}; it would be called {name}.")
        return found[0]

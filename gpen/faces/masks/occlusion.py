"""Occlusion: which pixels of a crop show the face itself, and not a hand, a microphone or a frame in front of it.

By networks of the form of DeepFaceLab's XSeg: a picture of 256 x 256 pixels in, channels last, and one mask out, 1
where the face is seen. Everything else is 0 there, hair included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from torch import Tensor

from ...errors import FaceError, FilesError
from ...images.picture import FloatImage
from ...images.resize import resized_square
from ...images.tensors import as_array, as_tensor
from ...weights.catalog import OCCLUDERS, find_published
from ...weights.onnx.foreign import not_this, open_network
from ...weights.search import find_files, require_file, search_folders
from .mask import SIZE as MASK_SIZE

SIZE = 256
"""Height and width of the networks' input, in pixels."""
_LARGEST_FILE = 512 << 20
_WHAT = "an occlusion model (a picture of 256 x 256 x 3 in, one mask out)"
_EDGE = 10.0
"""Width of the soft edge around what covers the face, in pixels of the mask."""
_REACH = 1.5
"""Pixels of the photo, and of the network's mask, around what covers the face that stay as they are, too: interpolation
would else mix its outermost pixels with the face's."""


class Occluder(Protocol):
    """What tells the covered parts of a face, as :class:`OcclusionModel` does."""

    def visible(self, crop: Tensor, pixel: float = 1.0) -> Tensor:
        """Crop (S, S, 3), RGB, [0, 1], to a mask (512, 512), [0, 1]: 1 where the face is seen, 0 where it is covered.

        pixel: the width of one of the photo's pixels in the crop. The mask is on the crop's device.
        """
        ...


class OcclusionModel:
    """A network of XSeg's form, on the CPU.

    weights: its ONNX file. Raises FilesError if it cannot be read, FaceError if it is another network.
    """

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        grey = np.full((SIZE, SIZE, 3), 0.5, np.float32)
        self._run = open_network(weights, _WHAT, _LARGEST_FILE, grey[None])
        self._mask(grey)

    def visible(self, crop: Tensor, pixel: float = 1.0) -> Tensor:
        """See :class:`Occluder`. FaceError where the network returns NaN or Inf."""
        mask = self._mask(as_array(resized_square(crop, SIZE).clamp(0, 1)))
        larger = cv2.resize(mask, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_LINEAR)
        reach = _REACH * max(pixel * MASK_SIZE / len(crop), MASK_SIZE / SIZE)
        distance = cv2.distanceTransform((larger > 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        rising = np.clip((distance - np.float32(reach)) / np.float32(_EDGE), 0, 1)
        return as_tensor(rising * rising * (3 - 2 * rising)).to(crop.device)

    def _mask(self, picture: FloatImage) -> FloatImage:
        """(256, 256), [0, 1]."""
        mask = self._run(np.ascontiguousarray(picture[None]))
        if mask.size != SIZE * SIZE:
            raise not_this(self._weights, _WHAT, f"it returns an array of {mask.shape}")
        if not np.isfinite(mask).all():
            raise FaceError(
                f"{self._weights.name} returned NaN or Inf for a face. Get it again, or turn occlusion off."
            )
        return np.asarray(np.clip(mask.reshape(SIZE, SIZE), 0, 1), dtype=np.float32)


def make_occluder(name: str = "auto", folders: Sequence[Path] = ()) -> OcclusionModel:
    """Load an occlusion model. Arguments and errors as for :func:`find_occluder`."""
    return OcclusionModel(find_occluder(name, folders))


def find_occluder(name: str, folders: Sequence[Path] = ()) -> Path:
    """The file of an occlusion model, which is not read.

    name: as in the catalogue, or "auto" for the newest that is there. folders: the host's, searched before those of the
    environment and the user's cache. Raises FilesError, which says what to get, if it is not found.
    """
    searched = search_folders(folders, kind="occluder")
    if name != "auto":
        return require_file(find_published(name), searched)
    found = find_files(OCCLUDERS, searched)
    for occluder in OCCLUDERS:
        if occluder.name in found:
            return found[occluder.name]
    try:
        return require_file(OCCLUDERS[0], searched)
    except FilesError as error:
        raise FilesError(
            f"Occlusion needs a model that tells what covers a face, and none was found. {error}"
        ) from error

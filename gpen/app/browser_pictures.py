"""Pictures for the browser: photos, results and masks, no larger than it needs them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..faces.drawing import Drawing
from ..images import Picture, write_picture
from ..images.picture import FloatImage, from_samples
from ..images.resize import resize

LONGEST_SIDE = 6144
"""Pixels of the longer side of the pictures in the viewer; downloads keep every pixel."""

LONGEST_OF_MASKS = 2048
"""Likewise of the masks over them."""

_MOST_COLOURS_OF_MAPS = 32
"""Colours, of 64 levels a channel, that nine tenths of a picture have: about 20 in maps, 40 and more in photos."""


def write_shown(file: Path, photo: FloatImage, alpha: FloatImage | None = None, longest: int = LONGEST_SIDE) -> Path:
    """Write a photo (H, W, 3), over white where its alpha (H, W) is below 1, and return the file.

    longest: the most pixels of its longer side.
    """
    write_picture(file, from_samples(_shown(photo, alpha, _smaller(photo, longest))))
    return file


def write_mask(file: Path, mask: FloatImage, photo: FloatImage) -> Path:
    """Write a mask (H, W) that lies over a photo as a PNG: white, opaque where it marks. Returns the file."""
    small = resize(mask, _smaller(photo, LONGEST_OF_MASKS))
    write_picture(file, Picture(np.ones((*small.shape, 3), np.float32), alpha=small))
    return file


def address(file: Path) -> str:
    """Where the browser finds a file of the page's."""
    # The time distinguishes a result from the one before it, which the browser would show again.
    return f"gradio_api/file={quote(file.as_posix())}?{file.stat().st_mtime_ns}"


def looks_like_photo(picture: FloatImage) -> bool:
    """Whether a picture (H, W, 3) is more likely a photo than a segmentation map, which has few colours."""
    levels = (np.clip(picture, 0, 1) * 255).astype(np.int64) >> 2
    counts = np.sort(np.bincount((levels @ np.array([1 << 12, 1 << 6, 1])).ravel()))[::-1]
    return int(np.searchsorted(np.cumsum(counts), 0.9 * counts.sum())) >= _MOST_COLOURS_OF_MAPS


def _smaller(photo: FloatImage, longest: int) -> tuple[int, int]:
    """Width and height of a photo (H, W, 3), scaled down so that neither exceeds ``longest``."""
    height, width = photo.shape[:2]
    factor = min(1.0, longest / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _shown(photo: FloatImage, alpha: FloatImage | None, size: tuple[int, int]) -> Drawing:
    """A photo (H, W, 3) at a size (width, height), composited over white."""
    small = resize(photo, size)
    if alpha is not None:
        small = 1 - (1 - small) * resize(alpha, size)[..., None]
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)

"""What a picture file holds, apart from how it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PhotoError

FloatImage = npt.NDArray[np.float32]
"""A photo or crop (H, W, 3), RGB, [0, 1], or a mask (H, W), [0, 1]."""
Samples = npt.NDArray[Any]  # uint8 or uint16, (H, W, channels): grey, grey + alpha, RGB or RGBA

# Rows are converted in blocks of about this many samples, so that temporaries stay small.
_BLOCK = 1 << 22
BT601_LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the luma of ITU-R BT.601; their sum is 1, so that greys stay as they are."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A photograph as it came from a file, or is to go into one; upright.

    photo: float32 (H, W, 3), RGB, 0 to 1. alpha: float32 (H, W), 0 to 1, not multiplied into the photo.
    bits: 8 or 16 per channel. grey: the file has one colour channel, and is written back with one.
    icc: the colour profile of the photo. exif: a bare EXIF block (it begins with II or MM) whose
    orientation is 1. format: PNG, JPEG, WEBP, TIFF, BMP or GIF, where it came from a file.
    dpi: pixels per inch, horizontally and vertically.
    """

    photo: FloatImage
    alpha: FloatImage | None = None
    bits: int = 8
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    format: str = ""
    dpi: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.photo.ndim != 3 or self.photo.shape[2] != 3 or 0 in self.photo.shape:
            raise ValueError(f"photo has the shape {self.photo.shape}, which is not (height, width, 3)")
        if self.alpha is not None and self.alpha.shape != self.photo.shape[:2]:
            raise ValueError(f"alpha has the shape {self.alpha.shape}, the photo {self.photo.shape}")
        if self.bits not in (8, 16):
            raise ValueError(f"bits is {self.bits}, which is neither 8 nor 16")

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.photo.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.photo.shape[0])


def from_samples(samples: Samples, **more: Any) -> Picture:
    """Make a Picture from uint8 or uint16 samples (H, W, 1 to 4 channels); ``more`` are its other fields."""
    bits = samples.dtype.itemsize * 8
    scale = np.float32(2**bits - 1)
    channels = samples.shape[2]
    grey = channels < 3
    colour = samples[..., :1] if grey else samples[..., :3]
    photo = np.empty((*samples.shape[:2], 3), np.float32)
    np.divide(colour, scale, out=photo, dtype=np.float32)
    alpha = np.divide(samples[..., -1], scale, dtype=np.float32) if channels in (2, 4) else None
    return Picture(photo, alpha, bits, grey, **more)


def to_samples(picture: Picture, *, bits: int, grey: bool, alpha: bool) -> Samples:
    """Give uint8 or uint16 samples (H, W, channels), rounded and clipped; ValueError for NaN and infinity."""
    top = 2**bits - 1
    height, width = picture.photo.shape[:2]
    colours = 1 if grey else 3
    samples = np.empty((height, width, colours + alpha), np.uint16 if bits == 16 else np.uint8)
    rows = max(1, _BLOCK // (3 * width))
    for start in range(0, height, rows):
        block = slice(start, start + rows)
        colour: npt.NDArray[Any] = picture.photo[block]
        if grey:
            colour = (colour @ BT601_LUMA)[..., None]
        samples[block, :, :colours] = _rounded(colour, top)
        if alpha:
            assert picture.alpha is not None
            samples[block, :, colours] = _rounded(picture.alpha[block], top)
    return samples


def check_picture(picture: FloatImage, what: str) -> None:
    """PhotoError that names it ``what`` unless it is float32 (H, W, 3) with values from about 0 to 1."""
    if picture.dtype != np.float32 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise PhotoError(
            f"The {what} is {picture.dtype} of the shape {picture.shape}; it has to be float32 (H, W, 3), RGB, 0 to 1."
        )
    low, high = float(picture.min()), float(picture.max())
    # A little beyond 0 and 1 is what resizing leaves; 0 to 255, or NaN, is another kind of picture.
    if not (low >= -1 and high <= 2):
        raise PhotoError(f"The {what}'s values go from {low:g} to {high:g}; they have to lie between 0 and 1.")


def _rounded(values: npt.NDArray[Any], top: int) -> npt.NDArray[np.floating[Any]]:
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity")
    # Clipped first: a float beyond the range of the integer type would wrap.
    whole: npt.NDArray[np.floating[Any]] = np.rint(np.clip(values, 0, 1) * top)
    return whole

"""The contents of a picture file, independent of its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PhotoError
from .color.icc import ColorConversion, color_conversion
from .metadata.metadata import Metadata

FloatImage = npt.NDArray[np.float32]
"""A photo or crop (H, W, 3), RGB, [0, 1], or a mask (H, W), [0, 1]."""
Samples = npt.NDArray[Any]
"""uint8 or uint16 (H, W, channels): grey, grey + alpha, RGB or RGBA."""

_BLOCK = 1 << 18  # samples converted at a time: few enough for the temporaries to stay in the cache of a core
_NOT_FINITE = "it holds NaN or Inf"
BT601_LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the luma of ITU-R BT.601; their sum is 1, so greys are unchanged."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A photo from a file, or for a file; upright."""

    photo: FloatImage
    """float32 (H, W, 3), sRGB, [0, 1], whatever the profile."""
    alpha: FloatImage | None = None
    """float32 (H, W), [0, 1], not premultiplied."""
    bits: int = 8
    """Per channel: 8 or 16."""
    grey: bool = False
    """Whether the file has one colour channel, and is written back with one."""
    icc: bytes | None = None
    """The ICC colour profile of the file. One that cannot be used counts as sRGB's."""
    exif: bytes | None = None
    """A bare EXIF block, which starts with II or MM; its orientation is 1."""
    format: str = ""
    """PNG, JPEG, WEBP, TIFF, BMP, GIF or a name in :mod:`~gpen.images.extras`; empty unless it came from a file."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontally and vertically."""
    stored: Samples | None = None
    """The samples (H, W, 1 or 3) of the file, if its profile is not sRGB's: pixels of ``photo`` that stay as they were
    read are written with these."""
    metadata: Metadata = field(default_factory=Metadata)
    """XMP, IPTC, comments and texts."""
    lossless_webp: bool = False
    """Whether it came from a WebP file without loss; written as WebP, it is one again."""
    salvaged: str = ""
    """What of it is missing in the file that it came from, in a sentence; else empty. Its metadata say it, too."""

    def __post_init__(self) -> None:
        for name, array in (("photo", self.photo), ("alpha", self.alpha)):
            if array is not None and array.dtype != np.float32:
                raise ValueError(f"{name} is {array.dtype}, which is not float32; its values go from 0 to 1")
        if self.photo.ndim != 3 or self.photo.shape[2] != 3 or 0 in self.photo.shape:
            raise ValueError(f"photo has the shape {self.photo.shape}, which is not (height, width, 3)")
        if self.alpha is not None and self.alpha.shape != self.photo.shape[:2]:
            raise ValueError(f"alpha has the shape {self.alpha.shape}, the photo {self.photo.shape}")
        if self.bits not in (8, 16):
            raise ValueError(f"bits is {self.bits}, which is neither 8 nor 16")

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.photo.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.photo.shape[0])


def from_samples(samples: Samples) -> Picture:
    """Make a Picture from uint8 or uint16 samples (H, W, 1 to 4 channels)."""
    bits = samples.dtype.itemsize * 8
    scale = np.float32(2**bits - 1)
    channels = samples.shape[2]
    grey = channels < 3
    colour = samples[..., :1] if grey else samples[..., :3]
    photo = np.empty((*samples.shape[:2], 3), np.float32)
    np.divide(colour, scale, out=photo, dtype=np.float32)
    alpha = np.divide(samples[..., -1], scale, dtype=np.float32) if channels in (2, 4) else None
    return Picture(photo, alpha, bits, grey)


def to_samples(picture: Picture, *, bits: int, grey: bool, alpha: bool) -> Samples:
    """The picture's uint8 or uint16 samples (H, W, channels) in the space of its profile, rounded and clipped.

    Raises ValueError if it holds NaN or Inf.
    """
    top = 2**bits - 1
    height, width = picture.photo.shape[:2]
    colours = 1 if grey else 3
    samples = np.empty((height, width, colours + alpha), np.uint16 if bits == 16 else np.uint8)
    conversion = color_conversion(picture.icc)
    rows = max(1, _BLOCK // (3 * width))
    for start in range(0, height, rows):
        block = slice(start, start + rows)
        colour: npt.NDArray[Any] = picture.photo[block]
        if conversion is not None:
            colour = _in_space(picture, conversion, block)
        if grey and colour.shape[2] == 3:
            colour = _luma(colour)
        samples[block, :, :colours] = _rounded(colour, top)
        if alpha:
            assert picture.alpha is not None
            samples[block, :, colours] = _rounded(picture.alpha[block], top)
    return samples


def _in_space(picture: Picture, conversion: ColorConversion, block: slice) -> FloatImage:
    """Some rows in the space of the picture's profile, (h, W, 1 or 3), [0, 1]."""
    photo, stored = picture.photo[block], picture.stored
    if not np.isfinite(photo).all():
        raise ValueError(_NOT_FINITE)
    colors = np.asarray(_luma(photo), np.float32) if conversion.is_grey else photo
    if stored is None or stored.shape[:2] != picture.photo.shape[:2]:
        return conversion.from_srgb(colors)
    was = conversion.to_srgb(stored[block])
    changed = (photo != np.clip(was, 0, 1, out=was)).any(axis=2)
    own = stored[block] / np.float32(np.iinfo(stored.dtype).max)
    result = np.broadcast_to(own, colors.shape).astype(np.float32)
    result[changed] = conversion.from_srgb(colors[changed])
    return result


def _luma(colour: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W, 3) to (H, W, 1)."""
    # Not as a matrix product: NumPy's BLAS would wake threads of its own, beside PyTorch's.
    red, green, blue = (colour[..., channel] * weight for channel, weight in enumerate(BT601_LUMA))
    return np.asarray((red + green + blue)[..., None])


def _rounded(values: npt.NDArray[Any], top: int) -> npt.NDArray[np.floating[Any]]:
    if not np.isfinite(values).all():
        raise ValueError(_NOT_FINITE)
    # Clipped first: a float beyond the range of the integer type would wrap.
    whole: npt.NDArray[np.floating[Any]] = np.clip(values, 0, 1)
    whole *= top
    np.rint(whole, out=whole)
    return whole


def check_megapixels(megapixels: float, limit: float, what: str, advice: str) -> None:
    """PhotoError where there are more megapixels than the limit.

    what: the beginning of its sentence, such as "The frames have". advice: a sentence.
    """
    if megapixels > limit:
        raise PhotoError(f"{what} {megapixels:.6g} megapixels, more than the {limit:g} allowed. {advice}")

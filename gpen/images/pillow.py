"""Decoding with Pillow, without its global settings, which hosts change, deciding what is read."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .picture import Samples
from .sniff import unsupported

if TYPE_CHECKING:
    from PIL.Image import Image

# Black-point compensation: without it shadows of a print profile come out as flat grey.
_BLACK_POINT = 0x2000
# No precalculated table: for grey it is coarse, and off by ten levels where the profile's curve is steep.
_EXACT = 0x0100
_RELATIVE = 1
_NOT_PIXELS = {
    "I": "32-bit whole numbers",
    "F": "32-bit floating-point numbers",
    "LAB": "Lab colours",
    "HSV": "HSV colours",
}

_lock = threading.Lock()
_users = 0
_saved: tuple[int | None, bool] = (None, False)


@contextmanager
def own_settings() -> Iterator[None]:
    """Within the block, Pillow's limit of pixels is off (ours is checked) and truncated files are errors.

    Both are restored when the last thread leaves.
    """
    global _users, _saved
    from PIL import Image, ImageFile

    with _lock:
        if not _users:
            _saved = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
            Image.MAX_IMAGE_PIXELS = None
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = _saved


def open_image(data: bytes, kind: str) -> Image:
    """Open the header; ``kind`` is the one format that is accepted."""
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=(kind,))


def decode(image: Image, path: Path) -> tuple[Samples, bool]:
    """Decode to uint8 (H, W, 1 to 4 channels), and say whether the colours were converted to sRGB.

    PhotoError for pixels that are not understood; whatever Pillow raises for those that cannot be decoded.
    """
    frames = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
    if frames > 1:
        what = f"is animated ({frames} frames)"
        raise unsupported(path, what, "Save its frames as single files and use those.")
    image.load()
    if image.mode == "CMYK":
        return np.asarray(_from_cmyk(image)), True
    mode = image.mode
    if mode in _NOT_PIXELS or mode.startswith(("I;", "F;", "BGR;")):
        advice = "Save it with 8 or 16 bits per channel, as grey or RGB, with an image editor and use that file."
        raise unsupported(path, f"holds {_NOT_PIXELS.get(mode, mode)}", advice)
    if "transparency" in image.info:
        target = "LA" if mode in ("1", "L", "LA") else "RGBA"
        if mode in ("1", "L"):
            image = image.convert("RGBA")  # Pillow makes a key colour alpha only on this way
    elif mode in ("1", "L", "LA", "La"):
        target = {"1": "L", "La": "LA"}.get(mode, mode)
    else:
        target = "RGBA" if mode in ("RGBA", "RGBa", "PA") else "RGB"
    if target == "LA" and image.mode == "RGBA":
        return np.asarray(image)[..., [0, 3]], False
    samples: Any = np.asarray(image if image.mode == target else image.convert(target))
    return samples.reshape(*samples.shape[:2], -1), False


def _from_cmyk(image: Image) -> Image:
    icc = image.info.get("icc_profile")
    if icc is not None and profile_space(icc) == b"CMYK":
        try:
            return to_srgb(image, icc)
        except Exception:  # littleCMS knows best what is wrong with a profile; without it there is a picture
            pass
    return image.convert("RGB")


def to_srgb(image: Image, icc: bytes) -> Image:
    """Convert the image from the colours of its profile to 8-bit sRGB; PyCMSError when that fails."""
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=_RELATIVE,  # type: ignore[arg-type]
        outputMode="RGB",
        flags=_BLACK_POINT | (_EXACT if image.mode == "L" else 0),  # type: ignore[arg-type]
    )
    assert converted is not None
    return converted


def profile_space(icc: bytes | None) -> bytes:
    """Return RGB, GRAY, CMYK or whatever a colour profile is for; nothing where it is no profile."""
    if not isinstance(icc, bytes) or len(icc) < 128 or icc[36:40] != b"acsp":
        return b""
    return icc[16:20].rstrip()

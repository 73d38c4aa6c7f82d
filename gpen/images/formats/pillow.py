"""Decoding with Pillow: its settings, its modes, and CMYK."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metadata.metadata import LARGEST
from ..picture import Samples
from ..sniff import unsupported
from .png import decode_16

if TYPE_CHECKING:
    from PIL.Image import Image

# Black-point compensation: without it, the shadows of a print profile become flat grey.
_BLACK_POINT = 0x2000
_RELATIVE = 1
_RESOLUTION, _RESOLUTION_UNIT = 282, 296  # tags of EXIF
_NOT_PIXELS = {
    "I": "32-bit integers",
    "F": "32-bit floating-point numbers",
    "LAB": "Lab colours",
    "HSV": "HSV colours",
}

_lock = threading.Lock()
_users = 0
_saved: list[Any] = []


@contextmanager
def own_settings() -> Iterator[None]:
    """Use our own settings of Pillow inside the block, whatever the host has set, and silence tifffile's log.

    Pillow's pixel limit is off, because ours applies; truncated files are errors; profiles in PNG files may exceed a
    megabyte. The settings are restored when the last thread leaves.
    """
    global _users, _saved
    from PIL import Image, ImageFile, PngImagePlugin

    settings: list[tuple[Any, str, Any]] = [
        (Image, "MAX_IMAGE_PIXELS", None),
        (ImageFile, "LOAD_TRUNCATED_IMAGES", False),
        (PngImagePlugin, "MAX_TEXT_CHUNK", LARGEST),
        (logging.getLogger("tifffile"), "disabled", True),
    ]
    with _lock:
        if not _users:
            _saved = [getattr(owner, name) for owner, name, _ in settings]
            for owner, name, value in settings:
                setattr(owner, name, value)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                for (owner, name, _), value in zip(settings, _saved, strict=True):
                    setattr(owner, name, value)


def open_image(data: bytes, kind: str) -> Image:
    """Read the header. kind: the only format accepted. Raises ValueError if it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=(kind,))
    except UnidentifiedImageError:
        raise ValueError("its header cannot be read") from None


def states_dpi(image: Image) -> bool:
    """Whether a JPEG file states a resolution; Pillow makes one up for files with EXIF."""
    if image.info.get("jfif_unit") in (1, 2):
        return True
    exif = image.getexif()
    return _RESOLUTION in exif and _RESOLUTION_UNIT in exif


def decode(image: Image, data: bytes, path: Path) -> tuple[Samples, bool]:
    """Decode to uint8 or, from PNG, uint16 (H, W, 1 to 4 channels); and say whether colours were converted to sRGB.

    Raises PhotoError for unsupported pixels, and whatever Pillow raises for damaged ones.
    """
    frames = 1 if image.format in ("JPEG", "MPO", "TIFF") else getattr(image, "n_frames", 1)
    if frames > 1:
        what = f"is animated ({frames} frames)"
        raise unsupported(path, what, "Save its frames as single files and use those.")
    image.load()
    mode, depth = image.mode, data[24] if image.format == "PNG" else 8
    if mode == "CMYK":
        return from_cmyk(image, image.info.get("icc_profile")), True
    if depth == 16:
        samples = decode_16(data)
    elif mode in _NOT_PIXELS or mode.startswith(("I;", "F;", "BGR;")):
        advice = "Save it with 8 or 16 bits per channel, as grey or RGB, with an image editor and use that file."
        raise unsupported(path, f"holds {_NOT_PIXELS.get(mode, mode)}", advice)
    else:
        see_through = mode in ("RGBA", "RGBa", "PA") or (mode == "P" and "transparency" in image.info)
        target = {"1": "L", "L": "L", "LA": "LA", "La": "LA"}.get(mode, "RGBA" if see_through else "RGB")
        samples = np.asarray(image if mode == target else image.convert(target))
        samples = samples.reshape(*samples.shape[:2], -1)
    key = image.info.get("transparency")
    if key is not None and samples.shape[2] in (1, 3):
        # Pillow turns a transparent colour into alpha, but not with 16, 4 or 2 bits.
        scale = 1 if depth >= 8 else 255 // (2**depth - 1)
        colour = np.minimum(np.array(key, np.uint32) * scale, np.iinfo(samples.dtype).max)
        seen = (samples != colour).any(axis=2, keepdims=True)
        samples = np.concatenate([samples, seen.astype(samples.dtype) * np.iinfo(samples.dtype).max], axis=2)
    return samples, False


def from_cmyk(image: Image, icc: bytes | None) -> Samples:
    """The sRGB samples, uint8 (H, W, 3), of a picture in CMYK; icc: its profile, if it is one."""
    if icc is not None and profile_space(icc) == b"CMYK":
        try:
            return np.asarray(_to_srgb(image, icc))
        except Exception:  # a broken profile; the picture can be read without it
            pass
    return np.asarray(image.convert("RGB"))


def cmyk_image(samples: Samples) -> Image:
    """Pillow's picture of uint8 samples (H, W, 4)."""
    from PIL import Image

    return Image.frombytes("CMYK", (samples.shape[1], samples.shape[0]), np.ascontiguousarray(samples).tobytes())


def _to_srgb(image: Image, icc: bytes) -> Image:
    """Convert from the image's colour profile to 8-bit sRGB. Raises PyCMSError if that fails."""
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=_RELATIVE,  # type: ignore[arg-type]
        outputMode="RGB",
        flags=_BLACK_POINT,  # type: ignore[arg-type]
    )
    assert converted is not None
    return converted


def profile_space(icc: bytes | None) -> bytes:
    """The colour space of a profile, such as RGB, GRAY or CMYK; empty if it is not a profile."""
    if not isinstance(icc, bytes) or len(icc) < 128 or icc[36:40] != b"acsp":
        return b""
    return icc[16:20].rstrip()

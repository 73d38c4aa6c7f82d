"""Reading picture files."""

from __future__ import annotations

import dataclasses
import errno
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PhotoError
from . import jpeg, pillow
from .exif import clean_exif, upright
from .picture import Picture, Samples, from_samples
from .png import raw_profile, without_damaged_notes
from .png_color import color_profile
from .sniff import HEAD, check_size, damaged, picture_format, unsupported
from .srgb import in_srgb
from .tiff import read_tiff

if TYPE_CHECKING:
    from PIL.Image import Image

READABLE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
)
_RESOLUTION, _RESOLUTION_UNIT = 282, 296  # tags of EXIF
_SPARE = 1 << 28  # bytes that a file may have beyond the most that its pixels could need

_log = logging.getLogger(__name__)

OnSize = Callable[[int, int], None]
"""Called with the width and height that the file states, before its pixels are allocated; maybe twice."""


def read_picture(path: Path, max_megapixels: float, on_size: OnSize | None = None) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP or GIF file, whatever its suffix, and rotate it upright.

    The photo is converted from its profile to sRGB; :func:`~gpen.images.write_picture` converts back. CMYK becomes sRGB
    for good, palettes become RGB, a transparent colour becomes alpha. Raises PhotoError if the file is
    missing, damaged, or of another kind, and, before it is decoded, if it has more than ``max_megapixels``.
    """
    path = Path(path)

    def check(width: int, height: int) -> None:
        check_size(path, width, height, max_megapixels)
        if on_size is not None:
            on_size(width, height)

    try:
        data, kind = _bytes_of(path, max_megapixels)
        with pillow.own_settings():
            return in_srgb(_decoded(data, kind, path, check), path)
    except PhotoError:
        raise
    except MemoryError:
        raise PhotoError(
            f"{path} does not fit into memory. Close other programs, or make the picture smaller."
        ) from None
    except Exception as error:  # decoders raise anything on damaged files
        raise damaged(path, str(error).rstrip(".") or type(error).__name__) from error


def _bytes_of(path: Path, max_megapixels: float) -> tuple[bytes, str]:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            kind = picture_format(head, path)
            most = int(max_megapixels * 1e6 * 8) + _SPARE
            data = head + file.read(most)
    except FileNotFoundError:
        raise PhotoError(f"{path} does not exist. Check the name and the folder.") from None
    except IsADirectoryError:
        raise PhotoError(f"{path} is a folder, not a picture. Name a file in it.") from None
    except PermissionError:
        what = "is a folder, not a picture" if path.is_dir() else "may not be read by this user"
        raise PhotoError(f"{path} {what}. Name a file that can be opened.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PhotoError(
                f"{path} is a link that leads back to itself. Name the picture it should lead to."
            ) from None
        raise PhotoError(f"{path} cannot be read: {error.strerror or error}. Check the disk it is on.") from error
    except ValueError as error:  # a name with a zero byte
        raise PhotoError(f"{str(path)!r} cannot be the name of a file: {error}. Check the name.") from error
    if len(data) > most:
        raise PhotoError(
            f"{path} has more bytes than a picture of {max_megapixels:g} megapixels can have. "
            "Save it again with an image editor."
        )
    return data, kind


def _decoded(data: bytes, kind: str, path: Path, check: OnSize) -> Picture:
    if kind == "TIFF":
        tiff = read_tiff(data, path, check)
        exif, _ = clean_exif(tiff.exif)
        return _picture(tiff.samples, tiff.orientation, kind, tiff.icc, exif, tiff.dpi)
    if kind == "WEBP":  # Pillow allocates the whole picture when it opens it
        check(*_webp_size(data))
    if kind == "PNG":
        data, dropped = without_damaged_notes(data)
        if dropped:
            _log.warning("%s: damaged information in it is left out: %s.", path, ", ".join(dropped))
    if kind == "JPEG" and (what := jpeg.unusual_kind(data)):
        raise unsupported(path, what)
    try:
        return _with_pillow(data, kind, path, check)
    except OSError:
        whole = jpeg.with_end(data) if kind == "JPEG" else None
        if whole is None:
            raise
    _log.warning("%s lacks the mark at its end; all of its pixels are there.", path)
    return _with_pillow(whole, kind, path, check)


def _with_pillow(data: bytes, kind: str, path: Path, check: OnSize) -> Picture:
    with pillow.open_image(data, kind) as image:
        check(image.width, image.height)
        samples, converted = pillow.decode(image, data, path)
        info = image.info
        block = info.get("exif") or raw_profile(info.get("Raw profile type exif", ""))
        exif, orientation = clean_exif(block, info.get("xmp") or info.get("XML:com.adobe.xmp"))
        icc = None if converted else info.get("icc_profile")
        if kind == "PNG":
            icc = color_profile(data, icc, path)
        dpi = info.get("dpi") if kind != "JPEG" or _states_dpi(image) else None
        picture = _picture(samples, orientation, kind, icc, exif, dpi)
        return dataclasses.replace(picture, lossless_webp=kind == "WEBP" and _is_lossless_webp(data))


def _states_dpi(image: Image) -> bool:
    """Whether a JPEG file states a resolution; Pillow makes one up for files with EXIF."""
    if image.info.get("jfif_unit") in (1, 2):
        return True
    exif = image.getexif()
    return _RESOLUTION in exif and _RESOLUTION_UNIT in exif


def _picture(
    samples: Samples,
    orientation: int,
    kind: str,
    icc: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
) -> Picture:
    space = pillow.profile_space(icc)
    # A profile for a different number of channels would garble the colours.
    fits = space == b"RGB" or (space == b"GRAY" and samples.shape[2] < 3)
    if dpi is not None:
        dpi = (float(dpi[0]), float(dpi[1]))
        dpi = dpi if all(1 <= number <= 65535 for number in dpi) else None
    if dpi is not None and orientation >= 5:
        dpi = (dpi[1], dpi[0])
    picture = from_samples(upright(samples, orientation))
    return dataclasses.replace(picture, icc=icc if fits else None, exif=exif, format=kind, dpi=dpi)


def _is_lossless_webp(data: bytes) -> bool:
    position = 12
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, position)
        if kind in (b"VP8L", b"VP8 "):
            return bool(kind == b"VP8L")
        position += 8 + size + size % 2
    return False


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and len(data) >= 25 and data[20] == 0x2F:
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 30 and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("its header is incomplete")

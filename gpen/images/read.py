"""Reading picture files."""

from __future__ import annotations

import dataclasses
import errno
import struct
from collections.abc import Callable
from pathlib import Path

from ..errors import PhotoError
from . import pillow
from .exif import clean_exif, upright
from .picture import Picture, Samples, from_samples
from .sniff import HEAD, check_size, damaged, picture_format
from .tiff import read_tiff

READABLE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
)
_SPARE = 1 << 28  # bytes that a file may have beyond the most that its pixels could need

OnSize = Callable[[int, int], None]
"""Called with the width and height that the file states, before its pixels are allocated; maybe twice."""


def read_picture(path: Path, max_megapixels: float, on_size: OnSize | None = None) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP or GIF file, whatever its suffix, and rotate it upright.

    CMYK becomes sRGB, palettes become RGB, a transparent colour becomes alpha. Raises PhotoError if the file is
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
            return _decoded(data, kind, path, check)
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
    with pillow.open_image(data, kind) as image:
        check(image.width, image.height)
        samples, converted = pillow.decode(image, data, path)
        exif, orientation = clean_exif(image.info.get("exif"))
        icc = None if converted else image.info.get("icc_profile")
        return _picture(samples, orientation, kind, icc, exif, image.info.get("dpi"))


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

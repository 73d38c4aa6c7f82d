"""Reading picture files."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

from ..errors import PhotoError
from .color.exif import exif_profile
from .color.png import color_profile
from .color.srgb import in_srgb
from .decoded import Decoded
from .extras import AVIF, HEIC, JPEG_2000, JPEG_XL, RAW
from .formats import jpeg, pillow
from .formats.heic import read_avif, read_heic
from .formats.jpeg12 import read_jpeg12
from .formats.jpeg2000 import read_jpeg2000
from .formats.jpegxl import jpeg_inside, read_jpegxl
from .formats.png import without_damaged_notes
from .formats.raw import read_raw
from .formats.salvage import repaired
from .formats.tiff import is_raw, read_tiff
from .formats.webp import is_lossless_webp, read_webp_notes, webp_size
from .metadata import xmp
from .metadata.exif import clean_exif, upright
from .metadata.jpeg import read_jpeg_notes
from .metadata.metadata import Metadata, Notes, upright_metadata
from .metadata.png import read_png_notes
from .picture import Picture, from_samples
from .sniff import HEAD, USUAL_BYTES, SizeCheck, check_size, damaged, picture_format, unsupported

_SPARE = 1 << 28  # bytes that a file may have beyond the most that its pixels could need

_log = logging.getLogger(__name__)

OnSize = Callable[[int, int], None]
"""Called with the width and height that the file states, before its pixels are allocated; maybe twice."""


def read_picture(
    path: Path | str, max_megapixels: float, on_size: OnSize | None = None, *, salvage: bool = False
) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP or GIF file, whatever its suffix, and rotate it upright.

    With packages that may be missing, HEIC, AVIF, JPEG 2000, JPEG XL and cameras' raw files too: these are developed to
    16 bits in sRGB with default settings.

    The photo is converted from its profile to sRGB; :func:`~gpen.images.write_picture` converts back. CMYK becomes sRGB
    for good, palettes become RGB, a transparent colour becomes alpha. Raises PhotoError if the file is
    missing, damaged, of another kind or of one whose package is missing, and, before it is decoded, if it has more than
    ``max_megapixels``.

    salvage: read a damaged PNG, JPEG or TIFF file as far as it goes, with grey for the rest; what is missing is
    said by ``salvaged`` of the picture. Without it, SalvageableError, a PhotoError, is raised for such a file.
    """
    path = Path(path)

    def check(width: int, height: int, bytes_per_pixel: int = USUAL_BYTES) -> None:
        check_size(path, width, height, max_megapixels, bytes_per_pixel)
        if on_size is not None:
            on_size(width, height)

    try:
        data, kind = _bytes_of(path, max_megapixels)
        with pillow.own_settings():
            if kind == "TIFF" and is_raw(data):
                kind = RAW
            return in_srgb(_read(data, kind, path, check, salvage=salvage), path)
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
            # Python takes the memory that is asked for at once, however small the file is.
            status = os.fstat(file.fileno())
            size = status.st_size if stat.S_ISREG(status.st_mode) else most  # a pipe has none
            data = head + file.read(min(most, size) + 1)
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


def _read(data: bytes, kind: str, path: Path, check: SizeCheck, *, salvage: bool) -> Picture:
    try:
        return _decoded(data, kind, path, check)
    except (PhotoError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on damaged files
        whole = repaired(data, kind, path, check)
        if whole is None or not salvage:
            why = str(error).rstrip(".") or type(error).__name__
            raise damaged(path, why, salvageable=whole is not None) from error
    content, notice = whole
    picture = _decoded(content, kind, path, check)
    metadata = dataclasses.replace(picture.metadata, notices=(notice, *picture.metadata.notices))
    return dataclasses.replace(picture, metadata=metadata, salvaged=notice)


def _decoded(data: bytes, kind: str, path: Path, check: SizeCheck) -> Picture:
    if kind == JPEG_XL and (whole := jpeg_inside(data, path, check)):
        return dataclasses.replace(_decoded(whole, "JPEG", path, check), format=kind)
    if kind in _READERS:
        return _picture(_READERS[kind](data, path, check), kind)
    if kind == "WEBP":  # Pillow allocates the whole picture when it opens it
        check(*webp_size(data))
    if kind == "JPEG" and (what := jpeg.unusual_kind(data)):
        raise unsupported(path, what)
    if kind == "JPEG" and jpeg.place_of_12_bits(data) is not None:
        return _picture(read_jpeg12(data, path, check), kind)
    if kind == "PNG":
        data, dropped = without_damaged_notes(data)
        if dropped:
            _log.warning("%s: damaged information in it is left out: %s.", path, ", ".join(dict.fromkeys(dropped)))
    notes = _NOTES.get(kind, _no_notes)(data)
    try:
        return _with_pillow(notes, kind, path, check)
    except OSError:
        whole = jpeg.with_end(notes.picture) if kind == "JPEG" else None
        if whole is None:
            raise
    _log.warning("%s lacks the mark at its end; all of its pixels are there.", path)
    return _with_pillow(notes._replace(picture=whole), kind, path, check)


def _no_notes(data: bytes) -> Notes:
    return Notes(data, Metadata())


_READERS: dict[str, Callable[[bytes, Path, SizeCheck], Decoded]] = {
    "TIFF": read_tiff,
    HEIC: read_heic,
    AVIF: read_avif,
    JPEG_2000: read_jpeg2000,
    JPEG_XL: read_jpegxl,
    RAW: read_raw,
}
_NOTES: dict[str, Callable[[bytes], Notes]] = {
    "PNG": read_png_notes,
    "JPEG": read_jpeg_notes,
    "WEBP": read_webp_notes,
}


def _with_pillow(notes: Notes, kind: str, path: Path, check: OnSize) -> Picture:
    data, metadata = notes.picture, notes.metadata
    with pillow.open_image(data, kind) as image:
        check(image.width, image.height)
        samples, converted = pillow.decode(image, data, path)
        info = image.info
        if kind == "GIF" and isinstance(info.get("comment"), bytes):
            metadata = Metadata(comments=(info["comment"],))
        exif = info.get("exif") or notes.exif
        _, orientation = clean_exif(exif, xmp.orientation(metadata.xmp))
        icc = None if converted else info.get("icc_profile")
        if kind == "PNG":
            icc = color_profile(data, icc, path)
        dpi = info.get("dpi") if kind != "JPEG" or pillow.states_dpi(image) else None
        decoded = Decoded(
            samples, orientation, icc=icc, colors_by_exif=not converted, exif=exif, dpi=dpi, metadata=metadata
        )
        result = _picture(decoded, kind)
        return dataclasses.replace(result, lossless_webp=kind == "WEBP" and is_lossless_webp(data))


def _picture(decoded: Decoded, kind: str) -> Picture:
    space, turned, icc = pillow.profile_space(decoded.icc), decoded.orientation, decoded.icc
    samples, dpi = decoded.samples, decoded.dpi
    # A profile for a different number of channels would garble the colours.
    fits = space == b"RGB" or (space == b"GRAY" and samples.shape[2] < 3)
    if dpi is not None:
        dpi = (float(dpi[0]), float(dpi[1]))
        dpi = dpi if all(1 <= number <= 65535 for number in dpi) else None
    if dpi is not None and turned >= 5:
        dpi = (dpi[1], dpi[0])
    exif = clean_exif(decoded.exif)[0]
    if not fits:
        icc = exif_profile(exif, grey=samples.shape[2] < 3) if decoded.colors_by_exif else None
    seen = samples if decoded.is_upright else upright(samples, turned)
    height, width = seen.shape[:2]
    return dataclasses.replace(
        from_samples(seen),
        icc=icc,
        exif=exif,
        format=kind,
        dpi=dpi,
        metadata=upright_metadata(decoded.metadata, turned, (width, height) if turned < 5 else (height, width)),
    )

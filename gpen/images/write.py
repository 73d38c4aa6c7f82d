"""Writing picture files, whole or not at all."""

from __future__ import annotations

import dataclasses
import errno
import io
import logging
import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import atomic_path
from ..errors import PhotoError
from .formats import pillow
from .formats.png import encode_png
from .formats.tiff import encode_tiff
from .metadata.exif import has_description, sized_exif, user_comment
from .metadata.jpeg import with_jpeg_metadata
from .metadata.metadata import Metadata, fitted, without, without_parameters
from .metadata.png import png_notes
from .picture import Picture, Samples, to_samples

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
WRITABLE_SUFFIXES = frozenset(_FORMATS)
_NAMES = "PNG (.png), JPEG (.jpg), WebP (.webp) or TIFF (.tif)"
_FREE_MEMORY = "Close other programs, or make the picture smaller."
_QUALITY = 95
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}
_LONGEST_EXIF = 65533 - 6  # bytes in one JPEG segment

_log = logging.getLogger(__name__)


def can_write(suffix: str) -> bool:
    """Whether files with this suffix can be written, such as .png, in upper or lower case."""
    return suffix.lower() in WRITABLE_SUFFIXES


def written_format(path: Path) -> str | None:
    """PNG, JPEG, WEBP or TIFF, as the suffix says; None for a file that cannot be written."""
    return _FORMATS.get(path.suffix.lower())


def left_out(picture: Picture, path: Path | str) -> tuple[str, ...]:
    """In sentences, what of the file that a picture came from a file of the path's suffix will not hold."""
    kind = written_format(Path(path))
    return () if kind is None else _described(picture, kind).metadata.notices


@dataclass(frozen=True)
class _Described:
    """What a file says about its samples, as its format can hold it."""

    exif: bytes | None
    metadata: Metadata


def _described(picture: Picture, kind: str) -> _Described:
    exif, metadata = sized_exif(picture.exif, picture.width, picture.height), picture.metadata
    if exif is None and metadata.parameters and kind != "PNG":
        # Where other programs look for what a PNG file says in a text.
        comment = user_comment(metadata.parameters.decode(errors="replace"))
        if len(comment) <= _LONGEST_EXIF:
            exif, metadata = comment, without_parameters(metadata)
    metadata = fitted(metadata, kind, (picture.width, picture.height))
    if kind == "JPEG" and exif and len(exif) > _LONGEST_EXIF:
        notice = f"Its EXIF block has {len(exif)} bytes, more than JPEG allows, and is left out."
        return _Described(None, without(metadata, notice))
    if kind == "TIFF" and metadata.comments and has_description(exif):
        notice = "Its comment is left out: TIFF has one place for it, which holds the description."
        return _Described(exif, without(metadata, notice, comments=()))
    return _Described(exif, metadata)


Sign = Callable[[bytes, str], bytes]
"""Given a picture file and its format (PNG, JPEG, WEBP or TIFF), returns the file that is written."""


def write_picture(
    path: Path | str, picture: Picture, *, quality: int | None = None, warn: bool = True, sign: Sign | None = None
) -> None:
    """Write a picture in the format of the path's suffix, with its profile, resolution, EXIF block and metadata.

    Its photo, which is in sRGB, is converted to the profile; pixels that are as they were read keep their samples.
    PNG and TIFF are lossless and keep 16 bits, grey and alpha. JPEG has 8 bits, no alpha and full chroma resolution;
    WebP has 8 bits, RGB and alpha. quality: of these two, 1 to 100, by default 95; WebP is lossless at 100,
    and by default if the picture came from such a file. Values are clipped to [0, 1]. warn: log what :func:`left_out`
    says. sign: adds a signature, such as :meth:`gpen.images.metadata.content_credentials.ContentSigner.sign`.

    The file appears whole, or an existing one stays. Raises PhotoError if the suffix is none of these, if the picture
    holds NaN or Inf or does not fit the format, or if the file cannot be written.
    """
    path = Path(path)
    kind = written_format(path)
    if kind is None:
        raise PhotoError(f"{path} cannot be written: pictures are written as {_NAMES}. Change its suffix.")
    if quality is not None:
        quality = _checked_quality(quality)
    picture = _with_fitting_profile(picture, kind)
    samples = _samples(path, picture, kind)
    try:
        described = _described(picture, kind)
        if warn:
            for notice in described.metadata.notices:
                _log.warning("%s: %s", path, notice)
        with pillow.own_settings():
            default = 100 if picture.lossless_webp and kind == "WEBP" else _QUALITY
            packed = encode(samples, picture, kind, described, quality or default)
        if sign is not None:
            packed = sign(packed, kind)
        with atomic_path(path) as temporary, temporary.open("xb") as file:
            file.write(packed)
    except OSError as error:
        raise PhotoError(_why(path, error)) from error
    except MemoryError:
        raise PhotoError(f"{path} cannot be written: too little memory to encode it. {_FREE_MEMORY}") from None
    except ValueError as error:
        raise PhotoError(f"{path} cannot be written: {str(error).rstrip('.')}.") from error


def _checked_quality(quality: int) -> int:
    """The quality as Python's own whole number, as Pillow wants it."""
    try:
        whole = operator.index(quality)
    except TypeError:
        raise PhotoError(f"The quality is {quality!r}; it has to be a whole number from 1 to 100.") from None
    if not 1 <= whole <= 100:
        raise PhotoError(f"The quality is {whole}; it has to lie between 1 and 100.")
    return whole


def _with_fitting_profile(picture: Picture, kind: str) -> Picture:
    """The picture without a profile of greys where it is written in colour, as WebP always is."""
    if pillow.profile_space(picture.icc) != b"GRAY" or (picture.grey and kind != "WEBP"):
        return picture
    return dataclasses.replace(picture, icc=None, stored=None)


def _samples(path: Path, picture: Picture, kind: str) -> Samples:
    longest = _LONGEST_SIDE.get(kind)
    if longest and max(picture.width, picture.height) > longest:
        raise PhotoError(
            f"{path} cannot be written: the picture has {picture.width} × {picture.height} pixels, and "
            f"{kind} allows {longest} on a side. Write it as PNG or TIFF."
        )
    bits = picture.bits if kind in ("PNG", "TIFF") else 8
    # An alpha channel that is opaque everywhere may be dropped.
    see_through = picture.alpha is not None and not bool((picture.alpha >= 1 - 0.5 / (2**bits - 1)).all())
    if kind == "JPEG" and see_through:
        raise PhotoError(
            f"{path} cannot be written: parts of the picture are transparent, and JPEG has no transparency. "
            "Write it as PNG, WebP or TIFF."
        )
    try:
        return to_samples(
            picture,
            bits=bits,
            grey=picture.grey and kind != "WEBP",
            alpha=picture.alpha is not None and kind != "JPEG",
        )
    except ValueError as error:
        raise PhotoError(
            f"{path} cannot be written: {error}. If a network returned it, use the precision fp32."
        ) from None
    except MemoryError:
        raise PhotoError(f"{path} cannot be written: too little memory. {_FREE_MEMORY}") from None


def encode(samples: Samples, picture: Picture, kind: str, described: _Described, quality: int) -> bytes:
    """Encode in memory: Pillow and tifffile hide why writing to a file failed."""
    exif, metadata = described.exif, described.metadata
    if kind == "TIFF":
        return encode_tiff(samples, picture.icc, exif, picture.dpi, metadata)
    if kind == "PNG":
        return encode_png(samples, picture.icc, exif, picture.dpi, png_notes(metadata))
    return _with_pillow(samples, picture, kind, described, quality)


def _with_pillow(samples: Samples, picture: Picture, kind: str, described: _Described, quality: int) -> bytes:
    from PIL import Image

    icc, dpi = picture.icc, picture.dpi
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    options: dict[str, Any] = {"icc_profile": icc} if icc else {}
    if described.exif:
        options["exif"] = b"Exif\0\0" + described.exif
    if kind == "JPEG":
        options |= {"quality": quality, "subsampling": 0}
        if dpi:
            options["dpi"] = tuple(map(round, dpi))
    else:
        options |= {"quality": quality, "lossless": quality == 100, "exact": True}
        if described.metadata.xmp:
            options["xmp"] = described.metadata.xmp
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return with_jpeg_metadata(packed.getvalue(), described.metadata) if kind == "JPEG" else packed.getvalue()


def _why(path: Path, error: OSError) -> str:
    folder = path.parent
    full = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT")}
    if error.errno in full:
        return f"{path} cannot be written: the disk is full. Make room, or write to another disk."
    if error.errno == errno.ENOENT or error.errno == errno.ENOTDIR:
        return f"{path} cannot be written: the folder {folder} does not exist. Create it first."
    if error.errno == errno.EISDIR or os.path.isdir(path):  # noqa: PTH112 -- it never raises
        return f"{path} cannot be written: a folder has that name. Choose another name."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} cannot be written: this user may not write in {folder}. Choose another folder."
    return f"{path} cannot be written: {error.strerror or error}. Check the disk, or write to another one."

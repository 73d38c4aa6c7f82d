"""Recognising a file's format by its first bytes, whatever its name."""

from __future__ import annotations

from pathlib import Path

from ..errors import PhotoError

HEAD = 512
"""How many bytes :func:`picture_format` needs."""
_ASK = "Save it as PNG, JPEG, WebP or TIFF with an image editor and use that file."

_RAW = "camera raw"
UNREADABLE_SUFFIXES = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG 2000"),
    ".jxl": "JPEG XL",
    ".jxr": "JPEG XR",
    ".exr": "OpenEXR",
    ".psd": "Photoshop",
    ".xcf": "GIMP",
    **dict.fromkeys((".pbm", ".pgm", ".pnm", ".ppm"), "PNM"),
    ".tga": "TGA",
    ".pcx": "PCX",
    **dict.fromkeys((".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".nef", ".nrw"), _RAW),
    **dict.fromkeys((".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srw", ".x3f"), _RAW),
}
"""The kinds of pictures that are recognised in a folder, but cannot be read, by suffix in lower case."""

# Offset, the bytes there, what such a file is, and what to do.
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer, not the picture itself",
        "Run git lfs pull to get it.",
    ),
    (0, b"8BPS", "a Photoshop document", _ASK),
    (0, b"%PDF", "a PDF document", _ASK),
    (0, b"gimp xcf", "a GIMP document", _ASK),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", _ASK),
    (0, b"\xff\x0a", "a JPEG XL picture", _ASK),
    (4, b"JXL ", "a JPEG XL picture", _ASK),
    (4, b"jP  ", "a JPEG 2000 picture", _ASK),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _ASK),
    (4, b"ftypavi", "an AVIF picture", _ASK),
    (4, b"ftyphei", "an HEIC picture", _ASK),
    (4, b"ftyphev", "an HEIC picture", _ASK),
    (4, b"ftypmif1", "an HEIC picture", _ASK),
    (4, b"ftypmsf1", "an HEIC picture", _ASK),
    (4, b"ftypcrx", "a camera's raw file", "Develop it with a raw converter and use the result."),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file", "Develop it with a raw converter and use the result."),
    (8, b"CR\x02", "a camera's raw file", "Develop it with a raw converter and use the result."),
    (4, b"ftyp", "a video", "Save single frames of it as PNG and use those."),
    (8, b"AVI ", "a video", "Save single frames of it as PNG and use those."),
    (0, b"\x1a\x45\xdf\xa3", "a video", "Save single frames of it as PNG and use those."),
    (0, b"PK\x03\x04", "a ZIP archive", "Unpack it and use the pictures inside."),
)
_PICTURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
)


def picture_format(head: bytes, path: Path) -> str:
    """PNG, JPEG, WEBP, TIFF, BMP or GIF. Raises PhotoError, which says what it is, for any other file."""
    if not head:
        raise PhotoError(f"{path} is empty. Copy or download the picture again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        raise PhotoError(f"{path} is an SVG drawing, which has no pixels. {_ASK}")
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")):
        raise PhotoError(
            f"{path} is a web page, not a picture. Open the address it came from in a browser, "
            "and save the picture itself."
        )
    for position, magic, what, advice in _FOREIGN:
        if head[position : position + len(magic)] == magic:
            raise PhotoError(f"{path} is {what}. {advice}")
    for position, magic, name in _PICTURES:
        if head[position : position + len(magic)] == magic:
            return name
    raise PhotoError(f"{path} is not a picture in a supported format. {_ASK}")


def check_size(path: Path, width: int, height: int, max_megapixels: float) -> None:
    """Raise PhotoError if the size is zero, or more than ``max_megapixels``."""
    if width <= 0 or height <= 0:
        raise damaged(path, f"its header states {width} × {height} pixels")
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            f"{path} has {width} × {height} pixels, which is {megapixels:.6g} megapixels; "
            f"the option max_megapixels (“Largest picture”) allows {max_megapixels:g}. Raise it if there is enough "
            "memory, or make the picture smaller."
        )


def damaged(path: Path, why: object, *, salvageable: bool = False) -> PhotoError:
    """The error for a file that violates its format; salvageable: whether a part of it can be read."""
    rest = ", or have what is left of it read with --salvage (salvage=True in Python)" if salvageable else ""
    return PhotoError(f"{path} is damaged or incomplete: {why}. Copy or download the picture again{rest}.")


def unsupported(path: Path, what: str, advice: str = _ASK) -> PhotoError:
    """The error for an intact file of an unsupported kind; ``what`` follows its name."""
    return PhotoError(f"{path} {what}, which cannot be restored. {advice}")

"""Recognising a file's format by its first bytes, whatever its name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..errors import PhotoError, SalvageableError
from .extras import AVIF, HEIC, JPEG_2000, JPEG_XL, RAW

HEAD = 512
"""How many bytes :func:`picture_format` needs."""
_ASK = "Save it as PNG, JPEG, WebP or TIFF with an image editor and use that file."

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
    (4, b"ftyp", "a video", "Save single frames of it as PNG and use those."),
    (8, b"AVI ", "a video", "Save single frames of it as PNG and use those."),
    (0, b"\x1a\x45\xdf\xa3", "a video", "Save single frames of it as PNG and use those."),
    (0, b"PK\x03\x04", "a ZIP archive", "Unpack it and use the pictures inside."),
)
_PICTURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\x0a", JPEG_XL),
    (4, b"JXL \r\n\x87\n", JPEG_XL),
    (4, b"jP  \r\n\x87\n", JPEG_2000),
    (0, b"\xff\x4f\xff\x51", JPEG_2000),
    (4, b"ftypcrx", RAW),  # CR3
    (8, b"CR\x02", RAW),  # CR2
    (6, b"HEAPCCDR", RAW),  # CRW
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"IIRO", RAW),  # ORF
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"IIU\0", RAW),  # RW2
    (0, b"FOVb", RAW),  # X3F
    (0, b"\0MRM", RAW),
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
    """PNG, JPEG, WEBP, TIFF, BMP, GIF, or the name of a kind in :mod:`~gpen.images.extras`.

    Raises PhotoError, which says what it is, for any other file. Most raw files are called TIFF.
    """
    if not head:
        raise PhotoError(f"{path} is empty. Copy or download the picture again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    # Not elsewhere: a picture's own texts may quote a drawing.
    if text.startswith(b"<") and b"<svg" in text:
        raise PhotoError(f"{path} is an SVG drawing, which has no pixels. {_ASK}")
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")):
        raise PhotoError(
            f"{path} is a web page, not a picture. Open the address it came from in a browser, "
            "and save the picture itself."
        )
    for position, magic, name in _PICTURES:
        if head[position : position + len(magic)] == magic:
            return name
    if kind := _by_brands(head):
        return kind
    for position, magic, what, advice in _FOREIGN:
        if head[position : position + len(magic)] == magic:
            raise PhotoError(f"{path} is {what}. {advice}")
    raise PhotoError(f"{path} is not a picture in a supported format. {_ASK}")


def _by_brands(head: bytes) -> str:
    """HEIC or AVIF by the brands at a file's beginning; empty for another kind of file."""
    if head[4:8] != b"ftyp":
        return ""
    size = min(max(int.from_bytes(head[:4], "big"), 16), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if b"avif" in brands or b"avis" in brands:
        return AVIF
    heic = brands[0][:3] in (b"hei", b"hev") or brands[0] in (b"mif1", b"mif2", b"msf1")
    return HEIC if heic or b"heic" in brands or b"heix" in brands else ""


USUAL_BYTES = 8
"""Of a pixel in a file, at most: four channels of 16 bits."""


class SizeCheck(Protocol):
    """Raises PhotoError for a picture that is too large, before its pixels are allocated."""

    def __call__(self, width: int, height: int, bytes_per_pixel: int = USUAL_BYTES) -> None:
        """bytes_per_pixel: in the file, unpacked; no more than eight count as any other picture."""
        ...


def check_size(path: Path, width: int, height: int, max_megapixels: float, bytes_per_pixel: int = USUAL_BYTES) -> None:
    """Raise PhotoError if the size is zero, or more than ``max_megapixels``, each of up to eight bytes."""
    if width <= 0 or height <= 0:
        raise damaged(path, f"its header states {width} × {height} pixels")
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            f"{path} has {width} × {height} pixels, which is {megapixels:.6g} megapixels; "
            f"the option max_megapixels (“Largest picture”) allows {max_megapixels:g}. Raise it if there is enough "
            "memory, or make the picture smaller."
        )
    if megapixels * bytes_per_pixel > max_megapixels * USUAL_BYTES:
        raise PhotoError(
            f"{path} has {megapixels:.6g} megapixels of {bytes_per_pixel} bytes each, as much as "
            f"{megapixels * bytes_per_pixel / USUAL_BYTES:.6g} megapixels in four channels of 16 bits; the option "
            f"max_megapixels (“Largest picture”) allows {max_megapixels:g}. Save it without its additional channels."
        )


def damaged(path: Path, why: object, *, salvageable: bool = False) -> PhotoError:
    """The error for a file that violates its format; salvageable: whether a part of it can be read."""
    kind = SalvageableError if salvageable else PhotoError
    return kind(f"{path} is damaged or incomplete: {why}. Copy or download the picture again.")


def unsupported(path: Path, what: str, advice: str = _ASK) -> PhotoError:
    """The error for an intact file of an unsupported kind; ``what`` follows its name."""
    return PhotoError(f"{path} {what}, which cannot be restored. {advice}")

"""What is left of a TIFF file that is cut short: the file with grey in place of the strips or tiles that it lacks."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import jpeg
from .partial import inflated, without_lzw
from .tiff import main_page

_NONE, _LZW, _JPEG, _DEFLATE = 1, 5, 7, 8
_PACKINGS = {_NONE, _LZW, _JPEG, _DEFLATE, 32946}
_COMPRESSION, _FILL_ORDER, _TABLES = 259, 266, 347
_STRIPS, _TILES = (273, 279), (324, 325)  # tags of offsets and lengths
_YCBCR = 6
_GREY, _OPAQUE = b"\x80", b"\xff"


@dataclass(frozen=True)
class _Piece:
    """A strip or tile."""

    data: bytes
    """As much as the file has of it."""
    is_all: bool
    """Whether that is all of it."""
    top: int
    """Its first row in the picture."""
    rows: int
    """As many as it has."""


@dataclass(frozen=True)
class _Whole:
    """A strip or tile made whole."""

    data: bytes
    has: int
    """Rows of it that were there."""
    is_new: bool
    """Whether anything of it was missing."""


def whole_tiff(data: bytes, path: Path, check: Callable[[int, int], None]) -> tuple[bytes, int, int] | None:
    """The file made whole, how many of its rows are missing, of how many; None if all are, or none.

    check: called with width and height before anything of the picture's size is made. Raises anything for a file whose
    tags are damaged.
    """
    from tifffile import TiffFile

    file = io.BytesIO(data)
    with TiffFile(file) as opened:
        page: Any = main_page(opened.pages, path)
        check(page.imagewidth, page.imagelength)
        packing, height = int(page.compression), page.imagelength
        if packing not in _PACKINGS or page.tags.valueof(_FILL_ORDER, 1) != 1:
            return None
        if packing != _JPEG and int(page.photometric) == _YCBCR:
            return None  # its rows may be interleaved
        make = _with_jpeg if packing == _JPEG else _with_rows
        pieces = list(_pieces(page, data))
        whole = list(make(page, pieces))
        lost = set[int]()
        for piece, made in zip(pieces, whole, strict=True):
            lost.update(range(piece.top + made.has, min(piece.top + piece.rows, height)))
        if not any(made.is_new for made in whole) or len(lost) == height:
            return None
        _replace(page, file, whole, unpacked_lzw=packing == _LZW)
        return file.getvalue(), len(lost), height


def _pieces(page: Any, data: bytes) -> Iterator[_Piece]:
    height, width = page.imagelength, page.imagewidth
    tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
    across, down = -(-width // wide), -(-height // tall)
    for index, (start, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        top = index // across % down * tall
        rows = tall if page.is_tiled else min(tall, height - top)
        yield _Piece(data[start : start + size], start + size <= len(data), top, rows)


def _with_rows(page: Any, pieces: list[_Piece]) -> Iterator[_Whole]:
    """Pieces that hold rows of bytes; those of LZW become ones of Deflate."""
    packing, contiguous = int(page.compression), page.planarconfig != 2
    wide = page.tilewidth if page.is_tiled else page.imagewidth
    channels, sample = (page.samplesperpixel if contiguous else 1), page.bitspersample // 8
    extra = len(page.extrasamples) if contiguous else 0
    line = (wide * channels * page.bitspersample + 7) // 8
    pixel = _GREY * (sample * (channels - extra)) + _OPAQUE * (sample * extra)
    grey = (pixel * wide or _GREY * line) if page.predictor != 2 else pixel.ljust(line, b"\0")
    for piece in pieces:
        if packing == _NONE:
            content, is_whole = piece.data, True
        elif packing == _LZW:
            content, is_whole = without_lzw(piece.data, line, piece.rows)
        else:
            content, is_whole = inflated(piece.data, line * piece.rows)
        has = min(len(content) // line, piece.rows)
        is_new = has < piece.rows or not is_whole
        content = content[: has * line] + grey * (piece.rows - has) if is_new or packing == _LZW else piece.data
        yield _Whole(
            zlib.compress(content, 1) if packing != _NONE and content is not piece.data else content, has, is_new
        )


def _with_jpeg(page: Any, pieces: list[_Piece]) -> Iterator[_Whole]:
    """Pieces that are pictures of JPEG without the tables, which they have in common."""
    tables = page.tags.valueof(_TABLES, b"")[:-2] or b"\xff\xd8"
    head = next((found for piece in pieces if (found := _head(piece.data))), None)
    for piece in pieces:
        if piece.is_all and _is_readable(tables + piece.data[2:]):
            yield _Whole(piece.data, piece.rows, is_new=False)
            continue
        has, kept = 0, b""
        if _head(piece.data):
            kept = piece.data.rstrip(b"\xff") + jpeg.END_MARK
            if _is_readable(tables + kept[2:]):
                lost, rows, has_all_scans = jpeg.missing_rows(tables + piece.data[2:])
                has = rows - lost if has_all_scans and rows == piece.rows else 0
        if not has:
            if head is None:
                raise ValueError("no strip has a header")
            kept = jpeg.all_grey(tables, head, piece.rows)
        yield _Whole(kept, has, is_new=True)


def _head(data: bytes) -> bytes:
    """The beginning of a picture of JPEG up to its pixels; empty if there is none."""
    places = (place for marker, place in jpeg.segments(data) if marker == jpeg.SCAN and place.stop <= len(data))
    place = next(places, None)
    return data[: place.stop] if place and data[:2] == b"\xff\xd8" else b""


def _is_readable(data: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.load()
    except (OSError, SyntaxError):
        return False
    return True


def _replace(page: Any, file: io.BytesIO, whole: list[_Whole], *, unpacked_lzw: bool) -> None:
    """Put the pieces that are new behind the file's end, and tell its tags where they are."""
    offsets, counts = list(page.dataoffsets), list(page.databytecounts)
    end, added = file.seek(0, io.SEEK_END), list[bytes]()
    for index, made in enumerate(whole):
        if made.is_new or unpacked_lzw:
            offsets[index], counts[index] = end, len(made.data)
            added.append(made.data)
            end += len(made.data)
    file.write(b"".join(added))
    for tag, values in zip(_TILES if page.is_tiled else _STRIPS, (offsets, counts), strict=True):
        page.tags[tag].overwrite(values if len(values) > 1 else values[0])
    if unpacked_lzw:
        page.tags[_COMPRESSION].overwrite(_DEFLATE)

"""What is left of a picture file that is cut short: the same file with grey in place of the pixels that it lacks.

A decoder then reads a whole file, and no setting of one, which other threads would share, has to allow damage.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from . import jpeg
from .partial import inflated
from .png import chunk, chunks
from .salvage_tiff import whole_tiff

Check = Callable[[int, int], None]

_GREY, _OPAQUE = b"\x80", b"\xff"
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of interlaced PNG: first column, first row, and steps between columns and rows."""
_LAST_FILTER = 4
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_FILL = {1: b"\0", 2: b"\xaa", 4: b"\x88", 8: _GREY, 16: _GREY * 2}


def repaired(data: bytes, kind: str, path: Path, check: Check) -> tuple[bytes, str] | None:
    """The file made whole, and a sentence that says what is missing; None if nothing can be read of it.

    kind: as the format is called in :class:`~gpen.images.Picture`. check: called with width and height before anything
    of the picture's size is made; raises where that is too much.
    """
    repair = _REPAIRS.get(kind)
    try:
        return repair(data, path, check) if repair is not None else None
    except Exception:  # what is damaged more than that
        return None


def _sentence(lost: int, rows: int) -> str:
    if not lost:
        return "The file is damaged: some of its pixels may be wrong."
    return f"The file is damaged: {lost} of its {rows} rows of pixels are missing, and grey."


def _jpeg(data: bytes, path: Path, check: Check) -> tuple[bytes, str] | None:
    lost, rows, has_all_scans = jpeg.missing_rows(data)
    if lost == rows and has_all_scans:
        return None
    whole = data.rstrip(b"\xff") + jpeg.END_MARK
    if has_all_scans:
        return whole, _sentence(lost, rows)
    return whole, f"The file is damaged: its {rows} rows of pixels lack details, which came last in it."


def _png(data: bytes, path: Path, check: Check) -> tuple[bytes, str] | None:
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    check(width, height)
    bits = depth * _CHANNELS[color]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), y, dy) for x, y, dx, dy in passes if width > x and height > y]
    lines = [((columns * bits + 7) // 8, row) for columns, y, dy in sizes for row in range(y, height, dy)]
    others, packed = _chunks(data)
    rows, _ = inflated(packed, sum(size + 1 for size, _ in lines))
    end, lost, grey = 0, set[int](), bytearray()
    pixel = b"\0" if color == 3 else _FILL[depth]
    for size, row in lines:
        if not lost and end + 1 + size <= len(rows) and rows[end] <= _LAST_FILTER:
            end += 1 + size
            continue
        lost.add(row)
        if color in (4, 6):
            line = (pixel * (_CHANNELS[color] - 1) + _OPAQUE * (depth // 8)) * (size * 8 // bits)
        else:
            line = (pixel * size)[:size]
        grey += b"\0" + line
    if not end:
        return None
    pixels = zlib.compress(rows[:end] + grey, 1)
    return b"".join([data[:8], *others, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]), _sentence(len(lost), height)


def _chunks(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole chunks before the end of a PNG file but for its pixels, and those; ValueError if one of the former that
    decides about pixels is damaged.
    """
    others, packed = list[bytes](), bytearray()
    if data[12:16] != b"IHDR":
        raise ValueError("no header")
    for kind, place in chunks(data):
        if kind == b"IDAT":
            packed += data[place.start + 8 : min(place.stop - 4, len(data))]
        elif kind != b"IEND" and place.stop <= len(data):
            if kind in (b"IHDR", b"PLTE", b"tRNS"):
                if data[place] != chunk(kind, data[place.start + 8 : place.stop - 4]):
                    raise ValueError("damaged")
            elif not kind[0] & 32:
                continue  # IDAT with a damaged name, mostly
            others.append(data[place])
    return others, bytes(packed)


def _tiff(data: bytes, path: Path, check: Check) -> tuple[bytes, str] | None:
    found = whole_tiff(data, path, check)
    return None if found is None else (found[0], _sentence(*found[1:]))


_REPAIRS: dict[str, Callable[[bytes, Path, Check], tuple[bytes, str] | None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "TIFF": _tiff,
}

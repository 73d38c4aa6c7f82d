"""Directories of tags, as TIFF files and EXIF blocks hold them (an EXIF block is a small TIFF file)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# Tags that the package reads or writes.
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, CHANNELS, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR = 282, 283, 284, 296, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, ICC, DNG_VERSION = 338, 339, 34675, 50706
EXIF_POINTER, GPS_POINTER, INTEROP_POINTER, EXIF_WIDTH, EXIF_HEIGHT = 34665, 34853, 40965, 40962, 40963

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS = {BYTE: "B", SHORT: "H", LONG: "I", 13: "I", LONG8: "Q", 18: "Q"}
_MOST_DIRECTORIES = 4096


class DamagedError(ValueError):
    """The bytes are no directory, or point outside themselves."""


@dataclass(frozen=True)
class Entry:
    """One tag: its type, how many values, and where in the bytes they lie."""

    type: int
    count: int
    position: int


@dataclass(frozen=True)
class Directory:
    """One directory of ``data``. order: < or >. big: BigTIFF. link: where the next one's offset is stored."""

    data: bytes
    order: str
    big: bool
    entries: dict[int, Entry]
    link: int

    def raw(self, tag: int) -> bytes | None:
        """Return the tag's bytes as stored, None where there is no such tag; DamagedError beyond the end."""
        entry = self.entries.get(tag)
        if entry is None:
            return None
        end = entry.position + entry.count * _SIZES[entry.type]
        if end > len(self.data):
            raise DamagedError(f"tag {tag} lies beyond the end of the file")
        return self.data[entry.position : end]

    def integers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the tag's whole numbers, or ``default`` where there is no such tag."""
        raw = self.raw(tag)
        if raw is None:
            return default
        letter = _INTEGERS.get(self.entries[tag].type)
        if letter is None or not raw:
            raise DamagedError(f"tag {tag} holds no whole numbers")
        return struct.unpack(f"{self.order}{len(raw) // struct.calcsize('<' + letter)}{letter}", raw)

    def integer(self, tag: int, default: int = 0) -> int:
        """Return the tag's first whole number, or ``default`` where there is no such tag."""
        return self.integers(tag, (default,))[0]

    def rational(self, tag: int) -> float:
        """Return the tag's first fraction, or 0 where there is none."""
        raw = self.raw(tag)
        if raw is None or self.entries[tag].type != RATIONAL or len(raw) < 8:
            return 0.0
        top, bottom = struct.unpack(f"{self.order}II", raw[:8])
        return float(top / bottom) if bottom else 0.0

    def values(self) -> dict[int, tuple[int, bytes]]:
        """Return type and stored bytes of every tag whose bytes are there: what :func:`pack` takes."""
        found = {}
        for tag, entry in self.entries.items():
            try:
                raw = self.raw(tag)
            except DamagedError:
                continue
            if raw:
                found[tag] = (entry.type, raw)
        return found

    def sub_directory(self, tag: int) -> Directory | None:
        """Return the directory that the tag points at, or None where there is none that can be read."""
        try:
            offset = self.integer(tag)
            return _directory(self.data, self.order, self.big, offset) if offset else None
        except DamagedError:
            return None


def first_directory(data: bytes) -> Directory:
    """Return the first directory of a TIFF file or EXIF block; DamagedError when there is none."""
    order, big, offset = _header(data)
    return _directory(data, order, big, offset)


def directories(data: bytes) -> list[Directory]:
    """Return every directory of the chain, one for each page; DamagedError when one cannot be read."""
    order, big, offset = _header(data)
    found: list[Directory] = []
    seen = set()
    while offset and offset not in seen:
        if len(found) == _MOST_DIRECTORIES:
            raise DamagedError("it has too many pages")
        seen.add(offset)
        found.append(_directory(data, order, big, offset))
        offset = _unpack(data, order, "Q" if big else "I", found[-1].link)[0]
    if not found:
        raise DamagedError("it has no page")
    return found


def _header(data: bytes) -> tuple[str, bool, int]:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise DamagedError("it begins with neither II nor MM")
    version = _unpack(data, order, "H", 2)[0]
    if version not in (42, 43):
        raise DamagedError(f"its version is {version}")
    big = version == 43
    return order, big, _unpack(data, order, "Q", 8)[0] if big else _unpack(data, order, "I", 4)[0]


def _directory(data: bytes, order: str, big: bool, offset: int) -> Directory:
    letters, inline, head = ("HHQ", 8, 8) if big else ("HHI", 4, 2)
    (count,) = _unpack(data, order, "Q" if big else "H", offset)
    size = 12 + 8 * big
    link = offset + head + count * size
    if link > len(data):
        raise DamagedError("a directory lies beyond the end of the file")
    entries: dict[int, Entry] = {}
    for position in range(offset + head, link, size):
        tag, kind, number = _unpack(data, order, letters, position)
        if kind not in _SIZES:
            continue  # the specification asks readers to skip types they do not know
        value = position + size - inline
        if number * _SIZES[kind] > inline:
            (value,) = _unpack(data, order, "Q" if big else "I", value)
        entries.setdefault(tag, Entry(kind, number, value))
    return Directory(data, order, big, entries, link)


def _unpack(data: bytes, order: str, letters: str, position: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(order + letters, data, position)
    except struct.error:
        raise DamagedError("it ends before its directory does") from None


def header(order: str, position: int) -> bytes:
    """Return the eight bytes that a file begins with whose first directory lies at ``position``."""
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, position)


def pack(values: dict[int, tuple[int, bytes]], position: int, order: str) -> bytes:
    """Return a directory of ``values`` (type and stored bytes of each tag) that is to lie at ``position``."""
    head = struct.pack(order + "H", len(values))
    after = position + 2 + len(values) * 12 + 4
    table, tail = b"", b""
    for tag, (kind, raw) in sorted(values.items()):
        table += struct.pack(order + "HHI", tag, kind, len(raw) // _SIZES[kind])
        if len(raw) <= 4:
            table += raw.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", after + len(tail))
            tail += raw + b"\0" * (len(raw) % 2)
    return head + table + bytes(4) + tail

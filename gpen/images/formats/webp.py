"""WebP: the chunks of a file, read without decoding it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from ..metadata.metadata import C2PA, LARGEST, Metadata, Notes, printable, shown

_XMP, _MANIFEST = b"XMP ", b"C2PA"
_READ = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF")
_MOST_CHUNKS = 100_000


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, position)
        yield kind, data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def is_lossless_webp(data: bytes) -> bool:
    """Whether a file's pixels are coded without loss."""
    return next((kind for kind, _ in islice(_chunks(data), _MOST_CHUNKS) if kind in (b"VP8L", b"VP8 ")), b"") == b"VP8L"


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height that a file states; ValueError if it does not."""
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


def read_webp_notes(data: bytes) -> Notes:
    """The XMP packet of a file, and notices of what cannot be kept."""
    packet: bytes | None = None
    notices, unknown = list[str](), list[str]()
    for kind, body in islice(_chunks(data), _MOST_CHUNKS):
        if kind == _XMP and len(body) <= LARGEST:
            packet = packet or body
        elif kind == _XMP:
            notices.append("Its XMP is left out: it is too long.")
        elif kind == _MANIFEST:
            notices.append(C2PA)
        elif kind not in _READ:
            unknown.append(printable(kind).strip())
    if unknown:
        notices.append(
            f"Data of its chunks {shown(list(dict.fromkeys(unknown)))} is left out: what they hold is not known."
        )
    return Notes(data, Metadata(packet or None, notices=tuple(dict.fromkeys(notices))))

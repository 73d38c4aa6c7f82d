"""JPEG files that are cut short, or of a kind that decoders of 8 bits lack."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np

from .picture import Samples

_END = b"\xff\xd9"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_SCAN = 0xDA
# What might have followed: a decoder that still lacks pixels makes other ones of each.
_CONTINUATIONS = (b"", b"\x55" * 64, b"\xaa" * 64)


def unusual_kind(data: bytes) -> str:
    """What is unusual about a JPEG file that Pillow cannot open, to follow its name; empty if nothing is."""
    for marker, body in _segments(data):
        if marker in _FRAMES and body:
            if marker in _LOSSLESS:
                return "is a lossless JPEG picture"
            return f"is a JPEG picture with {body[0]} bits per channel" if body[0] != 8 else ""
    return ""


def with_end(data: bytes) -> bytes | None:
    """The file with an end marker, if only that is missing; None if pixels are missing too."""
    whole = data.rstrip(b"\xff")  # half of the marker
    if not _has_all_scans(whole):
        return None
    first, *others = (_pixels(whole + more + _END) for more in _CONTINUATIONS)
    return whole + _END if all(np.array_equal(first, other) for other in others) else None


def _pixels(data: bytes) -> Samples:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)


def _has_all_scans(data: bytes) -> bool:
    """Whether every coefficient of every component is stored to its last bit; a progressive file has many scans."""
    missing: set[tuple[int, int]] = set()
    for marker, body in _segments(data):
        if marker in _FRAMES and len(body) >= 6 + 3 * body[5]:
            missing = {(body[6 + 3 * index], k) for index in range(body[5]) for k in range(64)}
        if marker == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, approximation = body[1 + 2 * body[0] :][:3]
            if approximation & 15 == 0:
                components = body[1 : 1 + 2 * body[0] : 2]
                missing -= {(component, k) for component in components for k in range(first, last + 1)}
    return not missing


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The segments up to the end marker, as marker and body; pixels are skipped."""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker in (0, 0xFF) or 0xD0 <= marker <= 0xD8:  # stuffing, fill and restart markers
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _END[1]:
            return
        (size,) = struct.unpack_from(">H", data, position + 2)
        yield marker, data[position + 4 : position + 2 + size]
        position += 2 + size

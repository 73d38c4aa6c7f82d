"""JPEG: the segments of a file; files that are cut short, or of a kind that decoders of 8 bits lack."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

import numpy as np

from .picture import Samples

END_MARK = b"\xff\xd9"
"""How a file ends."""
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_SCAN = 0xDA
END = 0xD9
"""The marker after the last ones."""
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # not within pixels, nor without contents
# What might have followed: a decoder that still lacks pixels makes other ones of each.
_CONTINUATIONS = (b"", b"\x55" * 64, b"\xaa" * 64)


def unusual_kind(data: bytes) -> str:
    """What is unusual about a JPEG file that no decoder here reads, to follow its name; empty if nothing is."""
    marker, place = _frame(data)
    if marker in _LOSSLESS:
        return "is a lossless JPEG picture"
    bits = data[place.start] if place else 8
    return f"is a JPEG picture with {bits} bits per channel" if bits not in (8, 12) else ""


def place_of_12_bits(data: bytes) -> int | None:
    """Where a file says that it has 12 bits per channel; None if it does not."""
    _, place = _frame(data)
    return place.start if place and data[place.start] == 12 else None


def _frame(data: bytes) -> tuple[int, slice | None]:
    """The marker and the body of the header of the pixels; 0 and None if there is none."""
    found = ((marker, place) for marker, place in segments(data) if marker in _FRAMES and data[place])
    return next(found, (0, None))


def with_end(data: bytes) -> bytes | None:
    """The file with an end marker, if only that is missing; None if pixels are missing too."""
    whole = data.rstrip(b"\xff")  # half of the marker
    if not _has_all_scans(whole):
        return None
    first, *others = (_pixels(whole + more + END_MARK) for more in _CONTINUATIONS)
    return whole + END_MARK if all(np.array_equal(first, other) for other in others) else None


def missing_rows(data: bytes) -> tuple[int, int, bool]:
    """How many rows of a file that is cut short are missing, of how many; and whether all scans have begun."""
    whole = data.rstrip(b"\xff")
    first, *others = (_pixels(whole + more + END_MARK) for more in _CONTINUATIONS)
    differs = np.zeros(len(first), bool)
    for other in others:
        differs |= (first != other).reshape(len(first), -1).any(axis=1)
    rows = int(differs.argmax()) if differs.any() else len(first)
    return len(first) - rows, len(first), _has_all_scans(whole)


def _pixels(data: bytes) -> Samples:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)


def _has_all_scans(data: bytes) -> bool:
    """Whether every coefficient of every component is stored to its last bit; a progressive file has many scans."""
    missing: set[tuple[int, int]] = set()
    for marker, place in segments(data):
        body = data[place]
        if marker in _FRAMES and len(body) >= 6 + 3 * body[5]:
            missing = {(body[6 + 3 * index], k) for index in range(body[5]) for k in range(64)}
        if marker == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, approximation = body[1 + 2 * body[0] :][:3]
            if approximation & 15 == 0:
                components = body[1 : 1 + 2 * body[0] : 2]
                missing -= {(component, k) for component in components for k in range(first, last + 1)}
    return not missing


def segments(data: bytes, start: int = 0) -> Iterator[tuple[int, slice]]:
    """The segments of the picture that begins at ``start``, up to its end marker: marker, and where the body lies.

    Pixels are skipped. The last body of a file that is cut short may end beyond it; that of the end marker is empty.
    """
    position = start + 2
    while (found := _MARKER.search(data, position)) is not None:
        marker, position = data[found.end() - 1], found.end()
        if marker == END:
            yield marker, slice(position, position)
            return
        if position + 2 > len(data):
            return
        (size,) = struct.unpack_from(">H", data, position)
        yield marker, slice(position + 2, position + size)
        position += max(size, 2)

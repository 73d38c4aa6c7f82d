"""JPEG: the segments of a file; files that are cut short, or of a kind that decoders of 8 bits lack."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

import numpy as np

from ..picture import Samples

END_MARK = b"\xff\xd9"
"""How a file ends."""
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The markers of headers of pixels: bits, height, width, components."""
_SEQUENTIAL = {0xC0, 0xC1}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_HUFFMAN, _RESTARTS = 0xC4, 0xDD
SCAN = 0xDA
"""The marker of the header after which pixels begin."""
_MOST_SCANS = 100  # programs write ten or so, optimisers up to 64
END = 0xD9
"""The marker after the last ones."""
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # not within pixels, nor without contents
# What might have followed: a decoder that still lacks pixels makes other ones of each.
_CONTINUATIONS = (b"", b"\x55" * 1024, b"\xaa" * 1024)


def unusual_kind(data: bytes) -> str:
    """What is unusual about a JPEG file that no decoder here reads, to follow its name; empty if nothing is."""
    marker, place = _frame(data)
    if marker in _LOSSLESS:
        return "is a lossless JPEG picture"
    bits = data[place.start] if place else 8
    if bits not in (8, 12):
        return f"is a JPEG picture with {bits} bits per channel"
    # A decoder goes through the whole picture for each, however few bytes it has.
    scans = sum(marker == SCAN for marker, _ in segments(data))
    return f"is a JPEG picture with {scans} scans, far more than any program writes" if scans > _MOST_SCANS else ""


def place_of_12_bits(data: bytes) -> int | None:
    """Where a file says that it has 12 bits per channel; None if it does not."""
    _, place = _frame(data)
    return place.start if place and data[place.start] == 12 else None


def _frame(data: bytes) -> tuple[int, slice | None]:
    """The marker and the body of the header of the pixels; 0 and None if there is none."""
    found = ((marker, place) for marker, place in segments(data) if marker in FRAMES and data[place])
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
        if marker in FRAMES and len(body) >= 6 + 3 * body[5]:
            missing = {(body[6 + 3 * index], k) for index in range(body[5]) for k in range(64)}
        if marker == SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, approximation = body[1 + 2 * body[0] :][:3]
            if approximation & 15 == 0:
                components = body[1 : 1 + 2 * body[0] : 2]
                missing -= {(component, k) for component in components for k in range(first, last + 1)}
    return not missing


def all_grey(tables: bytes, head: bytes, rows: int) -> bytes:
    """A picture of JPEG whose pixels are all of middle grey, with another one's header.

    tables: a file's beginning with tables that apply; head: that of a picture up to its pixels. Raises ValueError
    where it is not coded sequentially, KeyError where its tables lack a code.
    """
    marker, place = _frame(head)
    scan = next((place for marker, place in segments(head) if marker == SCAN), None)
    if marker not in _SEQUENTIAL or place is None or scan is None:
        raise ValueError("not a sequential picture")
    codes, interval = _huffman_codes(tables + head[2:])
    frame = head[place]
    parts = {frame[at]: frame[at + 1] for at in range(6, 6 + 3 * frame[5], 3)}
    chosen = [(parts[head[at]], head[at + 1]) for at in range(scan.start + 1, scan.stop - 3, 2)]
    wide, tall = (max(size >> 4 for size in parts.values()), max(size & 15 for size in parts.values()))
    (width,) = struct.unpack_from(">H", frame, 3)
    if len(chosen) > 1:
        blocks = [(size >> 4) * (size & 15) for size, _ in chosen]
        count = -(-width // (8 * wide)) * -(-rows // (8 * tall))
    elif len(parts) == 1:
        blocks, count = [1], -(-width // 8) * -(-rows // 8)
    else:
        raise ValueError("its channels are apart")
    # A difference of none, then no other coefficients.
    unit = "".join(
        number * (codes[0, table >> 4, 0] + codes[1, table & 15, 0])
        for number, (_, table) in zip(blocks, chosen, strict=True)
    )
    pixels = bytearray()
    for index, start in enumerate(range(0, count, interval or count)):
        bits = unit * (min(count - start, interval) if interval else count)
        bits += "1" * (-len(bits) % 8)
        pixels += bytes([0xFF, 0xD0 + (index - 1) % 8]) if index else b""
        pixels += int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return head[: place.start + 1] + struct.pack(">H", rows) + head[place.start + 3 :] + bytes(pixels) + END_MARK


def _huffman_codes(data: bytes) -> tuple[dict[tuple[int, int, int], str], int]:
    """The codes by class, table and symbol, as bits; and the number of units between restarts, 0 for none."""
    codes: dict[tuple[int, int, int], str] = {}
    interval = 0
    for marker, place in segments(data):
        body = data[place]
        if marker == _RESTARTS:
            (interval,) = struct.unpack(">H", body)
        while marker == _HUFFMAN and len(body) > 17:
            at, code = 17, 0
            for length, number in enumerate(body[1:17], 1):
                for symbol in body[at : at + number]:
                    codes[body[0] >> 4, body[0] & 15, symbol] = format(code, f"0{length}b")
                    code += 1
                at, code = at + number, code << 1
            body = body[at:]
    return codes, interval


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

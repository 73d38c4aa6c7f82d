"""Photoshop's image resources, in which JPEG files hold IPTC, and TIFF files copies of it.

Source: Adobe Photoshop File Formats Specification, "Image Resources Section".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIGNATURES = (b"8BIM", b"PHUT", b"AgHg", b"DCSR", b"MeSa")
_IPTC = 0x0404
_THUMBNAILS = (0x0409, 0x040C)
_MOST = 10_000


def _resources(data: bytes) -> Iterator[tuple[int, int, slice, int]]:
    """The number of each resource, where it begins, its content, and where it ends; ValueError where they end early."""
    position = count = 0
    while data[position : position + 4].strip(b"\0"):  # zeros may follow
        count += 1
        if data[position : position + 4] not in _SIGNATURES or position + 7 > len(data) or count > _MOST:
            raise ValueError("no resource, or too many")
        start = position + 7 + data[position + 6]
        start += (start - position) % 2
        if start + 4 > len(data):
            raise ValueError("cut short")
        (number,), (size,) = struct.unpack_from(">H", data, position + 4), struct.unpack_from(">I", data, start)
        start += 4
        if start + size > len(data):
            raise ValueError("cut short")
        end = min(start + size + size % 2, len(data))
        yield number, position, slice(start, start + size), end
        position = end


def clean_resources(data: bytes) -> tuple[bytes | None, bool]:
    """The resources without thumbnails, and whether they are whole; damaged ones are kept as far as they go.

    None if nothing is left.
    """
    kept, is_whole = [], True
    try:
        for number, first, _, last in _resources(data):
            if number not in _THUMBNAILS:
                kept.append(data[first:last])
    except ValueError:
        is_whole = False
    return b"".join(kept) or None, is_whole


def iptc_of(resources: bytes | None) -> bytes | None:
    """The IPTC block in some resources that are whole; None if they hold none."""
    found = (content for number, _, content, _ in _resources(resources or b"") if number == _IPTC)
    place = next(found, None)
    return None if place is None or resources is None else resources[place]


def with_iptc(resources: bytes | None, iptc: bytes | None) -> bytes | None:
    """Whole resources with this IPTC block; as they are if they hold it already, or it is None."""
    if iptc is None or iptc_of(resources) == iptc:
        return resources
    data = resources or b""
    others = [data[first:last] for number, first, _, last in _resources(data) if number != _IPTC]
    block = b"8BIM" + struct.pack(">HHI", _IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    return b"".join([block, *others])

"""Segments, chunks and tags of picture files, read and made by hand: nothing of the package is used here."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
IRB_HEAD = b"Photoshop 3.0\0"

Segment = tuple[int, bytes]


def pixels(width: int = 56, height: int = 48) -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 11 + k) * np.cos(y / (9 + k)) for k in range(3)]
    return (np.stack(waves, -1) * 90 + 128).astype(np.uint8)


def saved(kind: str, samples: np.ndarray[Any, Any] | None = None, **more: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels() if samples is None else samples).save(file, kind, **more)
    return file.getvalue()


def segments(data: bytes) -> list[Segment]:
    """Those of a JPEG file before its pixels."""
    assert data[:2] == b"\xff\xd8"
    position, found = 2, []
    while data[position] == 0xFF and data[position + 1] != 0xDA:
        size = int.from_bytes(data[position + 2 : position + 4], "big")
        found.append((data[position + 1], data[position + 4 : position + 2 + size]))
        position += 2 + size
    return found


def with_segments(data: bytes, added: list[Segment]) -> bytes:
    """A JPEG file with more segments after its first one."""
    first = 4 + int.from_bytes(data[4:6], "big")
    made = b"".join(bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in added)
    return data[:first] + made + data[first:]


def bodies(data: bytes, marker: int, head: bytes = b"") -> list[bytes]:
    """The bodies of a JPEG file's segments of a kind, without their heads."""
    return [body[len(head) :] for kind, body in segments(data) if kind == marker and body.startswith(head)]


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Those of a PNG file; their checksums have to be right."""
    position, found = 8, []
    while position < len(data):
        size, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(data[position + 8 + size : position + 12 + size], "big")
        found.append((kind, body))
        position += 12 + size
    return found


def with_chunks(data: bytes, added: list[tuple[bytes, bytes]], before: bytes = b"IDAT") -> bytes:
    """A PNG file with more chunks before the first one of a kind."""
    at = data.index(before) - 4
    made = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in added)
    return data[:at] + b"".join(made) + data[at:]


def riff(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a WebP file."""
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    position, found = 12, {}
    while position < len(data):
        kind, size = struct.unpack("<4sI", data[position : position + 8])
        found[kind] = data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
    return found


def with_riff(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A WebP file with one more chunk at its end."""
    data += kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def tags(data: bytes) -> dict[int, bytes]:
    """The values of the tags of a TIFF file's first page, as bytes."""
    order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        size = number * {3: 2, 4: 4, 5: 8, 12: 8}.get(kind, 1)
        start = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        found[tag] = data[start : start + size]
    return found


def tiff(extra: dict[int, tuple[int, bytes]], **more: Any) -> bytes:
    """A TIFF file with more tags: type and value."""
    file = io.BytesIO()
    sizes = {3: 2, 4: 4}
    tagged = [(tag, kind, len(body) // sizes.get(kind, 1), body, True) for tag, (kind, body) in extra.items()]
    tifffile.imwrite(file, pixels(), photometric="rgb", metadata=None, software=False, extratags=tagged, **more)
    return file.getvalue()


def iptc(caption: bytes) -> bytes:
    """An IPTC block that holds a caption (2:120)."""
    return b"\x1c\x02\x78" + struct.pack(">H", len(caption)) + caption


def resource(number: int, body: bytes) -> bytes:
    """One of Photoshop's image resources."""
    return b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body + bytes(len(body) % 2)


def xmp_of(path: Path) -> bytes | None:
    """The XMP packet of a file; that of a JPEG file without an extended one."""
    data = path.read_bytes()
    if data[:2] == b"\xff\xd8":
        return next(iter(bodies(data, 0xE1, XMP_HEAD)), None)
    if data[:4] == b"\x89PNG":
        found = [body for kind, body in chunks(data) if kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0")]
        assert all(body[18:22] == bytes(4) for body in found)
        return found[0][22:] if found else None
    if data[:4] == b"RIFF":
        return riff(data).get(b"XMP ")
    return tags(data).get(700)

"""PNG with 16 bits per channel: Pillow rounds it to 8, OpenCV writes it without metadata."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from .picture import Samples

_BLOCK = 1 << 22  # bytes compressed at a time
_UP = 2  # the filter that stores differences from the row above


def decode_16(data: bytes) -> Samples:
    """Decode a PNG file to uint16 (H, W, 1 to 4 channels), ignoring a transparent colour; ValueError if damaged."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("its pixels cannot be decoded")
    samples: Samples = decoded.reshape(*decoded.shape[:2], -1)
    # OpenCV returns BGR, BGRA for grey + alpha, and in some versions alpha for a transparent colour.
    return samples[..., {0: [0], 2: [2, 1, 0], 4: [0, -1], 6: [2, 1, 0, 3]}[data[25]]]


def encode_16(samples: Samples, icc: bytes | None, exif: bytes | None, dpi: tuple[float, float] | None) -> bytes:
    """Encode uint16 (H, W, 1 to 4 channels).

    Done by hand, because none of our dependencies writes 16-bit grey + alpha, or the metadata.
    """
    height, width, channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))]
    if icc:
        parts.append(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    if dpi:
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", *[round(number / 0.0254) for number in dpi], 1)))
    if exif:
        parts.append(_chunk(b"eXIf", exif))
    packer = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
    above = np.zeros((1, width * channels * 2), np.uint8)
    rows = max(1, _BLOCK // above.size)
    for start in range(0, height, rows):
        block = samples[start : start + rows].astype(">u2")
        lines = block.reshape(len(block), -1).view(np.uint8)
        filtered = np.insert(np.diff(lines, axis=0, prepend=above), 0, _UP, axis=1)
        parts.append(_chunk(b"IDAT", packer.compress(filtered.tobytes())))
        above = lines[-1:]
    return b"".join([*parts, _chunk(b"IDAT", packer.flush()), _chunk(b"IEND", b"")])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

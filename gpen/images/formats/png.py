"""PNG: written with 8 and 16 bits per channel, and read with 16.

Pillow rounds 16 bits to 8, OpenCV writes no metadata, and neither writes 16-bit grey with alpha. With 8 bits, Pillow
takes about five times as long to write files of the same size.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metadata.metadata import LARGEST
from ..picture import Samples

_BLOCK = 1 << 20  # bytes filtered and compressed at a time: few enough to stay in the cache of a core
_BANDS, _BAND = 4, 16
"""Number and height of the bands by which a packing is chosen. Most bands hold more than zlib's window of 32 KiB."""
_UP, _AVERAGE = 2, 3
"""Filters of PNG: of each byte, the difference is stored from the byte above, or from the mean of that and the byte of
the pixel to the left."""


@dataclass(frozen=True)
class _Packing:
    """How rows are compressed."""

    filter: int
    level: int
    strategy: int


_PACKINGS = (
    # For noise, in which a search for repetitions finds none.
    _Packing(_AVERAGE, 1, zlib.Z_RLE),
    # For what repeats: grey stored as RGB, enlarged photos, drawings.
    _Packing(_AVERAGE, 2, zlib.Z_DEFAULT_STRATEGY),
    _Packing(_UP, 2, zlib.Z_DEFAULT_STRATEGY),
)


def decode_16(data: bytes) -> Samples:
    """Decode a PNG file to uint16 (H, W, 1 to 4 channels), ignoring a transparent colour; ValueError if damaged."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("its pixels cannot be decoded")
    samples: Samples = decoded.reshape(*decoded.shape[:2], -1)
    # OpenCV returns BGR, BGRA for grey + alpha, and in some versions alpha for a transparent colour.
    return samples[..., {0: [0], 2: [2, 1, 0], 4: [0, -1], 6: [2, 1, 0, 3]}[data[25]]]


def chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """The kind of each chunk of a file, and where it lies, with its length and its checksum of 4 bytes each.

    The last one of a file that is cut short may end beyond it.
    """
    position = 8
    while position + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        yield kind, slice(position, position + 12 + size)
        position += 12 + size


def without_damaged_notes(data: bytes) -> tuple[bytes, list[str]]:
    """The file without chunks that only describe the picture and are damaged, and the names of those.

    These are chunks with a wrong checksum, and profiles that are too large. A chunk that decides about pixels stays, so
    that decoding it fails.
    """
    kept, dropped, end = [data[:8]], [], 8
    for kind, place in chunks(data):
        end = place.stop
        # A small first letter means that the chunk may be ignored; a transparent colour may not.
        if kind[0] & 32 and kind != b"tRNS" and end <= len(data):
            (stated,) = struct.unpack_from(">I", data, end - 4)
            is_whole = zlib.crc32(memoryview(data)[place.start + 4 : end - 4]) == stated
            if not is_whole or (kind == b"iCCP" and _is_too_large(data[place.start + 8 : end - 4])):
                dropped.append(kind.decode("latin-1"))
                continue
        kept.append(data[place])
    return (b"".join([*kept, data[end:]]), dropped) if dropped else (data, [])


def _is_too_large(profile: bytes) -> bool:
    try:
        inflated(profile.partition(b"\0")[2][1:], LARGEST)
    except OverflowError:
        return True
    except zlib.error:
        pass  # Pillow ignores it
    return False


def inflated(packed: bytes, largest: int) -> bytes:
    """A zlib stream unpacked; zlib.error if it is damaged, OverflowError if it may be more than ``largest`` bytes."""
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(packed, largest)
    if unpacker.unconsumed_tail:
        raise OverflowError
    if not unpacker.eof:
        raise zlib.error("cut short")
    return content


def raw_profile(text: str) -> bytes | None:
    """The content of a "Raw profile type …" text, in which ImageMagick stores metadata; None if it is damaged."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def encode_png(
    samples: Samples,
    icc: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
    notes: Sequence[bytes] = (),
) -> bytes:
    """Encode uint8 or uint16 samples (H, W, 1 to 4 channels). notes: further chunks.

    Each picture is compressed in the way that makes a few bands of its rows the smallest.
    """
    height, width, channels = samples.shape
    bits, colour = 8 * samples.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if icc:
        parts.append(chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    if dpi:
        parts.append(chunk(b"pHYs", struct.pack(">IIB", *[round(number / 0.0254) for number in dpi], 1)))
    if exif:
        parts.append(chunk(b"eXIf", exif))
    parts += notes
    packed = _packed(samples, 0, height, _best_packing(samples))
    parts += [chunk(b"IDAT", block) for block in packed if block]
    return b"".join([*parts, chunk(b"IEND", b"")])


def _best_packing(samples: Samples) -> _Packing:
    """The packing that makes some bands, spread evenly over the rows, the smallest."""
    last = max(0, len(samples) - _BAND)
    starts = {last * band // (_BANDS - 1) for band in range(_BANDS)}

    def size(packing: _Packing) -> int:
        return sum(len(block) for start in starts for block in _packed(samples, start, start + _BAND, packing))

    return min(_PACKINGS, key=size)


def _packed(samples: Samples, start: int, stop: int, packing: _Packing) -> Iterator[bytes]:
    """The rows from ``start`` to before ``stop`` as one zlib stream, in pieces."""
    packer = zlib.compressobj(packing.level, strategy=packing.strategy)
    stop, step = min(stop, len(samples)), max(1, _BLOCK // samples[0].nbytes)
    for first in range(start, stop, step):
        yield packer.compress(_filtered(samples, first, min(first + step, stop), packing.filter).data)
    yield packer.flush()


def _filtered(samples: Samples, start: int, stop: int, kind: int) -> NDArray[np.uint8]:
    """These rows as PNG stores them: the number of the filter, then the differences, modulo 256, byte by byte."""
    pixel = samples[0, 0].nbytes
    lines = _as_bytes(samples[start:stop])
    above = np.zeros_like(lines)
    above[1:] = lines[:-1]
    if start:
        above[0] = _as_bytes(samples[start - 1 : start])[0]
    out = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    out[:, 0] = kind
    if kind == _UP:
        np.subtract(lines, above, out=out[:, 1:])
        return out
    mean = above.astype(np.uint16)
    mean[:, pixel:] += lines[:, :-pixel]
    mean >>= 1
    np.subtract(lines, mean.astype(np.uint8), out=out[:, 1:])
    return out


def _as_bytes(rows: Samples) -> NDArray[np.uint8]:
    """(rows, bytes), the more significant byte first."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder(">")).reshape(len(rows), -1).view(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

"""PNG: its chunks are read here, so that metadata and 16 bits survive; it is written here whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from .picture import Samples

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MOST_PROFILE = 1 << 24  # bytes of an unpacked colour profile; the largest known have about 3 MB
_INCH = 0.0254
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_LEVEL = 6
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Header:
    """The first chunk. colour: 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool


@dataclass(frozen=True)
class Chunks:
    """A PNG file taken apart. bare: the file with nothing in it but the pixels."""

    header: Header
    bare: bytes
    frames: int
    transparent: bytes | None
    icc: bytes | None
    exif: bytes | None
    dpi: tuple[float, float] | None


def read_header(data: bytes) -> Header:
    """Read the first chunk; ValueError when it is none."""
    if len(data) < 33 or data[8:16] != b"\0\0\0\rIHDR":
        raise ValueError("its header is incomplete")
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise ValueError("the checksum of its header is wrong")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    if colour not in _CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise ValueError(f"its pixels have the unknown type {colour} with {depth} bits")
    return Header(width, height, depth, colour, bool(interlace))


def read_chunks(data: bytes) -> Chunks:
    """Take the file apart; ValueError when pixels are missing or a checksum is wrong."""
    header = read_header(data)
    bare = [_SIGNATURE]
    found: dict[bytes, bytes] = {}
    pixels = 0
    inflate = zlib.decompressobj()
    for kind, whole in _walk(data):
        body = whole[8:-4]
        if kind in _NEEDED:
            if zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
                raise ValueError(f"the checksum of its {kind.decode()} part is wrong")
            # A key colour is made alpha by this package: readers differ at less and at more than 8 bits.
            if kind != b"tRNS" or header.colour == 3:
                bare.append(bytes(whole))
        if kind == b"IDAT":
            pixels += _inflated(inflate, body)
        else:
            found.setdefault(kind, bytes(body))
    if pixels < _bytes_of_pixels(header):
        raise ValueError("pixels are missing at its end")
    frames = int.from_bytes(found.get(b"acTL", b"\0\0\0\1")[:4], "big")
    return Chunks(
        header,
        b"".join(bare),
        frames,
        found.get(b"tRNS"),
        _profile(found.get(b"iCCP")),
        found.get(b"eXIf"),
        _resolution(found.get(b"pHYs")),
    )


def _walk(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(data)
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(view[position : position + 4], "big")
        if end > len(data):
            break
        kind = bytes(view[position + 4 : position + 8])
        yield kind, view[position:end]
        if kind == b"IEND":
            return
        position = end
    raise ValueError("it ends in the middle")


def _inflated(inflate: zlib._Decompress, body: memoryview) -> int:
    """Count the bytes that come out, which are thrown away: decoders fill what is missing with black."""
    count = 0
    rest: bytes | memoryview = body
    try:
        while rest and not inflate.eof:
            count += len(inflate.decompress(rest, 1 << 20))
            rest = inflate.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"its pixels cannot be unpacked ({error})") from None
    return count


def _bytes_of_pixels(header: Header) -> int:
    steps = [(0, 0, 1, 1)]
    if header.interlaced:
        steps = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    total = 0
    for x, y, dx, dy in steps:
        width, height = max(0, -(-(header.width - x) // dx)), max(0, -(-(header.height - y) // dy))
        if width:
            total += height * (1 + (width * _CHANNELS[header.colour] * header.depth + 7) // 8)
    return total


def _profile(chunk: bytes | None) -> bytes | None:
    _, _, packed = (chunk or b"").partition(b"\0")
    try:
        inflate = zlib.decompressobj()
        profile = inflate.decompress(packed[1:], _MOST_PROFILE)
    except zlib.error:
        return None
    return profile if inflate.eof else None


def _resolution(chunk: bytes | None) -> tuple[float, float] | None:
    if chunk is None or len(chunk) != 9 or chunk[8] != 1:
        return None
    x, y = struct.unpack(">II", chunk[:8])
    return x * _INCH, y * _INCH


def decode_16(chunks: Chunks) -> Samples:
    """Decode 16-bit pixels to uint16 (H, W, channels); ValueError when they cannot be decoded."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(chunks.bare, np.uint8), cv2.IMREAD_UNCHANGED)
    header = chunks.header
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != (header.height, header.width):
        raise ValueError("its pixels cannot be decoded")
    samples: Samples = decoded.reshape(header.height, header.width, -1)
    order = {(0, 1): [0], (4, 2): [0, 1], (4, 4): [0, 3], (2, 3): [2, 1, 0], (6, 4): [2, 1, 0, 3]}.get(
        (header.colour, samples.shape[2])
    )
    if order is None:
        raise ValueError(f"its pixels were decoded to {samples.shape[2]} channels")
    return samples[..., order]


def with_key(samples: Samples, chunks: Chunks) -> Samples:
    """Add an alpha channel to grey or RGB samples of a file that names one colour as transparent."""
    channels = samples.shape[2]
    key = chunks.transparent
    if key is None or chunks.header.colour not in (0, 2) or len(key) != 2 * channels:
        return samples
    colour = np.array(struct.unpack(f">{channels}H", key), np.uint32)
    if chunks.header.depth < 8:
        colour = colour * (255 // (2**chunks.header.depth - 1))
    seen = (samples != colour).any(axis=2, keepdims=True)
    return np.concatenate([samples, seen.astype(samples.dtype) * np.iinfo(samples.dtype).max], axis=2)


def write_png(
    file: IO[bytes],
    samples: Samples,
    icc: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
) -> None:
    """Write uint8 or uint16 samples (H, W, 1 to 4 channels)."""
    height, width, channels = samples.shape
    depth = samples.dtype.itemsize * 8
    file.write(_SIGNATURE)
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0))
    if icc:
        _chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc, 9))
    if dpi:
        _chunk(file, b"pHYs", struct.pack(">IIB", round(dpi[0] / _INCH), round(dpi[1] / _INCH), 1))
    if exif:
        _chunk(file, b"eXIf", exif)
    deflate = zlib.compressobj(_LEVEL, strategy=zlib.Z_FILTERED)
    above = np.zeros((1, width * channels * samples.dtype.itemsize), np.uint8)
    rows = max(1, _BLOCK // above.size)
    for start in range(0, height, rows):
        block = np.ascontiguousarray(samples[start : start + rows].astype(f">u{samples.dtype.itemsize}"))
        lines = block.reshape(len(block), -1).view(np.uint8)
        filtered = _filtered(lines, above, channels * samples.dtype.itemsize)
        above = lines[-1:]
        _chunk(file, b"IDAT", deflate.compress(filtered.tobytes()))
    _chunk(file, b"IDAT", deflate.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: IO[bytes], kind: bytes, body: bytes) -> None:
    if body or kind == b"IEND":
        file.write(struct.pack(">I", len(body)) + kind + body)
        file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


def _filtered(lines: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.uint8]:
    """Give each line the filter that makes it smallest (PNG's recommended rule), its number in front.

    lines: uint8 (rows, bytes). above: uint8 (1, bytes), the line before the first. step: bytes of a pixel.
    """
    up = np.concatenate([above, lines[:-1]])
    left = np.zeros_like(lines)
    left[:, step:] = lines[:, :-step]
    corner = np.zeros_like(lines)
    corner[:, step:] = up[:, :-step]
    b, c = up.astype(np.int16), corner.astype(np.int16)
    a = left.astype(np.int16)
    near_a, near_b, near_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    paeth = np.where((near_a <= near_b) & (near_a <= near_c), left, np.where(near_b <= near_c, up, corner))
    best = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    smallest = np.full(len(lines), np.iinfo(np.int64).max)
    predictions = (np.zeros_like(lines), left, up, ((a + b) >> 1).astype(np.uint8), paeth)
    for number, prediction in enumerate(predictions):
        difference = lines - prediction
        cost = np.minimum(difference, 0 - difference).sum(axis=1, dtype=np.int64)
        better = cost < smallest
        smallest[better] = cost[better]
        best[better, 0] = number
        best[better, 1:] = difference[better]
    return best

"""TIFF: 8 and 16 bits, grey and RGB, with alpha, as Pillow reads only some of them and OpenCV others."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from .picture import Samples
from .sniff import unsupported
from .tags import (
    BITS,
    CHANNELS,
    COMPRESSION,
    DNG_VERSION,
    EXIF_POINTER,
    EXTRA_SAMPLES,
    GPS_POINTER,
    HEIGHT,
    ICC,
    LONG,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    RATIONAL,
    RESOLUTION_UNIT,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SHORT,
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUBFILE,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    UNDEFINED,
    WIDTH,
    X_RESOLUTION,
    Y_RESOLUTION,
    DamagedError,
    Directory,
    directories,
    first_directory,
    header,
    pack,
)

_DEVELOP = "Develop it with a raw converter and use the result."
_PLAIN = "Save it with 8 or 16 bits per channel, as grey or RGB, with an image editor and use that file."
_LOSSLESS = {1, 5, 8, 32946, 32773, 34925, 50000}  # none, LZW, Deflate (both), PackBits, LZMA, Zstandard
_PREDICTED = {5, 8, 32946, 34925, 50000}
_PHOTOMETRICS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
# What a page of ours says about itself; the rest of an EXIF block's first directory is kept beside it.
_OURS = {
    *range(254, 270),
    *range(273, 281),
    282,
    283,
    284,
    296,
    297,
    317,
    *range(320, 326),
    338,
    339,
    513,
    514,
}
_STRIP = 1 << 20


def only_page(data: bytes, path: Path) -> Directory:
    """Return the file's page; PhotoError where it has several, or pixels of a kind that is not read."""
    pages = directories(data)
    page = pages[0]
    photometric = page.integer(PHOTOMETRIC, 1)
    if page.integer(SUBFILE) & 1 or DNG_VERSION in page.entries or photometric in (32803, 34892):
        raise unsupported(path, "is a camera's raw file", _DEVELOP)
    # Reduced copies of the first page are no pages of their own.
    count = 1 + sum(not other.integer(SUBFILE) & 1 for other in pages[1:])
    if count > 1:
        raise unsupported(path, f"has {count} pages", "Save its pages as single files and use those.")
    if photometric not in _PHOTOMETRICS:
        kind = {8: "Lab", 9: "Lab", 10: "Lab", 32844: "LogLuv", 32845: "LogLuv"}.get(photometric, photometric)
        raise unsupported(path, f"holds colours of the kind {kind}", _PLAIN)
    bits = set(page.integers(BITS, (1,)))
    formats = set(page.integers(SAMPLE_FORMAT, (1,)))
    if formats - {1, 4}:
        kind = "floating-point" if 3 in formats else "signed"
        raise unsupported(path, f"holds {kind} numbers with {max(bits)} bits", _PLAIN)
    if not (len(bits) == 1 and bits <= {1, 2, 4, 8, 16}):
        named = ", ".join(map(str, page.integers(BITS)))
        raise unsupported(path, f"has {named} bits per channel", _PLAIN)
    if bits == {16} and not is_plain(page):
        what = f"holds {_PHOTOMETRICS[photometric]} colours with 16 bits, or packed in an unusual way"
        raise unsupported(path, what, _PLAIN)
    return page


def is_plain(page: Directory) -> bool:
    """Whether :func:`decode` reads the page: grey or RGB, 8 or 16 bits, without loss."""
    return (
        page.integer(PHOTOMETRIC, 1) in (0, 1, 2)
        and page.integer(COMPRESSION, 1) in _LOSSLESS
        and page.integer(PREDICTOR, 1) in (1, 2)
        and set(page.integers(BITS, (1,))) <= {8, 16}
    )


def icc_of(page: Directory) -> bytes | None:
    """Return the page's colour profile."""
    return page.raw(ICC)


def resolution(page: Directory) -> tuple[float, float] | None:
    """Return the page's pixels per inch."""
    unit = {2: 1.0, 3: 2.54}.get(page.integer(RESOLUTION_UNIT, 2), 0.0)
    x, y = page.rational(X_RESOLUTION) * unit, page.rational(Y_RESOLUTION) * unit
    return (x, y) if x and y else None


def decode(page: Directory) -> Samples:
    """Decode a plain page to uint8 or uint16 (H, W, 1 to 4 channels); ValueError when bytes are missing.

    Pillow unpacks the bytes (it has libtiff), but it has no mode for most of these pixels. It is therefore
    given a page that says: one grey channel, as wide as the channels are together, and no prediction; and
    no BigTIFF, of which it reads only one of the two byte orders.
    """
    width, height = page.integer(WIDTH), page.integer(HEIGHT)
    channels = page.integer(CHANNELS, 1)
    colours = 3 if page.integer(PHOTOMETRIC, 1) == 2 else 1
    if channels < colours:
        raise DamagedError(f"it has {channels} channels, and {colours} colours")
    planes = channels if page.integer(PLANAR, 1) == 2 else 1
    alpha, premultiplied = _alpha_channel(page, colours, channels)
    wanted = [*range(colours), *([] if alpha is None else [alpha])]
    if planes == 1:
        samples = _plane(page, width, height, channels, 0, 1).reshape(height, width, channels)
        samples = samples[..., wanted]
    else:
        samples = np.stack([_plane(page, width, height, 1, plane, planes) for plane in wanted], axis=-1)
    if page.integer(PHOTOMETRIC, 1) == 0:
        samples[..., 0] = np.iinfo(samples.dtype).max - samples[..., 0]
    return _straight(samples) if premultiplied else samples


def _alpha_channel(page: Directory, colours: int, channels: int) -> tuple[int | None, bool]:
    """Which channel is alpha, and whether the colours were multiplied by it."""
    if EXTRA_SAMPLES not in page.entries:
        return (colours, False) if channels == colours + 1 else (None, False)
    for index, kind in enumerate(page.integers(EXTRA_SAMPLES)[: channels - colours]):
        if kind in (1, 2):
            return colours + index, kind == 1
    return None, False


def _plane(page: Directory, width: int, height: int, channels: int, plane: int, planes: int) -> Samples:
    """Unpack one plane to (H, W × channels)."""
    from PIL import Image

    bits, compression = page.integer(BITS), page.integer(COMPRESSION, 1)
    tiled = TILE_OFFSETS in page.entries
    offsets = page.integers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    sizes = page.integers(TILE_BYTES if tiled else STRIP_BYTES)
    rows = page.integer(TILE_HEIGHT) if tiled else min(page.integer(ROWS_PER_STRIP, height), height)
    across = page.integer(TILE_WIDTH) if tiled else width
    if not rows or not across:
        raise DamagedError("its pixels are cut into pieces of no size")
    number = -(-height // rows) * (-(-width // across))
    if len(offsets) < number * planes or len(sizes) < number * planes:
        raise DamagedError("pixels are missing")
    pieces = slice(plane * number, (plane + 1) * number)
    offsets, sizes = offsets[pieces], sizes[pieces]
    if any(offset + size > len(page.data) for offset, size in zip(offsets, sizes, strict=True)):
        raise DamagedError("pixels are missing at its end")
    if compression == 1 and sum(sizes) * 8 < width * height * channels * bits:
        raise DamagedError("pixels are missing")

    def longs(*numbers: int) -> tuple[int, bytes]:
        return LONG, struct.pack(f"{page.order}{len(numbers)}I", *numbers)

    def short(number: int) -> tuple[int, bytes]:
        return SHORT, struct.pack(page.order + "H", number)

    values = {
        WIDTH: longs(width * channels),
        HEIGHT: longs(height),
        BITS: short(bits),
        COMPRESSION: short(compression),
        PHOTOMETRIC: short(1),
        CHANNELS: short(1),
    }
    if tiled:
        values |= {TILE_WIDTH: longs(across * channels), TILE_HEIGHT: longs(rows)}
        values |= {TILE_OFFSETS: longs(*offsets), TILE_BYTES: longs(*sizes)}
    else:
        values |= {ROWS_PER_STRIP: longs(rows), STRIP_OFFSETS: longs(*offsets), STRIP_BYTES: longs(*sizes)}
    with Image.open(io.BytesIO(_with_page(page, values)), formats=("TIFF",)) as image:
        unpacked = np.asarray(image)
    samples = np.array(unpacked, np.uint8 if bits == 8 else np.uint16).reshape(height, width * channels)
    if compression in _PREDICTED and page.integer(PREDICTOR, 1) == 2:
        for start in range(0, width, across):
            part = samples[:, start * channels : (start + across) * channels]
            pixels = part.reshape(height, -1, channels)
            part[:] = np.cumsum(pixels, axis=1, dtype=samples.dtype).reshape(part.shape)
    return samples


def _with_page(page: Directory, values: dict[int, tuple[int, bytes]]) -> bytes:
    data = bytearray(page.data)
    data += bytes(-len(data) % 8)
    position = len(data)
    if position >= 2**32:
        raise ValueError("it has more than 4 GB")
    data[:8] = header(page.order, position)
    data += pack(values, position, page.order)
    return bytes(data)


def _straight(samples: Samples) -> Samples:
    """Divide the colours by the alpha that they were multiplied by."""
    top = np.iinfo(samples.dtype).max
    for row in samples:
        alpha = row[:, -1:].astype(np.uint64)
        colour = (row[:, :-1].astype(np.uint64) * np.uint64(top) + alpha // 2) // np.maximum(alpha, 1)
        row[:, :-1] = np.where(alpha > 0, np.minimum(colour, top), 0)
    return samples


def write_tiff(
    file: IO[bytes],
    samples: Samples,
    icc: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
) -> None:
    """Write uint8 or uint16 samples (H, W, 1 to 4 channels), packed without loss; ValueError beyond 4 GB.

    An EXIF block is a small TIFF file whose offsets count from its beginning. It is therefore put at the
    beginning of the file, where all of them stay true, and its first directory is merged into the page.
    """
    height, width, channels = samples.shape
    depth, order, block = samples.dtype.itemsize * 8, "<", b"II*\0\0\0\0\0"
    values: dict[int, tuple[int, bytes]] = {}
    if exif:
        directory = first_directory(exif)
        order, block = directory.order, exif
        values = {tag: value for tag, value in directory.values().items() if tag not in _OURS | {ICC}}
        for pointer in (EXIF_POINTER, GPS_POINTER):
            if pointer in values and directory.sub_directory(pointer) is None:
                del values[pointer]
    block += bytes(len(block) % 2)
    file.write(block)
    position = len(block)
    rows = max(1, _STRIP // (width * channels * samples.dtype.itemsize))
    offsets, sizes = [], []
    for start in range(0, height, rows):
        packed = zlib.compress(_predicted(samples[start : start + rows], order), 6)
        packed += bytes(len(packed) % 2)
        offsets.append(position)
        sizes.append(len(packed))
        file.write(packed)
        position += len(packed)
    if position + 16 * len(offsets) + len(icc or b"") + 4096 >= 2**32:
        raise ValueError("it has more than 4 GB, the most that a TIFF file can have")

    def shorts(*numbers: int) -> tuple[int, bytes]:
        return SHORT, struct.pack(f"{order}{len(numbers)}H", *numbers)

    def longs(*numbers: int) -> tuple[int, bytes]:
        return LONG, struct.pack(f"{order}{len(numbers)}I", *numbers)

    values |= {
        WIDTH: longs(width),
        HEIGHT: longs(height),
        BITS: shorts(*[depth] * channels),
        COMPRESSION: shorts(8),
        PHOTOMETRIC: shorts(1 if channels < 3 else 2),
        STRIP_OFFSETS: longs(*offsets),
        CHANNELS: shorts(channels),
        ROWS_PER_STRIP: longs(rows),
        STRIP_BYTES: longs(*sizes),
        PLANAR: shorts(1),
        PREDICTOR: shorts(2),
        SAMPLE_FORMAT: shorts(*[1] * channels),
    }
    if channels in (2, 4):
        values[EXTRA_SAMPLES] = shorts(2)
    if icc:
        values[ICC] = (UNDEFINED, icc)
    if dpi:
        values[RESOLUTION_UNIT] = shorts(2)
        for tag, number in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True):
            values[tag] = (RATIONAL, struct.pack(order + "II", round(number * 1000), 1000))
    file.write(pack(values, position, order))
    file.seek(4)
    file.write(struct.pack(order + "I", position))


def _predicted(samples: Samples, order: str) -> bytes:
    difference = samples.copy()
    difference[:, 1:] -= samples[:, :-1]
    packed: bytes = difference.astype(f"{order}u{samples.dtype.itemsize}").tobytes()
    return packed

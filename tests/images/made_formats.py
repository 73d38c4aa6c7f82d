"""Pictures made for the tests in formats that only further packages read."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from PIL import Image

from gpen.images.metadata.exif import ORIENTATION

Samples = np.ndarray[Any, Any]
HEIGHT, WIDTH = 64, 96  # of the raw files
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# XYZ of D65 to linear sRGB: a camera whose own colours are those of sRGB. Source: IEC 61966-2-1.
TO_SRGB = [3.2404542, -1.5371385, -0.4985314, -0.9692660, 1.8760108, 0.0415560, 0.0556434, -0.2040259, 1.0572252]
QUADRANTS = {(0, 0): (9, 3, 2), (0, 1): (2, 9, 3), (1, 0): (3, 2, 9), (1, 1): (9, 9, 9)}


def heic(
    samples: Samples, bits: int = 8, *, profile: bytes | None = None, premultiplied: bool = False, **more: Any
) -> bytes:
    """Encode uint8 samples, or uint16 ones of 10 or 12 bits, without loss."""
    channels = samples.shape[2]
    if bits == 8:
        image = pillow_heif.from_pillow(Image.fromarray(samples[..., 0] if channels == 1 else samples))
    else:
        shifted = (samples << (16 - bits)).astype(np.uint16)
        height, width = samples.shape[:2]
        image = pillow_heif.from_bytes(f"{MODES[channels]};16", (width, height), shifted.tobytes())
    if profile is not None:
        image.info["icc_profile"], image.info["icc_profile_type"] = profile, "prof"
    if premultiplied:
        image.premultiplied_alpha = True
    file = io.BytesIO()
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        image.save(file, quality=-1, chroma=444, **({"matrix_coefficients": 0} | more))
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[ORIENTATION], block[0x0110] = orientation, "A camera"
    return block.tobytes()


def avif(samples: Samples, bits: int = 8, **more: Any) -> bytes:
    """Encode without loss."""
    grey = samples.shape[2] < 3
    options = {"level": 100, "bitspersample": bits, "pixelformat": "400" if grey else "444"}
    options |= {} if grey else {"matrix": 0}
    return bytes(imagecodecs.avif_encode(samples[..., 0] if samples.shape[2] == 1 else samples, **(options | more)))


def jp2(samples: Samples, bits: int = 8, kind: str = "JP2", **more: Any) -> bytes:
    """Encode without loss."""
    data = samples[..., 0] if samples.shape[2] == 1 else samples
    options: dict[str, Any] = {"level": 0, "reversible": True, "bitspersample": bits, "codecformat": kind} | more
    return bytes(imagecodecs.jpeg2k_encode(data, **options))


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def jxl(samples: Samples, **more: Any) -> bytes:
    """Encode without loss."""
    data = samples[..., 0] if samples.shape[2] == 1 else samples
    return bytes(imagecodecs.jpegxl_encode(data, **({"lossless": True} | more)))


def contained(codestream: bytes, *parts: bytes) -> bytes:
    head = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return head + b"".join(parts) + box(b"jxlc", codestream)


def jpeg12(samples: Samples) -> bytes:
    """Encode uint16 samples of 12 bits, of which JPEG loses little."""
    data = np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    options = {} if samples.shape[2] == 1 else {"subsampling": "444"}
    return bytes(imagecodecs.jpeg8_encode(data, level=98, bitspersample=12, **options))


def scene(height: int = HEIGHT, width: int = WIDTH) -> Samples:
    """Linear light, uint16 (H, W, 3): a colour in each quadrant."""
    light = np.zeros((height, width, 3), np.uint16)
    for (row, column), colour in QUADRANTS.items():
        block = np.s_[row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2]
        light[block] = np.array(colour) * 5000
    return light


def dng(light: Samples, *, orientation: int = 1, neutral: tuple[float, ...] = (1, 1, 1), **more: Any) -> bytes:
    """A DNG file of a sensor behind red, green and blue filters (RGGB), which saw this light."""
    mosaic = light[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = light[::2, ::2, 0], light[1::2, 1::2, 2]

    def ratios(numbers: Any) -> list[int]:
        return [part for number in numbers for part in (round(number * 10000), 10000)]

    tags: list[tuple[Any, ...]] = [
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "A camera", True),
        (274, 3, 1, orientation, True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes([0, 1, 1, 2]), True),
        (50706, 1, 4, bytes([1, 4, 0, 0]), True),
        (50708, 2, 0, "A camera", True),
        (50717, 4, 1, 65535, True),
        (50721, 10, 9, ratios(TO_SRGB), True),
        (50728, 5, 3, ratios(neutral), True),
        (50778, 3, 1, 21, True),
    ]
    if "xmp" in more:
        tags.append((700, 1, len(more["xmp"]), more["xmp"], True))
    file = io.BytesIO()
    tifffile.imwrite(file, mosaic, photometric="cfa", extratags=tags, metadata=None, software=False)
    return file.getvalue()


def heic_of_tiles(tiles: list[Samples], columns: int, *, turns: int = 0, gain_map: bool = False) -> bytes:
    """An HEIC file put together from uint8 tiles of one size (H, W, 3), row by row, as telephones write them.

    turns: quarter turns anticlockwise that the file states. gain_map: whether the last tile is a gain map instead.
    """
    files = [heic(tile) for tile in tiles]
    start = files[0].index(b"hvcC") - 4
    coding = files[0][start : start + struct.unpack_from(">I", files[0], start)[0]]
    coded = [file[file.index(b"mdat") + 4 :] for file in files]
    height, width = tiles[0].shape[:2]
    numbers = list(range(1, len(tiles) + 1))
    parts, grid = (numbers[:-1] if gain_map else numbers), len(tiles) + 1
    rows = len(parts) // columns

    def full(kind: bytes, body: bytes, version: int = 0, flags: int = 0) -> bytes:
        return box(kind, struct.pack(">I", version << 24 | flags) + body)

    def entry(number: int, kind: bytes, *, hidden: bool) -> bytes:
        return full(b"infe", struct.pack(">HH4s", number, 0, kind) + b"\0", 2, int(hidden))

    entries = [entry(number, b"hvc1", hidden=True) for number in numbers] + [entry(grid, b"grid", hidden=False)]
    sizes = [(width, height), (width * columns, height * rows)]
    properties = [coding, *(full(b"ispe", struct.pack(">II", *size)) for size in sizes), box(b"irot", bytes([turns]))]
    properties.append(full(b"auxC", b"urn:com:apple:photo:2020:aux:hdrgainmap\0"))
    of_items = {number: bytes([0x81, 2]) for number in numbers} | {grid: bytes([3, 0x84])}
    references = box(b"dimg", struct.pack(f">HH{len(parts)}H", grid, len(parts), *parts))
    if gain_map:
        of_items[numbers[-1]] += bytes([5])
        references += box(b"auxl", struct.pack(">HHH", numbers[-1], 1, grid))
    associations = b"".join(struct.pack(">HB", number, len(kept)) + kept for number, kept in of_items.items())

    def meta(offset: int) -> bytes:
        places = struct.pack(">HH", 0x4400, len(of_items))
        for number, data in zip(numbers, coded, strict=True):
            places += struct.pack(">HHHHII", number, 0, 0, 1, offset, len(data))
            offset += len(data)
        places += struct.pack(">HHHHII", grid, 1, 0, 1, 0, 8)
        return full(
            b"meta",
            full(b"hdlr", struct.pack(">I4s12x", 0, b"pict") + b"\0")
            + full(b"pitm", struct.pack(">H", grid))
            + full(b"iinf", struct.pack(">H", len(entries)) + b"".join(entries))
            + full(b"iloc", places, 1)
            + full(b"iref", references)
            + box(
                b"iprp",
                box(b"ipco", b"".join(properties)) + full(b"ipma", struct.pack(">I", len(of_items)) + associations),
            )
            + box(b"idat", struct.pack(">4B2H", 0, 0, rows - 1, columns - 1, *sizes[1])),
        )

    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", b"".join(coded))

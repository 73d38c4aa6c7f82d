"""Pictures made for the tests, and files made by hand."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from gpen.images import read_picture

Samples = np.ndarray[Any, Any]


def made(height: int, width: int, channels: int, bits: int = 8) -> Samples:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(1).integers(0, 2**bits, (height, width, channels), dtype=kind)


def smooth(channels: int) -> Samples:
    y, x = np.mgrid[:48, :56]
    return (np.stack([np.sin(x / 11 + k) * np.cos(y / (9 + k)) for k in range(channels)], -1) * 90 + 128).astype(
        np.uint8
    )


def assert_samples(path: Path, expected: Samples, *, grey: bool | None = None) -> None:
    """Compare with uint8 or uint16 samples (H, W, 1 to 4 channels)."""
    found = read_picture(path, 1)
    top = np.iinfo(expected.dtype).max
    channels = expected.shape[2]
    assert found.bits == expected.dtype.itemsize * 8
    assert found.grey == (channels < 3 if grey is None else grey)
    colour = expected[..., :3] if channels > 2 else expected[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(np.rint(found.photo.astype(np.float64) * top), colour)
    if channels in (2, 4):
        assert found.alpha is not None
        np.testing.assert_array_equal(np.rint(found.alpha.astype(np.float64) * top), expected[..., -1])
    else:
        assert found.alpha is None


def png(samples: Samples, chunks: dict[bytes, bytes] | None = None, *, depth: int = 0, colour: int = -1) -> bytes:
    """Make a PNG file by hand, without filters: whole bytes for each sample, or the rows as given."""
    height, width, channels = samples.shape
    depth = depth or samples.dtype.itemsize * 8
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if colour < 0 else colour
    if depth < 8:
        bits = np.unpackbits(samples[..., 0][..., None], axis=2)[..., 8 - depth :].reshape(height, -1)
        rows = np.packbits(bits, axis=1)
    else:
        rows = samples.astype(f">u{depth // 8}").reshape(height, -1).view(np.uint8)
    pixels = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [*(chunks or {}).items(), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


def tiff(samples: Samples, *, planar: bool = False, **more: Any) -> bytes:
    channels = samples.shape[2]
    options: dict[str, Any] = {"photometric": "rgb" if channels > 2 else "minisblack", "metadata": None}
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    if channels == 1:
        samples = samples[..., 0]
    elif planar:
        samples = samples.transpose(2, 0, 1)
    if channels > 1:
        options["planarconfig"] = "separate" if planar else "contig"
    file = io.BytesIO()
    tifffile.imwrite(file, np.ascontiguousarray(samples), **(options | more))
    return file.getvalue()

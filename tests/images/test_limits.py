"""What a picture may take is limited by its samples, and by how often a decoder goes through it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import read_picture
from tests.files import saved


def deep(path: Path, channels: int, size: int = 200) -> Path:
    samples = np.zeros((size, size, channels), np.uint16)
    kinds = ["unspecified"] * (channels - 3)
    tifffile.imwrite(path, samples, photometric="rgb", extrasamples=kinds, compression="zlib", metadata=None)
    return path


def test_many_channels_count_as_more_pixels(tmp_path: Path) -> None:
    assert read_picture(deep(tmp_path / "a.tif", 4), 0.04).width == 200
    assert read_picture(deep(tmp_path / "a.tif", 16), 0.16).width == 200
    with pytest.raises(PhotoError, match=r"0\.04 megapixels of 32 bytes each, as much as 0\.16 megapixels"):
        read_picture(deep(tmp_path / "a.tif", 16), 0.15)


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = saved("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(scans(0))
    assert read_picture(path, 1.0).width == 56
    path.write_bytes(scans(300))
    with pytest.raises(PhotoError, match="a JPEG picture with 310 scans, far more than any program writes"):
        read_picture(path, 1.0)


def test_a_tiff_of_very_many_strips_is_refused(tmp_path: Path) -> None:
    """Each is read by itself, though it holds one pixel."""
    number = 300_000
    tags = [(256, 1), (257, number), (258, 8), (259, 1), (262, 1), (277, 1), (278, 1)]
    at = 8 + 2 + 12 * (len(tags) + 2) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries.insert(5, struct.pack("<HHII", 273, 4, number, at))
    entries.append(struct.pack("<HHII", 279, 4, number, at + 4 * number))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    pixels = struct.pack("<I", 8) * number + struct.pack("<I", 1) * number
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + pixels)
    with pytest.raises(PhotoError, match="is stored in 300000 strips or tiles, which cannot be restored"):
        read_picture(path, 1.0)


@pytest.mark.parametrize("reduced", [True, False])
def test_a_tiff_of_very_many_pages_is_refused_before_they_are_read(
    reduced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    Image.new("RGB", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data += bytes(len(data) % 2)
    directory = struct.unpack_from("<I", data, 4)[0]
    link = directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0]
    for _ in range(2000):
        struct.pack_into("<I", data, link, len(data))
        data += struct.pack("<HHHIII", 1, 254, 4, 1, int(reduced), 0)
        link = len(data) - 4
    path.write_bytes(data)
    read = []
    monkeypatch.setattr(tifffile.TiffPages, "__iter__", lambda pages: read.append(pages) or iter(()))
    with pytest.raises(PhotoError, match="has 2001 pages, which cannot be restored"):
        read_picture(path, 1.0)
    assert not read

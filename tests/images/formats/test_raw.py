"""Cameras' raw files, developed by LibRaw; the files are DNG, made by hand."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture, write_picture
from gpen.images.formats.raw import described
from gpen.images.metadata.exif import upright
from tests.images.made_formats import HEIGHT, QUADRANTS, WIDTH, XMP, dng, exif, scene


def read(tmp_path: Path, data: bytes) -> Picture:
    (tmp_path / "a.dng").write_bytes(data)
    return read_picture(tmp_path / "a.dng", 1)


def chromaticities(photo: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The shares of red, green and blue in the light of the middle of each quadrant, (4, 3)."""
    middles = [photo[HEIGHT * y // 4, WIDTH * x // 4].astype(np.float64) for y in (1, 3) for x in (1, 3)]
    light = [np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) for rgb in middles]
    return np.stack([rgb / rgb.sum() for rgb in light])


EXPECTED = np.array([np.array(colour) / sum(colour) for colour in QUADRANTS.values()])


def test_a_raw_file_is_developed_to_sixteen_bits_in_srgb(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(dng(scene()))  # whatever its name
    picture = read_picture(tmp_path / "a.jpg", 1)
    assert (picture.bits, picture.format, picture.icc) == (16, "camera raw", None)
    assert picture.photo.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(chromaticities(picture.photo) - EXPECTED).max() < 0.01
    assert picture.exif is not None
    assert b"A camera" in picture.exif
    assert "camera's white balance and default settings" in picture.metadata.notices[0]
    write_picture(tmp_path / "b.png", picture)
    assert (tmp_path / "b.png").read_bytes()[24] == 16


def test_the_white_balance_of_the_camera_is_used(tmp_path: Path) -> None:
    """Under light in which white is yellowish, the sensor sees less blue."""
    neutral = np.array([1, 1, 0.5])
    picture = read(tmp_path, dng((scene() * neutral).astype(np.uint16), neutral=tuple(neutral)))
    assert np.abs(chromaticities(picture.photo)[3] - 1 / 3).max() < 0.01


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_counts_once(tmp_path: Path, orientation: int) -> None:
    stored = read(tmp_path, dng(scene())).photo
    seen = read(tmp_path, dng(scene(), orientation=orientation))
    assert np.array_equal(seen.photo, upright(stored, orientation))
    write_picture(tmp_path / "b.tif", seen)
    assert read_picture(tmp_path / "b.tif", 1).photo.shape == seen.photo.shape


def test_xmp_is_kept_unless_it_tells_how_to_develop(tmp_path: Path) -> None:
    assert read(tmp_path, dng(scene(), xmp=XMP)).metadata.xmp == XMP
    settings = XMP.replace(b"xmlns:x=", b'xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmlns:x=')
    metadata = read(tmp_path, dng(scene(), xmp=settings)).metadata
    assert metadata.xmp is None
    assert "tells a raw converter" in metadata.notices[-1]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.98])
def test_files_that_are_cut_short(tmp_path: Path, share: float) -> None:
    data = dng(scene())
    with pytest.raises(PhotoError, match="is damaged or incomplete"):
        read(tmp_path, data[: int(len(data) * share)])


def test_sizes_are_checked_before_anything_is_developed(tmp_path: Path) -> None:
    data = dng(scene())
    for tag, old, new in ((256, WIDTH, 60000), (257, HEIGHT, 50000)):
        found = struct.pack("<HHIH", tag, 3, 1, old) if struct.pack("<HHIH", tag, 3, 1, old) in data else None
        entry = found or struct.pack("<HHII", tag, 4, 1, old)
        assert entry in data
        data = data.replace(entry, entry[:8] + struct.pack("<H" if found else "<I", new), 1)
    with pytest.raises(PhotoError, match="60000 × 50000 pixels"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "head",
    [b"FUJIFILMCCD-RAW ", b"II*\0\x10\0\0\0CR\x02\0", b"\0\0\0\x18ftypcrx \0\0\0\1", b"IIRO\x08\0\0\0", b"IIU\0"],
)
def test_other_raw_files_are_recognised(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(PhotoError, match="is a camera's raw file that LibRaw does not know, or a damaged one"):
        read(tmp_path, head + bytes(4000))


@pytest.mark.parametrize("head", [b"IIRO", b"IIRS", b"IIU\0"])
def test_exif_of_files_that_are_built_like_tiff(head: bytes) -> None:
    block, _ = described(head + dng(scene())[4:])
    assert block is not None
    assert b"A camera" in block


def test_exif_of_raf_files() -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 7)).save(file, "JPEG", exif=exif(6), xmp=XMP)
    head = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 100, len(file.getvalue()))
    block, metadata = described(head.ljust(100, b"\0") + file.getvalue() + bytes(50))
    assert block is not None
    assert b"A camera" in block
    assert metadata.xmp == XMP
    block, metadata = described(head + bytes(50))
    assert block is None
    assert "EXIF data are left out" in metadata.notices[-1]

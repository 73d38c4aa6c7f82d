"""JPEG with 12 bits per channel."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture
from gpen.images.metadata.exif import upright
from tests.images.made_formats import XMP, exif, jpeg12
from tests.profiles import SRGB, converted, rgb_profile

Y, X = np.mgrid[:48, :64]
SAMPLES = np.stack([Y * 60 + X * 17 + 50, X * 64, 4000 - Y * X], axis=-1).clip(0, 4095).astype(np.uint16)


def read(tmp_path: Path, data: bytes) -> Picture:
    (tmp_path / "a.jpg").write_bytes(data)
    return read_picture(tmp_path / "a.jpg", 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_bits_are_kept(tmp_path: Path, channels: int) -> None:
    picture = read(tmp_path, jpeg12(SAMPLES[..., :channels]))
    assert (picture.bits, picture.grey, picture.format) == (16, channels == 1, "JPEG")
    error = np.abs(picture.photo - SAMPLES[..., :channels] / 4095)
    assert error.mean() < 0.3 / 255
    assert error.max() < 3 / 255
    # Finer than 8 bits.
    assert len(np.unique(picture.photo)) > 400


def test_metadata_and_orientation(tmp_path: Path) -> None:
    icc, file = rgb_profile("Adobe RGB"), io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif(6), icc_profile=icc, xmp=XMP, dpi=(150, 300))
    head = file.getvalue()[: file.getvalue().index(b"\xff\xdb")]
    data = jpeg12(SAMPLES)
    picture = read(tmp_path, head + data[data.index(b"\xff\xdb") :])
    assert picture.icc == icc
    assert picture.metadata.xmp == XMP
    assert picture.exif is not None
    assert b"A camera" in picture.exif
    expected = upright(converted(np.rint(SAMPLES / 4095 * 255).astype(np.uint8), icc, SRGB), 6)
    assert picture.photo.shape == (64, 48, 3)
    assert np.abs(picture.photo * 255 - expected).mean() < 1


def test_files_that_are_cut_short(tmp_path: Path) -> None:
    data = jpeg12(SAMPLES)
    for size in (len(data) // 2, len(data) - 2):
        with pytest.raises(PhotoError, match="is damaged or incomplete"):
            read(tmp_path, data[:size])


def test_sizes_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    data = jpeg12(SAMPLES)
    at = data.index(b"\xff\xc1") + 5
    with pytest.raises(PhotoError, match="60000 × 50000 pixels"):
        read(tmp_path, data[:at] + struct.pack(">HH", 50000, 60000) + data[at + 4 :])


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg12(SAMPLES)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(PhotoError, match=r"is a JPEG picture with 12 bits per channel; install imagecodecs \(pip"):
        read(tmp_path, data)

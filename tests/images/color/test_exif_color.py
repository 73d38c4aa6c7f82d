"""EXIF's mark of Adobe RGB counts as a profile where there is none."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from gpen.images import read_picture, write_picture
from tests.images.made import Samples, made, png, smooth
from tests.profiles import SRGB, converted, gamma_curve, grey_profile, rgb_profile

ADOBE_RGB = rgb_profile("Adobe RGB", gamma_curve(563 / 256))
UNCALIBRATED, R03 = 0xFFFF, b"R03\0"


def exif(space: int = UNCALIBRATED, index: bytes = R03, order: str = "<", at: int | None = None) -> bytes:
    """A block with a colour space and an interoperability index; at: where it says that the latter is."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHIII", 1, 34665, 4, 1, 26, 0)
    second = struct.pack(order + "HHHIH2xHHIII", 2, 40961, 3, 1, space, 40965, 4, 1, at or 56, 0)
    return head + first + second + struct.pack(order + "HHHI4sI", 1, 1, 2, 4, index, 0)


def jpeg(samples: Samples, block: bytes, **more: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(samples.squeeze())
    image.save(file, "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0" + block, **more)
    return file.getvalue()


def tiff_of(samples: Samples, order: str = "<") -> bytes:
    """A marked TIFF file."""
    block, size = exif(order=order), (len(exif()) - 8)
    file = io.BytesIO()
    tags = [(34666, 4, 1, 0, True)]
    tifffile.imwrite(file, samples, byteorder=order, photometric="rgb", metadata=None, extratags=tags)
    data, shift = bytearray(file.getvalue()), len(file.getvalue())
    entry = data.index(struct.pack(order + "HHI", 34666, 4, 1))
    struct.pack_into(order + "H", data, entry, 34665)  # which tifffile refuses to write
    data += block[-size:]
    struct.pack_into(order + "I", data, entry + 8, shift + 26 - 8)
    pointer = data.index(struct.pack(order + "HHI", 40965, 4, 1), shift)
    struct.pack_into(order + "I", data, pointer + 8, shift + 56 - 8)
    return bytes(data)


def stored(data: bytes) -> Samples:
    """The samples, by another decoder, without any profile."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_a_marked_photo_is_in_adobe_rgb(tmp_path: Path, kind: str, order: str) -> None:
    samples, block, file = smooth(3), exif(order=order), io.BytesIO()
    if kind == "jpg":
        data = jpeg(samples, block)
    elif kind == "png":
        data = png(samples, {b"eXIf": block})
    elif kind == "webp":
        Image.fromarray(samples).save(file, "WEBP", lossless=True, exact=True, exif=block)
        data = file.getvalue()
    else:
        data = tiff_of(samples, order)
    (tmp_path / f"a.{kind}").write_bytes(data)
    picture = read_picture(tmp_path / f"a.{kind}", 1)
    expected = converted(stored(data), ADOBE_RGB, SRGB)
    assert np.abs(expected.astype(int) - stored(data)).max() > 30
    assert np.abs(picture.photo * 255 - expected).max() <= 1
    # Whoever reads the result, here Little CMS, sees the same; the samples are those of the file.
    write_picture(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), stored(data))
        icc, kept = image.info["icc_profile"], image.getexif()
    assert np.abs(converted(stored(data), icc, SRGB).astype(int) - expected).max() <= 1
    assert kept.get_ifd(34665)[40961] == UNCALIBRATED
    assert kept.get_ifd(40965)[1] == "R03"


def test_the_profile_has_the_numbers_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(smooth(3), exif()))
    icc = read_picture(tmp_path / "a.jpg", 1).icc
    found = ImageCms.ImageCmsProfile(io.BytesIO(icc or b"")).profile
    given = ImageCms.ImageCmsProfile(io.BytesIO(ADOBE_RGB)).profile
    for name in ("red_primary", "green_primary", "blue_primary"):
        np.testing.assert_allclose(getattr(found, name)[0], getattr(given, name)[0], atol=3e-5)


def test_a_grey_photo_has_its_curve(tmp_path: Path) -> None:
    shades = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(8, 0).repeat(8, 1)
    (tmp_path / "a.jpg").write_bytes(data := jpeg(shades, exif()))
    found = read_picture(tmp_path / "a.jpg", 1)
    assert found.grey
    assert np.abs(found.photo * 255 - converted(stored(data), grey_profile(563 / 256), SRGB)).max() < 1


@pytest.mark.parametrize(
    "block",
    [exif(space=1), exif(space=2), exif(index=b"R98\0"), exif(index=b"R03X"), exif(at=9999), exif()[:-8], exif()[:40]],
)
def test_other_photos_are_in_srgb(tmp_path: Path, block: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data := jpeg(smooth(3), block))
    found = read_picture(tmp_path / "a.jpg", 1)
    assert found.icc is None
    np.testing.assert_array_equal(np.rint(found.photo * 255), stored(data))


def test_what_a_file_says_itself_comes_first(tmp_path: Path) -> None:
    wide = rgb_profile("ProPhoto")
    (tmp_path / "a.jpg").write_bytes(jpeg(smooth(3), exif(), icc_profile=wide))
    assert read_picture(tmp_path / "a.jpg", 1).icc == wide
    (tmp_path / "a.png").write_bytes(png(made(20, 20, 3), {b"sRGB": b"\0", b"eXIf": exif()}))
    assert read_picture(tmp_path / "a.png", 1).stored is None


def test_a_photo_in_cmyk_is_in_srgb_already(tmp_path: Path) -> None:
    file = io.BytesIO()
    image = Image.fromarray(smooth(3)).convert("CMYK")
    image.save(file, "JPEG", quality=95, exif=b"Exif\0\0" + exif())
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    found = read_picture(tmp_path / "a.jpg", 1)
    assert found.icc is None
    np.testing.assert_array_equal(np.rint(found.photo * 255), np.asarray(Image.open(file).convert("RGB")))


def test_tiff_keeps_the_mark(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(smooth(3), exif()))
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.jpg", 1))
    write_picture(tmp_path / "c.tif", read_picture(tmp_path / "b.tif", 1))
    with Image.open(tmp_path / "c.tif") as image:
        assert image.getexif().get_ifd(40965)[1] == "R03"
        assert tifffile.imread(tmp_path / "c.tif").shape == smooth(3).shape


def test_a_damaged_index_in_tiff_costs_nothing_else(tmp_path: Path) -> None:
    data = bytearray(tiff_of(smooth(3)))
    at = data.index(struct.pack("<HHI", 40965, 4, 1))
    struct.pack_into("<I", data, at + 8, len(data) - 1)
    (tmp_path / "a.tif").write_bytes(data)
    found = read_picture(tmp_path / "a.tif", 1)
    assert found.icc is None
    block = Image.Exif()
    block.load(found.exif or b"")
    assert block.get_ifd(34665)[40961] == UNCALIBRATED

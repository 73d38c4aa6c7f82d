"""Files that lack something other than pixels are read: pixels are never made up, and nothing else is."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gpen.errors import PhotoError
from gpen.images import read_picture, write_picture
from tests.images.made import Samples, made, png, smooth


def saved(kind: str, samples: Samples, **more: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(samples).save(file, kind, **more)
    return file.getvalue()


def pixels(path: Path, data: bytes) -> Samples:
    path.write_bytes(data)
    return np.rint(read_picture(path, 1).photo * 255).astype(np.uint8)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_without_its_end_marker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, progressive: bool, cut: int
) -> None:
    data = saved("JPEG", smooth(3), quality=95, progressive=progressive)
    found = pixels(tmp_path / "a.jpg", data[:-cut])
    np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(data))))
    assert "a.jpg lacks the mark at its end" in caplog.text


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_last_pixels_is_refused(tmp_path: Path, progressive: bool) -> None:
    data = saved("JPEG", made(48, 56, 3), quality=95, progressive=progressive)
    for cut in (6, 20, 200):
        with pytest.raises(PhotoError, match="damaged or incomplete"):
            pixels(tmp_path / "a.jpg", data[:-cut])


def test_a_progressive_jpeg_cut_between_its_scans_is_refused(tmp_path: Path) -> None:
    data = saved("JPEG", smooth(3), progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for at in scans[1:]:
        with pytest.raises(PhotoError, match="damaged or incomplete"):
            pixels(tmp_path / "a.jpg", data[:at])


def with_wrong_checksum(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind)
    (size,) = struct.unpack_from(">I", data, at - 4)
    wrong = bytearray(data)
    wrong[at + 4 + size] ^= 1
    return bytes(wrong)


@pytest.mark.parametrize("kind", [b"tEXt", b"iCCP", b"eXIf"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_wrong_checksum_in_what_only_describes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: bytes, bits: int
) -> None:
    samples = made(5, 8, 3, bits)
    content = {b"iCCP": b"x\0\0" + zlib.compress(b"profile"), b"tEXt": b"Comment\0hi", b"eXIf": b"II*\0"}[kind]
    (tmp_path / "a.png").write_bytes(with_wrong_checksum(png(samples, {b"pHYs": bytes(9), kind: content}), kind))
    found = read_picture(tmp_path / "a.png", 1)
    np.testing.assert_array_equal(np.rint(found.photo * (2**bits - 1)), samples)
    assert f"a.png: damaged information in it is left out: {kind.decode()}." in caplog.text


@pytest.mark.parametrize("kind", [b"IHDR", b"tRNS"])
def test_a_wrong_checksum_in_what_decides_about_pixels(tmp_path: Path, kind: bytes) -> None:
    data = png(made(5, 8, 3), {b"tRNS": bytes(6)})
    with pytest.raises(PhotoError, match="damaged or incomplete"):
        pixels(tmp_path / "a.png", with_wrong_checksum(data, kind))


def tags(path: Path) -> dict[int, Any]:
    with Image.open(path) as image:
        return dict(image.getexif())


def exif_entry(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack(order + "HHI", tag, kind, count) + (
        struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("fault", ["no link", "too many", "half an entry", "lost value", "lost directory"])
def test_exif_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path: Path, order: str, fault: str) -> None:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    turned, maker = exif_entry(order, 274, 3, 1, 6), struct.pack(order + "HHI4s", 271, 2, 4, b"abc\0")
    lost = {
        "half an entry": maker[:7],
        "lost value": exif_entry(order, 305, 2, 30, 60),
        "lost directory": exif_entry(order, 34665, 4, 1, 5000),
    }.get(fault, b"")
    count = {"no link": 2, "too many": 20}.get(fault, 3)
    end = b"" if fault in ("no link", "half an entry") else bytes(4)
    block = head + struct.pack(order + "H", count) + maker + turned + lost + end
    samples = smooth(3)
    (tmp_path / "a.jpg").write_bytes(saved("JPEG", samples, exif=b"Exif\0\0" + block, quality=95))
    found = read_picture(tmp_path / "a.jpg", 1)
    stored = np.asarray(Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(np.rint(found.photo * 255), np.rot90(stored, -1))
    for suffix in (".jpg", ".png", ".tif"):
        write_picture(tmp_path / f"b{suffix}", found)
        again = tags(tmp_path / f"b{suffix}")
        assert (again[271], again.get(274, 1)) == ("abc", 1)
        assert 305 not in again
        assert 34665 not in again


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_lost_value_of_exif_costs_no_value_behind_it(tmp_path: Path, order: str) -> None:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entries = exif_entry(order, 271, 2, 8, 8 + 2 + 24 + 4) + exif_entry(order, 305, 2, 30, 5000)
    block = head + struct.pack(order + "H", 2) + entries + bytes(4) + b"a maker\0"
    (tmp_path / "a.jpg").write_bytes(saved("JPEG", smooth(3), exif=b"Exif\0\0" + block))
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.jpg", 1))
    assert tags(tmp_path / "b.jpg") == {271: "a maker"}


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {}</rdf:Description></x:xmpmeta>'


def test_orientation_in_the_texts_of_png(tmp_path: Path) -> None:
    samples = made(5, 8, 3)
    exif = Image.Exif()
    exif[274], exif[306] = 6, "1931:05:01 12:00:00"
    raw = exif.tobytes()
    digits = raw.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    profile, attribute, element = PngInfo(), PngInfo(), PngInfo()
    profile.add_text("Raw profile type exif", f"\nexif\n{len(raw):8d}\n{lines}\n", zip=True)
    attribute.add_itxt("XML:com.adobe.xmp", XMP.format('tiff:Orientation="6">'))
    element.add_itxt("XML:com.adobe.xmp", XMP.format("><tiff:Orientation>6</tiff:Orientation>"))
    for name, text in (("profile", profile), ("attribute", attribute), ("element", element)):
        Image.fromarray(samples).save(tmp_path / f"{name}.png", pnginfo=text)
        found = read_picture(tmp_path / f"{name}.png", 1)
        np.testing.assert_array_equal(np.rint(found.photo * 255), np.rot90(samples, -1))
    write_picture(tmp_path / "b.png", read_picture(tmp_path / "profile.png", 1))
    assert tags(tmp_path / "b.png")[306] == "1931:05:01 12:00:00"
    # EXIF has the last word.
    upright = Image.Exif()
    upright[274] = 1
    Image.fromarray(samples).save(tmp_path / "both.png", pnginfo=attribute, exif=upright)
    assert read_picture(tmp_path / "both.png", 1).photo.shape == (5, 8, 3)


def test_no_resolution_is_made_up(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    (tmp_path / "a.jpg").write_bytes(saved("JPEG", smooth(3), exif=exif))
    assert read_picture(tmp_path / "a.jpg", 1).dpi is None
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.jpg", 1))
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.info["jfif_unit"] == 0
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    (tmp_path / "c.jpg").write_bytes(saved("JPEG", smooth(3), exif=exif))
    assert read_picture(tmp_path / "c.jpg", 1).dpi == (300, 300)


@pytest.mark.parametrize("alpha", [False, True])
def test_lossless_webp_stays_lossless(tmp_path: Path, alpha: bool) -> None:
    samples = made(20, 30, 4 if alpha else 3)
    (tmp_path / "a.webp").write_bytes(saved("WEBP", samples, lossless=True, exact=True))
    write_picture(tmp_path / "b.webp", read_picture(tmp_path / "a.webp", 1))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.webp")), samples)
    write_picture(tmp_path / "c.webp", read_picture(tmp_path / "a.webp", 1), quality=80)
    assert (np.asarray(Image.open(tmp_path / "c.webp")) != samples).any()
    # Nor does a lossy one grow.
    (tmp_path / "d.webp").write_bytes(saved("WEBP", samples, quality=80))
    write_picture(tmp_path / "e.webp", read_picture(tmp_path / "d.webp", 1))
    assert not read_picture(tmp_path / "e.webp", 1).lossless_webp

"""JPEG XL: pixels, and what codestream and container say about them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pylibjxl
import pytest
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture
from gpen.images.metadata.exif import ORIENTATION, upright
from gpen.images.metadata.metadata import LARGEST
from tests.images.made import assert_samples, made, smooth
from tests.images.made_formats import XMP, box, contained, exif, jxl
from tests.profiles import SRGB, converted, rgb_profile, srgb_curve, table_curve

Fields = list[tuple[int, int]]
"""Values and their numbers of bits, the first in the lowest bits."""


SIZE: Fields = [(1, 1), (5, 5), (3, 3)]
"""64 × 48 pixels."""
EIGHT: Fields = [(0, 1), (0, 2), (1, 1)]
"""8 bits per channel, and buffers of 16."""
RGB: Fields = [(0, 1), (0, 1), (0, 2)]
"""Colours that are stated by what follows."""
DEFAULT: Fields = [(1, 1)]
"""Those of sRGB."""


def name_of(number: int) -> Fields:
    """A number that stands for something, from 2 on."""
    return [(2, 2), (number - 2, 4)] if number < 18 else [(3, 2), (number - 18, 6)]


def coordinates(*numbers: float) -> Fields:
    """Each in millionths, doubled to leave room for a sign, in one of four lengths."""
    fields: Fields = []
    for number in numbers:
        value = round(number * 2e6)
        starts = (0, 1 << 19, 1 << 20, 1 << 21)
        which = max(index for index in range(4) if value >= starts[index])
        fields += [(which, 2), (value - starts[which], (19, 19, 20, 21)[which])]
    return fields


def header(*fields: tuple[int, int]) -> bytes:
    number = position = 0
    for value, bits in fields:
        number |= value << position
        position += bits
    return b"\xff\x0a" + number.to_bytes(-(-position // 8), "little")


def read(tmp_path: Path, data: bytes) -> Picture:
    (tmp_path / "a.jxl").write_bytes(data)
    return read_picture(tmp_path / "a.jxl", 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_eight_bits_are_kept(tmp_path: Path, channels: int) -> None:
    samples = made(48, 64, channels)
    (tmp_path / "a.png").write_bytes(jxl(samples))
    assert_samples(tmp_path / "a.png", samples)
    assert read_picture(tmp_path / "a.png", 1).format == "JPEG XL"


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_more_bits_become_sixteen(tmp_path: Path, bits: int, channels: int) -> None:
    """Of linear light, which is what the encoder states of more than 8 bits."""
    samples = np.random.default_rng(2).integers(0, 2**bits, (48, 64, channels), dtype=np.uint16)
    picture = read(tmp_path, jxl(samples, bitspersample=bits))
    exact = samples / (2**bits - 1)
    colours = exact[..., :3] if channels > 2 else exact[..., :1]
    assert picture.bits == 16
    assert picture.stored is not None
    assert np.abs(picture.stored - colours * 65535).max() <= 0.501
    assert np.abs(picture.photo - srgb_curve(colours)).max() < 2e-3
    assert np.abs(picture.photo - srgb_curve(colours)).mean() < 2e-4
    if channels in (2, 4):
        assert picture.alpha is not None
        assert np.abs(picture.alpha - exact[..., -1]).max() <= 0.51 / 65535


def test_lossy_pictures_keep_their_colours(tmp_path: Path) -> None:
    samples = smooth(3)
    picture = read(tmp_path, jxl(samples, lossless=False, distance=0.5))
    assert np.abs(picture.photo * 255 - samples).mean() < 2
    assert picture.stored is None


def test_pictures_made_of_jpeg_are_the_jpeg(tmp_path: Path) -> None:
    icc, file = rgb_profile("Adobe RGB"), io.BytesIO()
    Image.fromarray(smooth(3)).save(file, "JPEG", quality=90, exif=exif(6), icc_profile=icc, xmp=XMP)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    picture = read(tmp_path, imagecodecs.jpegxl_encode_jpeg(file.getvalue(), usecontainer=True))
    expected = read_picture(tmp_path / "a.jpg", 1)
    assert np.array_equal(picture.photo, expected.photo)
    assert (picture.icc, picture.exif, picture.metadata.xmp) == (icc, expected.exif, XMP)
    assert picture.format == "JPEG XL"


@pytest.mark.parametrize("compressed", [False, True])
def test_metadata_in_the_container(tmp_path: Path, compressed: bool) -> None:
    block = bytes(4) + exif(6).removeprefix(b"Exif\0\0")
    parts = [(b"Exif", block), (b"xml ", XMP)]
    if compressed:
        parts = [(b"brob", kind + bytes(imagecodecs.brotli_encode(body))) for kind, body in parts]
    data = contained(jxl(made(48, 64, 3)), *(box(*part) for part in parts), box(b"jumb", b"?"), box(b"abcd", b"?"))
    picture = read(tmp_path, data)
    # The orientation in EXIF does not count in JPEG XL.
    assert picture.photo.shape == (48, 64, 3)
    assert picture.metadata.xmp == XMP
    assert picture.exif is not None
    tags = Image.Exif()
    tags.load(picture.exif)
    assert (tags[0x0110], tags[ORIENTATION]) == ("A camera", 1)
    assert len(picture.metadata.notices) == 2
    assert "C2PA" in picture.metadata.notices[0]
    assert "boxes abcd" in picture.metadata.notices[1]


def test_a_bomb_in_the_container(tmp_path: Path) -> None:
    bomb = b"xml " + bytes(imagecodecs.brotli_encode(bytes(LARGEST + 1)))
    assert len(bomb) < 1000
    picture = read(tmp_path, contained(jxl(made(48, 64, 3)), box(b"brob", bomb)))
    assert picture.metadata.xmp is None
    assert picture.metadata.notices == ("Information in it that is damaged or too long is left out.",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_the_codestream(tmp_path: Path, orientation: int) -> None:
    samples = made(48, 64, 3)
    seen = np.rint(read(tmp_path, rewritten(jxl(samples), orientation)).photo * 255)
    assert np.array_equal(seen, upright(samples, orientation))


def rewritten(codestream: bytes, orientation: int = 1, colours: Fields = DEFAULT) -> bytes:
    """An encoder's codestream of 64 × 48 pixels with another header; frames begin at a whole byte."""
    bits = int.from_bytes(codestream[2:10], "little")
    assert bits & 0x1FF == 1 | 5 << 1 | 3 << 6  # 48 pixels high, 4:3
    assert bits >> 9 & 3 == 0  # neither all defaults nor further fields
    plain, rest = bits >> 11 & 0x7F, bits >> 18
    assert rest & 0xF == 0b1001  # sRGB, no extensions, default matrices
    end = 2 + -(-22 // 8)
    fields = [*SIZE, (0, 1), (1, 1), (orientation - 1, 3), (0, 3), (plain, 7), *colours, (1, 1), (0, 2), (1, 1)]
    return header(*fields) + codestream[end:]


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("Display P3", [(1, 2), (2, 2), (9, 4)]),
        ("Adobe RGB", [(1, 2), (2, 2), (0, 4), *coordinates(0.64, 0.33, 0.21, 0.71, 0.15, 0.06)]),
    ],
)
def test_stated_colours(tmp_path: Path, name: str, stated: Fields) -> None:
    """White D65, primaries, and the exponent 1 / 2.2."""
    samples = made(48, 64, 3)
    picture = read(tmp_path, rewritten(jxl(samples), colours=[*RGB, *stated, (1, 1), (4545455, 24), (1, 2)]))
    assert np.abs(picture.photo * 255 - converted(samples, rgb_profile(name), SRGB)).max() <= 1.5
    assert picture.icc is not None
    assert np.array_equal(picture.stored, samples)


@pytest.mark.parametrize(("transfer", "warned"), [(16, True), (18, True), (13, False)])
def test_the_log_names_photos_of_high_dynamic_range(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, transfer: int, warned: bool
) -> None:
    colours = [*RGB, (1, 2), (2, 2), (7, 4), (0, 1), *name_of(transfer), (1, 2)]
    read(tmp_path, rewritten(jxl(made(48, 64, 3)), colours=colours))
    assert (f"The colours of {tmp_path / 'a.jxl'} are coded for high dynamic range" in caplog.text) is warned


PREMULTIPLIED: Fields = [(0, 1), (0, 2), (0, 1), (0, 2), (0, 2), (0, 2), (1, 1)]
BLACK: Fields = [(0, 1), *name_of(4), (0, 1), (0, 2), (0, 2), (0, 2)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            [(1, 1), (0, 3), (0, 1), (0, 1), (1, 1), *[(0, 2)] * 3, (0, 1), *EIGHT, (0, 2), (0, 1), *DEFAULT],
            "is animated",
        ),
        ([(0, 1), (1, 1), (0, 2), (7, 4), (1, 1), (0, 2), (0, 1), *DEFAULT], "floating-point numbers with 32 bits"),
        ([(0, 1), (0, 1), (3, 2), (23, 6), (1, 1), (0, 2), (0, 1), *DEFAULT], "has 24 bits per channel"),
        ([(0, 1), *EIGHT, (1, 2), *BLACK, (0, 1), *DEFAULT], "holds CMYK colours"),
        ([(0, 1), *EIGHT, (1, 2), *PREMULTIPLIED, (0, 1), *DEFAULT], "multiplied with its transparency"),
        ([(0, 1), *EIGHT, (0, 2), (1, 1), (0, 1), (1, 1), (0, 2)], "with loss and has an ICC profile"),
    ],
)
def test_unsupported_pictures(tmp_path: Path, fields: Fields, expected: str) -> None:
    """By their headers, before anything is decoded."""
    with pytest.raises(PhotoError, match=expected):
        read(tmp_path, header(*SIZE, (0, 1), *fields))


@pytest.mark.parametrize("channels", [3, 4])
def test_a_profile_inside(tmp_path: Path, channels: int) -> None:
    icc, samples = rgb_profile("Adobe RGB"), made(48, 64, channels)
    picture = read(tmp_path, pylibjxl.encode(samples, lossless=True, icc=icc))
    assert picture.icc == icc
    assert np.abs(picture.photo * 255 - converted(samples[..., :3], icc, SRGB)).max() < 1


@pytest.mark.parametrize("loss", [{"lossless": True}, {"distance": 0.5}])
def test_a_profile_of_tables_inside(tmp_path: Path, loss: dict[str, Any]) -> None:
    """What it says of colours stays, also of a lossy file whose colours are not coded as XYB."""
    icc = rgb_profile("ProPhoto", table_curve(list(np.linspace(0, 1, 256) ** 1.5)))
    samples = np.rint(smooth(3) * 0.9 + 12).astype(np.uint8)
    data = pylibjxl.encode(samples, icc=icc, **loss)
    picture = read(tmp_path, data)
    assert picture.icc == icc
    assert np.abs(picture.photo * 255 - converted(pylibjxl.decode(data), icc, SRGB)).max() < 1.5


def test_what_a_profile_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pylibjxl.encode(made(48, 64, 3), lossless=True, icc=rgb_profile("Adobe RGB"))
    monkeypatch.setitem(sys.modules, "pylibjxl", None)
    with pytest.raises(PhotoError, match=r"a JPEG XL picture with an ICC profile; .* pylibjxl"):
        read(tmp_path, data)


@pytest.mark.parametrize("in_container", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.98])
def test_files_that_are_cut_short(tmp_path: Path, share: float, in_container: bool) -> None:
    data = jxl(made(48, 64, 3))
    data = contained(data) if in_container else data
    with pytest.raises(PhotoError, match="is damaged or incomplete"):
        read(tmp_path, data[: int(len(data) * share)])


def test_sizes_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    fields = [(0, 1), (3, 2), (49999, 30), (0, 3), (3, 2), (59999, 30), (1, 1)]
    with pytest.raises(PhotoError, match="60000 × 50000 pixels"):
        read(tmp_path, header(*fields))
    with pytest.raises(PhotoError, match="60000 × 50000 pixels"):
        read(tmp_path, contained(header(*fields), box(b"jbrd", b"?")))

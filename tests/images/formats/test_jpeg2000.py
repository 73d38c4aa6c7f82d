"""JPEG 2000: as JP2 files and bare codestreams, with what their boxes say."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture, write_picture
from tests.images.made import assert_samples, made
from tests.images.made_formats import XMP, box, exif, jp2
from tests.profiles import SRGB, converted, rgb_profile

UUID_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
IPTC = b"\x1c\x02\x78\x00\x07Caption"


def with_boxes(data: bytes, *more: bytes) -> bytes:
    """With more boxes before the codestream."""
    at = data.index(b"jp2c") - 4
    return data[:at] + b"".join(more) + data[at:]


def with_header(data: bytes, *more: bytes, without: bytes = b"") -> bytes:
    """With other boxes in the header, in place of those of a kind."""
    start = data.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", data, start)
    body, position = b"", start + 8
    while position < start + size:
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] != without:
            body += data[position : position + length]
        position += length
    return data[:start] + box(b"jp2h", body + b"".join(more)) + data[start + size :]


def read(tmp_path: Path, data: bytes) -> Picture:
    (tmp_path / "a.jp2").write_bytes(data)
    return read_picture(tmp_path / "a.jp2", 1)


@pytest.mark.parametrize("kind", ["JP2", "J2K"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_samples_are_kept(tmp_path: Path, kind: str, bits: int, channels: int) -> None:
    samples = made(48, 64, channels, bits)
    (tmp_path / "a.png").write_bytes(jp2(samples, bits, kind))
    assert_samples(tmp_path / "a.png", samples)
    assert read_picture(tmp_path / "a.png", 1).format == "JPEG 2000"


@pytest.mark.parametrize("bits", [4, 12])
def test_other_depths_become_eight_or_sixteen(tmp_path: Path, bits: int) -> None:
    kind = np.uint16 if bits > 8 else np.uint8
    samples = np.random.default_rng(2).integers(0, 2**bits, (48, 64, 3)).astype(kind)
    picture = read(tmp_path, jp2(samples, bits))
    assert picture.bits == (16 if bits > 8 else 8)
    assert np.abs(picture.photo - samples / (2**bits - 1)).max() <= 0.51 / (2**picture.bits - 1)


def test_files_of_another_encoder(tmp_path: Path) -> None:
    samples = made(48, 64, 3)
    Image.fromarray(samples).save(tmp_path / "a.jp2", irreversible=False)
    assert_samples(tmp_path / "a.jp2", samples)


def test_profiles_metadata_and_resolution(tmp_path: Path) -> None:
    samples, icc = made(48, 64, 3), rgb_profile("Adobe RGB")
    data = with_header(
        jp2(samples),
        box(b"colr", b"\x02\0\0" + icc),
        box(b"res ", box(b"resd", struct.pack(">HHHHbb", 300, 254, 150, 254, 4, 4))),
        without=b"colr",
    )
    block = exif(1).removeprefix(b"Exif\0\0")
    parts = [UUID_XMP + XMP, b"JpgTiffExif->JP2" + block, bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38") + IPTC]
    picture = read(tmp_path, with_boxes(data, *(box(b"uuid", part) for part in parts), box(b"abcd", b"?")))
    assert picture.icc == icc
    assert np.abs(picture.photo * 255 - converted(samples, icc, SRGB)).max() <= 1.5
    assert picture.metadata.xmp == XMP
    assert picture.metadata.iptc == IPTC
    assert picture.exif is not None
    assert b"A camera" in picture.exif
    assert picture.dpi == pytest.approx((150, 300))
    assert picture.metadata.notices == ("Data of its boxes abcd is left out: what they hold is not known.",)
    write_picture(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["icc_profile"] == icc
        assert np.array_equal(np.asarray(image), samples)


def test_sycc(tmp_path: Path) -> None:
    colours = made(48, 64, 3)
    stored = np.asarray(Image.fromarray(colours).convert("YCbCr"))
    data = with_header(jp2(stored, mct=False), box(b"colr", b"\x01\0\0" + struct.pack(">I", 18)), without=b"colr")
    expected = np.asarray(Image.fromarray(stored, "YCbCr").convert("RGB"))
    assert np.abs(read(tmp_path, data).photo * 255 - expected).max() <= 1.01


@pytest.mark.parametrize(("code", "name"), [(12, "CMYK"), (14, "Lab")])
def test_unsupported_colours(tmp_path: Path, code: int, name: str) -> None:
    data = with_header(jp2(made(48, 64, 4)), box(b"colr", b"\x01\0\0" + struct.pack(">I", code)), without=b"colr")
    with pytest.raises(PhotoError, match=f"holds {name} colours"):
        read(tmp_path, data)


def test_a_profile_of_other_colours(tmp_path: Path) -> None:
    icc = rgb_profile("Adobe RGB").replace(b"RGB XYZ ", b"CMYKXYZ ", 1)
    data = with_header(jp2(made(48, 64, 4)), box(b"colr", b"\x02\0\0" + icc), without=b"colr")
    with pytest.raises(PhotoError, match="holds CMYK colours"):
        read(tmp_path, data)


def test_a_last_channel_that_is_no_alpha(tmp_path: Path) -> None:
    definitions = struct.pack(">H", 4) + b"".join(struct.pack(">HHH", n, 0, n + 1) for n in range(3))
    definitions += struct.pack(">HHH", 3, 65535, 65535)
    samples = made(48, 64, 4)
    picture = read(tmp_path, with_header(jp2(samples), box(b"cdef", definitions), without=b"cdef"))
    assert picture.alpha is None
    assert np.array_equal(np.rint(picture.photo * 255), samples[..., :3])
    assert "last channel" in picture.metadata.notices[0]


def test_a_palette(tmp_path: Path) -> None:
    indices = np.random.default_rng(2).integers(0, 3, (48, 64, 1), dtype=np.uint8)
    colours = np.array([(255, 0, 10), (0, 200, 20), (30, 40, 50)], np.uint8)
    data = with_header(
        jp2(indices),
        box(b"pclr", struct.pack(">HB3B", 3, 3, 7, 7, 7) + colours.tobytes()),
        box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, n) for n in range(3))),
        box(b"colr", b"\x01\0\0" + struct.pack(">I", 16)),
        without=b"colr",
    )
    assert np.array_equal(np.rint(read(tmp_path, data).photo * 255), colours[indices[..., 0]])


@pytest.mark.parametrize("kind", ["JP2", "J2K"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.98])
def test_files_that_are_cut_short(tmp_path: Path, kind: str, share: float) -> None:
    data = jp2(made(48, 64, 3), kind=kind)
    with pytest.raises(PhotoError, match="is damaged or incomplete"):
        read(tmp_path, data[: int(len(data) * share)])


def test_sizes_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    data = jp2(made(48, 64, 3), kind="J2K")
    with pytest.raises(PhotoError, match="60000 × 50000 pixels"):
        read(tmp_path, data[:8] + struct.pack(">II", 60000, 50000) + data[16:])


@pytest.mark.parametrize(
    ("offset", "value", "expected"),
    [(42, 0x87, "signed numbers of 8 bits"), (43, 2, "channels of different sizes"), (42, 31, "different sizes")],
)
def test_unsupported_channels(tmp_path: Path, offset: int, value: int, expected: str) -> None:
    """Bytes of the marker SIZ: depths and steps of the channels."""
    data = bytearray(jp2(made(48, 64, 1 if value == 0x87 else 3), kind="J2K"))
    data[offset] = value
    with pytest.raises(PhotoError, match=expected):
        read(tmp_path, bytes(data))

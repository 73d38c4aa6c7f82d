"""HEIC pictures: pixels, depths, orientation, colours and metadata, against files made by libheif's encoder."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture, write_picture
from gpen.images.metadata.exif import ORIENTATION
from gpen.images.metadata.metadata import GAIN_MAP, MOTION_PHOTO
from tests.images.made import assert_samples, made
from tests.images.made_formats import XMP, box, exif, heic, heic_of_tiles
from tests.profiles import SRGB, converted, rgb_profile


def read(tmp_path: Path, data: bytes) -> Picture:
    (tmp_path / "a.heic").write_bytes(data)
    return read_picture(tmp_path / "a.heic", 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_eight_bits_are_kept(tmp_path: Path, channels: int) -> None:
    samples = made(48, 64, channels)
    (tmp_path / "a.jpg").write_bytes(heic(samples))  # whatever its name
    assert_samples(tmp_path / "a.jpg", samples)
    assert read_picture(tmp_path / "a.jpg", 1).format == "HEIC"


@pytest.mark.parametrize("bits", [10, 12])
def test_more_bits_become_sixteen_from_black_to_white(tmp_path: Path, bits: int) -> None:
    samples = np.random.default_rng(2).integers(0, 2**bits, (48, 64, 3), dtype=np.uint16)
    samples[0, 0], samples[0, 1] = 0, 2**bits - 1
    picture = read(tmp_path, heic(samples, bits))
    assert picture.bits == 16
    exact = samples / np.float64(2**bits - 1)
    assert np.abs(picture.photo - exact).max() <= 0.51 / 65535
    write_picture(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").read_bytes()[24] == 16
    assert np.array_equal(read_picture(tmp_path / "a.png", 1).photo, picture.photo)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_counts_once(tmp_path: Path, orientation: int) -> None:
    """Corners of known colours, as the orientations of EXIF are defined."""
    stored = np.zeros((48, 64, 3), np.uint8)
    red, green, blue, white = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    stored[:24, :32], stored[:24, 32:], stored[24:, :32], stored[24:, 32:] = red, green, blue, white
    # Top left, top right, bottom left, bottom right of the upright photo.
    corners = {
        1: (red, green, blue, white),
        2: (green, red, white, blue),
        3: (white, blue, green, red),
        4: (blue, white, red, green),
        5: (red, blue, green, white),
        6: (blue, red, white, green),
        7: (white, green, blue, red),
        8: (green, white, red, blue),
    }[orientation]
    picture = read(tmp_path, heic(stored, exif=exif(orientation)))
    assert (picture.width, picture.height) == ((64, 48) if orientation < 5 else (48, 64))
    seen = np.rint(picture.photo * 255).astype(int)
    assert [tuple(seen[y, x]) for y in (4, -5) for x in (4, -5)] == list(corners)
    write_picture(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        tags = image.getexif()
        assert tags.get(ORIENTATION, 1) == 1
        assert tags[0x0110] == "A camera"
        assert image.size == (picture.width, picture.height)


def test_orientation_in_exif_alone_does_not_count(tmp_path: Path) -> None:
    data, tag = heic(made(48, 64, 3), exif=exif(1)), struct.pack(">HHI", ORIENTATION, 3, 1)
    position = data.index(tag) + len(tag)
    data = data[:position] + struct.pack(">H", 6) + data[position + 2 :]
    assert read(tmp_path, data).photo.shape == (48, 64, 3)


def test_profiles(tmp_path: Path) -> None:
    samples, icc = made(48, 64, 3), rgb_profile("Adobe RGB")
    picture = read(tmp_path, heic(samples, profile=icc))
    assert picture.icc == icc
    assert np.abs(picture.photo * 255 - converted(samples, icc, SRGB)).max() <= 1.5
    write_picture(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["icc_profile"] == icc
        assert np.array_equal(np.asarray(image), samples)


def test_code_points_become_a_profile(tmp_path: Path) -> None:
    samples = made(48, 64, 3)
    picture = read(tmp_path, heic(samples, color_primaries=12, transfer_characteristics=4))
    expected = converted(samples, rgb_profile("Display P3"), SRGB)  # whose exponent is 2.2 there
    assert picture.icc is not None
    assert np.abs(picture.photo * 255 - expected).max() <= 1.5
    assert np.abs(converted(samples, picture.icc, SRGB).astype(int) - expected).max() <= 1.5


@pytest.mark.parametrize(("transfer", "warned"), [(16, True), (18, True), (13, False)])
def test_the_log_names_photos_of_high_dynamic_range(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, transfer: int, warned: bool
) -> None:
    read(tmp_path, heic(made(48, 64, 3), color_primaries=9, transfer_characteristics=transfer))
    assert (f"The colours of {tmp_path / 'a.heic'} are coded for high dynamic range" in caplog.text) is warned


def test_metadata(tmp_path: Path) -> None:
    picture = read(tmp_path, heic(made(48, 64, 3), exif=exif(1), xmp=XMP))
    assert picture.metadata.xmp == XMP
    assert picture.exif is not None
    assert b"A camera" in picture.exif
    assert picture.metadata.notices == ()


def test_further_pictures_are_said(tmp_path: Path) -> None:
    first = pillow_heif.from_pillow(Image.fromarray(made(48, 64, 3)))
    first.add_from_pillow(Image.fromarray(made(32, 64, 3)))
    first.add_from_pillow(Image.fromarray(made(32, 64, 3)))
    file = io.BytesIO()
    first.save(file, quality=-1, chroma=444, matrix_coefficients=0)
    picture = read(tmp_path, file.getvalue())
    assert (picture.width, picture.height) == (64, 48)
    assert picture.metadata.notices == ("2 further pictures in its file are left out.",)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.98])
def test_files_that_are_cut_short(tmp_path: Path, share: float) -> None:
    data = heic(made(48, 64, 3))
    with pytest.raises(PhotoError, match="is damaged or incomplete") as caught:
        read(tmp_path, data[: int(len(data) * share)])
    assert str(caught.value).endswith("again.")


def test_damaged_headers_never_raise_another_error(tmp_path: Path) -> None:
    data = heic(made(48, 64, 3), exif=exif(6), xmp=XMP)
    random = np.random.default_rng(5)
    header = data.index(b"mdat")
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(3):
            broken[int(random.integers(12, header))] = int(random.integers(256))
        try:
            read(tmp_path, bytes(broken))
        except PhotoError as error:
            assert str(error).endswith(".")  # noqa: PT017 - some are read all the same


def test_sizes_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    data = heic(made(48, 64, 3))
    position = data.index(b"ispe") + 8
    data = data[:position] + struct.pack(">II", 60000, 50000) + data[position + 8 :]
    with pytest.raises(PhotoError, match="60000 × 50000 pixels, which is 3000 megapixels"):
        read(tmp_path, data)


def test_sequences(tmp_path: Path) -> None:
    data = struct.pack(">I4s4sI4s", 24, b"ftyp", b"hevc", 0, b"hevc") + b"msf1" + struct.pack(">I4s", 8, b"moov")
    with pytest.raises(PhotoError, match="is a sequence of pictures"):
        read(tmp_path, data)


def test_tiles_are_put_together_and_turned_once(tmp_path: Path) -> None:
    tiles = [np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8) for n in range(6)]
    whole = np.concatenate([np.concatenate(tiles[:3], axis=1), np.concatenate(tiles[3:], axis=1)])
    picture = read(tmp_path, heic_of_tiles(tiles, 3, turns=3))
    assert np.array_equal(np.rint(picture.photo * 255), np.rot90(whole, 3))
    assert picture.metadata.size == (128, 192)
    assert picture.metadata.notices == ()


def test_a_gain_map_is_said(tmp_path: Path) -> None:
    tiles = [np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8) for n in range(3)]
    picture = read(tmp_path, heic_of_tiles(tiles, 2, gain_map=True))
    assert np.array_equal(np.rint(picture.photo * 255), np.concatenate(tiles[:2], axis=1))
    assert picture.metadata.notices == (GAIN_MAP,)


def test_tiles_that_are_missing(tmp_path: Path) -> None:
    tiles = [np.zeros((64, 64, 3), np.uint8)] * 2
    with pytest.raises(PhotoError, match=r"pixels are missing at its end|is cut off"):
        read(tmp_path, heic_of_tiles(tiles, 2)[:-5])


def test_kinds_of_items_that_are_not_text(tmp_path: Path) -> None:
    """pi-heif would crash, and take the whole program with it."""
    samples = made(48, 64, 3)
    data = heic(samples, exif=exif(1), xmp=XMP).replace(b"Exif\0\0\0\0", b"\xffxif\0\0\0\0", 1)
    assert b"\xffxif" in data
    picture = read(tmp_path, data.replace(b"application/rdf+xml", b"\xffpplication/rdf+xml"))
    assert np.array_equal(np.rint(picture.photo * 255), samples)


def test_what_is_behind_the_picture(tmp_path: Path) -> None:
    samples = made(48, 64, 3)
    picture = read(tmp_path, heic(samples) + box(b"mpvd", b"a video") + b"\xff\xff\xff\xffSEFT and more")
    assert np.array_equal(np.rint(picture.photo * 255), samples)
    assert picture.metadata.notices == (MOTION_PHOTO,)


@pytest.mark.parametrize("bits", [8, 10])
def test_premultiplied_alpha_becomes_straight(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    samples = np.random.default_rng(3).integers(0, top + 1, (48, 64, 4)).astype(np.uint16 if bits > 8 else np.uint8)
    samples[..., 3] = np.maximum(samples[..., 3], top // 2)
    stored = samples.copy()
    stored[..., :3] = np.rint(samples[..., :3] * (samples[..., 3:] / top))
    picture = read(tmp_path, heic(stored, bits, premultiplied=True))
    assert np.abs(picture.photo - samples[..., :3] / top).max() <= 1.1 / top
    assert picture.alpha is not None
    assert np.abs(picture.alpha - samples[..., 3] / top).max() <= 0.51 / (2**picture.bits - 1)


def test_a_file_without_its_header_is_damaged(tmp_path: Path) -> None:
    """No sequence of pictures, whose header has another name."""
    for kind in (b"heic", b"avif"):
        with pytest.raises(PhotoError, match="is damaged or incomplete: its header is missing"):
            read(tmp_path, box(b"ftyp", kind + b"\0\0\0\0mif1" + kind) + bytes(200))

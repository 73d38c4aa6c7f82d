"""AVIF pictures: with all of their bits by imagecodecs, and with Pillow alone."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture
from gpen.images.metadata.exif import ORIENTATION, upright
from tests.images.made import assert_samples, made
from tests.images.made_formats import XMP, avif, exif
from tests.profiles import SRGB, converted, rgb_profile


def by_pillow(image: Image.Image, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "AVIF", quality=100, subsampling="4:4:4", **more)
    return file.getvalue()


def read(tmp_path: Path, data: bytes) -> Picture:
    (tmp_path / "a.avif").write_bytes(data)
    return read_picture(tmp_path / "a.avif", 1)


@pytest.fixture(params=["imagecodecs", "Pillow"])
def each_decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Pillow":
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
    return str(request.param)


@pytest.mark.usefixtures("each_decoder")
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_eight_bits_are_kept(tmp_path: Path, channels: int) -> None:
    samples = made(48, 64, channels)
    (tmp_path / "a.png").write_bytes(avif(samples))
    assert_samples(tmp_path / "a.png", samples)
    assert read_picture(tmp_path / "a.png", 1).format == "AVIF"


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_more_bits_become_sixteen(tmp_path: Path, bits: int, channels: int) -> None:
    samples = np.random.default_rng(2).integers(0, 2**bits, (48, 64, channels), dtype=np.uint16)
    picture = read(tmp_path, avif(samples, bits))
    assert picture.bits == 16
    colours = samples[..., :3] if channels > 2 else samples[..., :1].repeat(3, axis=2)
    assert np.abs(picture.photo - colours / np.float64(2**bits - 1)).max() <= 0.51 / 65535
    if channels in (2, 4):
        assert picture.alpha is not None
        assert np.abs(picture.alpha - samples[..., -1] / np.float64(2**bits - 1)).max() <= 0.51 / 65535
    assert picture.metadata.notices == ()


def test_bits_that_pillow_drops_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(2).integers(0, 1024, (48, 64, 3), dtype=np.uint16)
    data = avif(samples, 10)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    picture = read(tmp_path, data)
    assert picture.bits == 8
    assert np.abs(picture.photo - samples / 1023).max() < 1.1 / 255
    (notice,) = picture.metadata.notices
    assert notice.startswith("Its 10 bits per channel are read as 8; install imagecodecs (pip install")


@pytest.mark.usefixtures("each_decoder")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_counts_once(tmp_path: Path, orientation: int) -> None:
    stored = np.asarray(Image.effect_noise((8, 6), 90).resize((64, 48), Image.Resampling.NEAREST).convert("RGB"))
    picture = read(tmp_path, by_pillow(Image.fromarray(stored), exif=exif(orientation)))
    expected = upright(stored, orientation)
    assert picture.photo.shape == expected.shape
    assert np.abs(picture.photo * 255 - expected).max() < 12
    assert picture.exif is not None
    tags = Image.Exif()
    tags.load(picture.exif)
    assert tags.get(ORIENTATION, 1) == 1
    assert tags[0x0110] == "A camera"


@pytest.mark.usefixtures("each_decoder")
def test_profiles_and_xmp(tmp_path: Path) -> None:
    samples, icc = made(48, 64, 3) // 2 + 60, rgb_profile("Adobe RGB")
    data = by_pillow(Image.fromarray(samples), icc_profile=icc, xmp=XMP)
    picture = read(tmp_path, data)
    with Image.open(io.BytesIO(data)) as image:
        stored = np.asarray(image)
    assert picture.icc == icc
    assert picture.metadata.xmp == XMP
    assert np.abs(picture.photo * 255 - converted(stored, icc, SRGB)).max() <= 2


def test_code_points_become_a_profile(tmp_path: Path) -> None:
    samples = made(48, 64, 3)
    picture = read(tmp_path, avif(samples, primaries=12, transfer=4))
    assert np.abs(picture.photo * 255 - converted(samples, rgb_profile("Display P3"), SRGB)).max() <= 1.5


def test_a_clean_aperture_is_cut_out(tmp_path: Path) -> None:
    """A property clap of 40 × 30 pixels, 4 right of and 2 below the middle, in place of one that does not count."""
    samples = made(48, 64, 3)
    data = avif(samples)
    assert read(tmp_path, with_clap(data, 40, 30, 4, 2)).photo.shape == (30, 40, 3)
    seen = read(tmp_path, with_clap(data, 40, 30, 4, 2)).photo
    assert np.array_equal(np.rint(seen * 255), samples[11:41, 16:56])


def with_clap(data: bytes, *numbers: int) -> bytes:
    """The file with one more property of its only picture, at the end of each list; offsets move along."""
    body = b"".join(struct.pack(">iI", number, 1) for number in numbers)
    prop = struct.pack(">I4s", 8 + len(body), b"clap") + body
    shift = len(prop) + 1
    ipco, ipma = data.index(b"ipco") - 4, data.index(b"ipma") - 4
    (ipco_size,), (ipma_size,) = struct.unpack_from(">I", data, ipco), struct.unpack_from(">I", data, ipma)
    assert ipco + ipco_size == ipma
    count, position = 0, ipco + 8
    while position < ipma:
        (size,) = struct.unpack_from(">I", data, position)
        count, position = count + 1, position + size
    entries = bytearray(data[ipma : ipma + ipma_size])
    assert struct.unpack_from(">I", entries, 12) == (1,)
    entries[18] += 1
    entries += bytes([0x80 | (count + 1)])
    entries[:4] = struct.pack(">I", len(entries))
    result = bytearray(data[:ipma] + prop + entries + data[ipma + ipma_size :])
    for kind, grows in ((b"meta", shift), (b"iprp", shift), (b"ipco", len(prop))):
        at = result.index(kind) - 4
        struct.pack_into(">I", result, at, struct.unpack_from(">I", result, at)[0] + grows)
    iloc = result.index(b"iloc") + 4
    assert result[iloc + 4 : iloc + 6] == b"\x44\x00"
    assert result[iloc] == 0
    struct.pack_into(">I", result, iloc + 14, struct.unpack_from(">I", result, iloc + 14)[0] + shift)
    return bytes(result)


@pytest.mark.usefixtures("each_decoder")
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.98])
def test_files_that_are_cut_short(tmp_path: Path, share: float) -> None:
    data = avif(made(48, 64, 3))
    with pytest.raises(PhotoError, match="is damaged or incomplete"):
        read(tmp_path, data[: int(len(data) * share)])


@pytest.mark.usefixtures("each_decoder")
def test_sizes_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    data = avif(made(48, 64, 3))
    position = data.index(b"ispe") + 8
    with pytest.raises(PhotoError, match="60000 × 50000 pixels"):
        read(tmp_path, data[:position] + struct.pack(">II", 60000, 50000) + data[position + 8 :])


def test_animations(tmp_path: Path) -> None:
    frames = [Image.fromarray(made(48, 64, 3)), Image.fromarray(made(48, 64, 3)).rotate(90)]
    with pytest.raises(PhotoError, match="is a sequence of pictures"):
        read(tmp_path, by_pillow(frames[0], save_all=True, append_images=frames[1:]))

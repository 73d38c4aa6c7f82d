"""PNG chunks that say what colours mean: they count as a profile."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from gpen.images import read_picture, write_picture
from gpen.images.color.png import color_profile
from tests.images.made import made, png
from tests.profiles import SRGB, converted, grey_profile, rgb_profile, srgb_curve

P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
BROKEN = (31270, 32900, 68000, 0, 26500, 69000, 15000, 6000)
SAMPLES = made(30, 40, 3)


def gamma(value: int) -> dict[bytes, bytes]:
    return {b"gAMA": struct.pack(">I", value)}


def points(*values: int) -> dict[bytes, bytes]:
    return {b"cHRM": struct.pack(">8I", *values)}


def read(tmp_path: Path, chunks: dict[bytes, bytes], samples: Any = SAMPLES):
    path = tmp_path / "a.png"
    path.write_bytes(png(samples, chunks))
    return read_picture(path, 1)


def test_primaries_and_gamma(tmp_path):
    picture = read(tmp_path, gamma(45455) | points(*P3))
    expected = converted(SAMPLES, rgb_profile("Display P3"), SRGB)
    assert np.abs(picture.photo * 255 - expected).max() <= 1
    # What is written says the same to Little CMS, and has the same samples.
    write_picture(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as image:
        assert np.array_equal(np.asarray(image), SAMPLES)
        icc = image.info["icc_profile"]
    assert np.abs(converted(SAMPLES, icc, SRGB).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_linear_light(tmp_path, channels, bits):
    samples = made(30, 40, channels, bits)
    picture = read(tmp_path, gamma(100000), samples)
    colours = samples[..., :1] if channels < 3 else samples[..., :3]
    expected = srgb_curve(colours / np.iinfo(samples.dtype).max)
    # Profiles hold primaries in steps of 1/65536, and sRGB's slope in shadows is 12.92.
    assert np.abs(picture.photo - expected).max() < (2e-3 if channels > 2 else 1e-5)
    assert np.abs(picture.photo - expected).mean() < 2e-4
    assert picture.icc[16:20] == (b"GRAY" if channels < 3 else b"RGB ")
    write_picture(tmp_path / "b.png", picture)
    again = read_picture(tmp_path / "b.png", 1)
    assert np.array_equal(again.photo, picture.photo)
    assert again.icc == picture.icc


def test_primaries_alone_have_the_curve_of_srgb(tmp_path):
    seen = read(tmp_path, points(*P3)).photo
    with_gamma = read(tmp_path, gamma(45455) | points(*P3)).photo
    assert 0.01 < np.abs(seen - with_gamma).max() < 0.07


@pytest.mark.parametrize(("code", "name"), [((12, 4, 0, 1), "Display P3"), ((1, 13, 0, 1), None), ((12, 13, 0, 1), "")])
def test_coded_colors(tmp_path, code, name):
    picture = read(tmp_path, {b"cICP": bytes(code)} | gamma(100000))
    if name:
        assert np.abs(picture.photo * 255 - converted(SAMPLES, rgb_profile(name), SRGB)).max() <= 1
    elif name is None:
        assert np.array_equal(np.rint(picture.photo * 255), SAMPLES)
        assert picture.stored is None
    else:
        assert np.array_equal(picture.photo, read(tmp_path, points(*P3)).photo)


def test_srgb_is_said_and_costs_nothing(tmp_path):
    for channels in (1, 3):
        samples = made(20, 20, channels)
        picture = read(tmp_path, {b"sRGB": b"\0"} | gamma(45455), samples)
        assert picture.stored is None
        assert np.array_equal(np.rint(picture.photo * 255)[..., :channels], samples)
        described = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc)).profile
        assert described.xcolor_space.strip() == ("GRAY" if channels == 1 else "RGB")


def test_a_profile_comes_before_gamma_and_after_coded_colors(tmp_path):
    Image.fromarray(SAMPLES).save(tmp_path / "b.png", icc_profile=rgb_profile("ProPhoto"))
    data = (tmp_path / "b.png").read_bytes()
    start = data.index(b"iCCP") - 4
    (size,) = struct.unpack(">I", data[start : start + 4])
    embedded = {b"iCCP": data[start + 8 : start + 8 + size]}
    assert read(tmp_path, embedded | gamma(100000)).icc == rgb_profile("ProPhoto")
    coded = read(tmp_path, embedded | {b"cICP": bytes((1, 13, 0, 1))})
    assert np.array_equal(np.rint(coded.photo * 255), SAMPLES)


@pytest.mark.parametrize(
    "chunks",
    [
        {},
        gamma(0),
        gamma(2**31),
        points(*BROKEN),
        points(*([0] * 8)),
        {b"cICP": bytes((9, 16, 0, 1))},
        {b"cICP": bytes((200, 200, 0, 1))},
        {b"cICP": b"\1"},
    ],
)
def test_what_states_nothing_possible_is_ignored(tmp_path, chunks):
    picture = read(tmp_path, chunks)
    assert (picture.icc, picture.stored) == (None, None)
    assert np.array_equal(np.rint(picture.photo * 255), SAMPLES)


@pytest.mark.parametrize(("transfer", "warned"), [(16, True), (18, True), (13, False)])
def test_the_log_names_photos_of_high_dynamic_range(tmp_path, caplog, transfer, warned):
    read(tmp_path, {b"cICP": bytes((9, transfer, 0, 1))})
    assert (f"The colours of {tmp_path / 'a.png'} are coded for high dynamic range" in caplog.text) is warned


@pytest.mark.parametrize("chunks", [{b"gAMA": b"\0"}, {b"cHRM": bytes(3)}])
def test_chunks_of_another_length_are_ignored(chunks):
    """Pillow refuses such files; this is for versions that do not."""
    assert color_profile(png(SAMPLES, chunks), None, Path("a.png")) is None


def test_a_grey_gamma_is_that_of_a_profile(tmp_path):
    shades = np.arange(256, dtype=np.uint8)[None, :, None]
    found = read(tmp_path, gamma(round(100000 / 1.8)), shades).photo[0, :, 0] * 255
    assert np.abs(found - converted(shades[..., 0], grey_profile(1.8), SRGB)[0, :, 0]).max() < 1

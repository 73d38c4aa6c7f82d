"""Photos are read from the space of their profile into sRGB, and written back to it."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import read_picture, write_picture
from gpen.images.color.icc import ColorConversion, why_unused
from gpen.images.formats.png import decode_16
from tests.images.made import made, png, tiff
from tests.profiles import SRGB, converted, gamma_curve, grey_profile, profile, rgb_profile

FILES = [(suffix, bits, channels) for suffix in (".png", ".tif") for bits in (8, 16) for channels in (1, 2, 3, 4)]
TABLES = profile(b"RGB ", {b"A2B0": bytes(100)})


def write(path: Path, samples: Any, icc: bytes) -> Path:
    """Write samples (H, W, 1 to 4 channels) as they are, with a profile."""
    chunks = {b"iCCP": b"profile\0\0" + zlib.compress(icc)}
    path.write_bytes(tiff(samples, iccprofile=icc) if path.suffix == ".tif" else png(samples, chunks))
    return path


def stored(path: Path) -> Any:
    """The samples in a file (H, W, channels), whatever its profile."""
    if path.suffix == ".tif":
        samples = tifffile.imread(path)
    elif path.read_bytes()[24] == 16:
        samples = decode_16(path.read_bytes())
    else:
        with Image.open(path) as image:
            samples = np.asarray(image)
    return samples[..., None] if samples.ndim == 2 else samples


@pytest.mark.parametrize(("suffix", "bits", "channels"), FILES)
@pytest.mark.parametrize("icc", [rgb_profile("ProPhoto"), grey_profile(1.4)])
def test_a_photo_is_read_in_srgb(tmp_path, suffix, bits, channels, icc):
    samples = made(40, 50, channels)
    grey = channels < 3
    path = write(tmp_path / f"a{suffix}", samples if bits == 8 else samples.astype(np.uint16) * 257, icc)
    picture = read_picture(path, 1)
    if not grey and icc[16:20] == b"GRAY":
        assert picture.icc is None
        return
    colours = samples[..., 0] if grey else samples[..., :3]
    if grey and icc[16:20] != b"GRAY":
        colours = np.repeat(colours[..., None], 3, axis=2)
    assert (picture.icc, picture.bits, picture.grey) == (icc, bits, grey)
    assert np.abs(picture.photo * 255 - converted(colours, icc, SRGB)).max() <= 1
    assert picture.photo.min() >= 0
    assert picture.photo.max() <= 1
    if channels in (2, 4):
        assert np.array_equal(np.rint(picture.alpha * 255), samples[..., -1])


@pytest.mark.parametrize(("suffix", "bits", "channels"), FILES)
@pytest.mark.parametrize("icc", [rgb_profile("ProPhoto"), grey_profile(2.2), rgb_profile("Adobe RGB", gamma_curve(3))])
def test_pixels_that_are_not_changed_keep_their_samples(tmp_path, suffix, bits, channels, icc):
    samples = made(40, 50, channels, bits)
    samples[:10] //= 200  # shadows, where steps of the profile are far finer than those of sRGB
    picture = read_picture(write(tmp_path / f"a{suffix}", samples, icc), 1)
    photo = picture.photo.copy()
    photo[20:30, 5:25] = (0.2, 0.5, 0.4)
    write_picture(tmp_path / f"b{suffix}", dataclasses.replace(picture, photo=photo))
    after = stored(tmp_path / f"b{suffix}")
    colours = samples.shape[2] - (channels in (2, 4))
    same = np.ones((40, 50), bool)
    same[20:30, 5:25] = False
    assert np.array_equal(after[same], samples[same])
    changed = after[20:30, 5:25, :colours]
    assert len(np.unique(changed.reshape(-1, colours), axis=0)) == 1
    if channels >= 3 and icc[16:20] == b"RGB ":
        back = converted(np.full((1, 1, 3), changed[0, 0] // (257 if bits == 16 else 1), np.uint8), icc, SRGB)
        assert np.abs(back[0, 0] - np.array((0.2, 0.5, 0.4)) * 255).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_srgb_costs_nothing(tmp_path, suffix, monkeypatch):
    picture = made(20, 30, 3)
    options = {".webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(picture).save(tmp_path / f"a{suffix}", icc_profile=SRGB, **options)
    Image.fromarray(picture).save(tmp_path / f"bare{suffix}", **options)
    read_picture(tmp_path / f"a{suffix}", 1)  # recognises the profile
    for name in ("to_srgb", "from_srgb"):
        monkeypatch.setattr(ColorConversion, name, None)
    found, bare = (read_picture(tmp_path / f"{name}{suffix}", 1) for name in ("a", "bare"))
    assert (found.icc, found.stored) == (SRGB, None)
    assert np.array_equal(found.photo, bare.photo)
    write_picture(tmp_path / f"b{suffix}", found)


def test_another_format_gets_the_same_colours(tmp_path):
    icc = rgb_profile("Display P3")
    samples = made(24, 24, 3)
    picture = read_picture(write(tmp_path / "a.png", samples, icc), 1)
    write_picture(tmp_path / "b.webp", picture, quality=100)
    with Image.open(tmp_path / "b.webp") as image:
        assert image.info["icc_profile"] == icc
        assert np.array_equal(np.asarray(image), samples)


def test_a_photo_of_another_size_is_converted_back(tmp_path):
    icc = rgb_profile("Adobe RGB")
    picture = read_picture(write(tmp_path / "a.png", np.full((8, 8, 3), 90, np.uint8), icc), 1)
    larger = np.repeat(np.repeat(picture.photo, 2, axis=0), 2, axis=1)
    write_picture(tmp_path / "b.png", dataclasses.replace(picture, photo=larger))
    assert (stored(tmp_path / "b.png") == 90).all()


@pytest.mark.parametrize("damaged", [TABLES, rgb_profile("Adobe RGB")[:300]])
def test_a_profile_that_cannot_be_used_is_kept_and_the_log_says_why(tmp_path, caplog, damaged):
    samples = made(20, 30, 3)
    picture = read_picture(write(tmp_path / "a.tif", samples, damaged), 1)
    assert f"The colour profile of {tmp_path / 'a.tif'} {why_unused(damaged)}, so its colours are taken" in caplog.text
    assert picture.icc == damaged
    assert np.array_equal(np.rint(picture.photo * 255), samples)
    write_picture(tmp_path / "b.tif", picture)
    assert read_picture(tmp_path / "b.tif", 1).icc == damaged
    assert np.array_equal(stored(tmp_path / "b.tif"), samples)


def test_values_that_are_none_are_refused_in_every_space(tmp_path):
    picture = read_picture(write(tmp_path / "a.png", made(8, 8, 3), rgb_profile("ProPhoto")), 1)
    for value in (np.nan, np.inf):
        photo = picture.photo.copy()
        photo[2, 3, 1] = value
        with pytest.raises(PhotoError, match="NaN or Inf"):
            write_picture(tmp_path / "b.png", dataclasses.replace(picture, photo=photo))

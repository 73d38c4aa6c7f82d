"""TIFF's own colour tags count as a profile where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpen.images import left_out, read_picture, write_picture
from gpen.images.picture import Picture
from tests.images.made import Samples, made, smooth, tiff
from tests.profiles import (
    D65,
    SPACES,
    SRGB,
    converted,
    grey_profile,
    matrix,
    profile,
    rgb_profile,
    srgb_curve,
    table_curve,
    xyz,
)

TRANSFER, WHITE, PRIMARIES, RANGE = 301, 318, 319, 342
ADOBE, P3 = SPACES["Adobe RGB"][0], SPACES["Display P3"][0]
BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


def points(tag: int, *chromaticities: tuple[float, float], kind: int = 5) -> tuple[Any, ...]:
    numbers = [number for point in chromaticities for number in point]
    if kind == 5:
        return (tag, kind, len(numbers), [part for n in numbers for part in (round(n * 10**6), 10**6)], True)
    return (tag, kind, len(numbers), numbers, True)


def transfer(*curves: Samples) -> tuple[Any, ...]:
    """Curves of light, [0, 1], by sample."""
    light = np.concatenate([np.rint(curve * 65535).astype(np.uint16) for curve in curves])
    return (TRANSFER, 3, light.size, light.tolist(), True)


def power(exponent: float, bits: int = 8) -> Samples:
    return np.linspace(0, 1, 1 << bits) ** exponent


def read(tmp_path: Path, samples: Samples, *tags: tuple[Any, ...], **more: Any) -> Picture:
    (tmp_path / "a.tif").write_bytes(tiff(samples, extratags=[*tags], **more))
    return read_picture(tmp_path / "a.tif", 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [5, 11])
def test_primaries_and_a_transfer_function(tmp_path: Path, kind: int, order: str) -> None:
    samples, icc = smooth(3), rgb_profile("Adobe RGB", table_curve([*power(2.2)]))
    tags = (transfer(power(2.2)), points(WHITE, D65, kind=kind), points(PRIMARIES, *ADOBE, kind=kind))
    picture = read(tmp_path, samples, *tags, byteorder=order)
    expected = converted(samples, icc, SRGB)
    assert np.abs(expected.astype(int) - samples).max() > 30
    assert np.abs(picture.photo * 255 - expected).max() <= 1
    assert left_out(picture, Path("a.tif")) == ()
    write_picture(tmp_path / "b.tif", picture)
    with Image.open(tmp_path / "b.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), samples)
        assert np.abs(converted(samples, image.info["icc_profile"], SRGB).astype(int) - expected).max() <= 1


def test_each_channel_may_have_its_curve(tmp_path: Path) -> None:
    samples, exponents = made(30, 40, 3), (1.4, 1.8, 2.6)
    picture = read(tmp_path, samples, transfer(*map(power, exponents)), points(PRIMARIES, *P3))
    names = (b"rTRC", b"gTRC", b"bTRC")
    curves = {name: table_curve([*power(exponent)]) for name, exponent in zip(names, exponents, strict=True)}
    columns = {b"rgb"[i : i + 1] + b"XYZ": xyz(column) for i, column in enumerate(matrix("Display P3").T)}
    expected = converted(samples, profile(b"RGB ", columns | curves), SRGB)
    assert np.abs(picture.photo * 255 - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_transfer_function_alone(tmp_path: Path, channels: int, bits: int) -> None:
    samples = made(30, 40, channels, bits)
    picture = read(tmp_path, samples, transfer(power(1.0, bits)))
    colours = samples[..., :1] if channels < 3 else samples[..., :3]
    expected = srgb_curve(colours / np.iinfo(samples.dtype).max)
    # Profiles hold primaries in steps of 1/65536, and sRGB's slope in shadows is 12.92.
    assert np.abs(picture.photo - expected).max() < (2e-3 if channels > 2 else 2e-4)
    assert np.abs(picture.photo - expected).mean() < 2e-4


def test_where_white_is_zero(tmp_path: Path) -> None:
    shades = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    picture = read(tmp_path, shades, transfer(power(1.8)[::-1]), photometric="miniswhite")
    expected = converted(255 - shades[..., 0], grey_profile(1.8), SRGB)
    assert np.abs(picture.photo * 255 - expected).max() <= 1


def test_primaries_alone_have_the_curve_of_srgb(tmp_path: Path) -> None:
    """As ImageMagick writes those of sRGB into every file."""
    samples = made(30, 40, 3)
    picture = read(tmp_path, samples, points(WHITE, D65), points(PRIMARIES, *BT709))
    assert picture.stored is None
    np.testing.assert_array_equal(np.rint(picture.photo * 255), samples)
    wide = read(tmp_path, samples, points(WHITE, D65), points(PRIMARIES, *P3))
    light = np.linspace(0, 1, 4096)
    curve = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    expected = converted(samples, rgb_profile("Display P3", table_curve([*curve])), SRGB)
    assert np.abs(wide.photo * 255 - expected).max() <= 1


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([points(WHITE, D65)], "WhitePoint"),
        ([points(PRIMARIES, *ADOBE[:2])], "PrimaryChromaticities"),
        ([points(PRIMARIES, ADOBE[0], ADOBE[0], ADOBE[0])], "PrimaryChromaticities"),
        (
            [points(WHITE, (0.3, 0)), points(PRIMARIES, *ADOBE)],
            "WhitePoint and PrimaryChromaticities",
        ),
        ([(PRIMARIES, 5, 6, [1, 0] * 6, True)], "PrimaryChromaticities"),
        ([(PRIMARIES, 3, 6, [1] * 6, True)], "PrimaryChromaticities"),
        ([transfer(power(1)[:100])], "TransferFunction"),
        ([transfer(power(1)[::-1])], "TransferFunction"),
        ([transfer(power(1)), (RANGE, 3, 6, [0, 9] * 3, True)], "TransferFunction and TransferRange"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, tags: list[tuple[Any, ...]], said: str) -> None:
    samples = made(20, 20, 3)
    picture = read(tmp_path, samples, *tags)
    assert picture.icc is None
    np.testing.assert_array_equal(np.rint(picture.photo * 255), samples)
    verbs = ("do", "are") if " and " in said else ("does", "is")
    sentence = f"Its {said} {verbs[0]} not say what its colours mean, and {verbs[1]} left out."
    assert left_out(picture, Path("a.tif")) == (sentence,)


def test_a_profile_comes_first(tmp_path: Path) -> None:
    icc = rgb_profile("ProPhoto")
    picture = read(tmp_path, made(20, 20, 3), points(PRIMARIES, *ADOBE), iccprofile=icc)
    assert picture.icc == icc
    assert left_out(picture, Path("a.tif")) == ()

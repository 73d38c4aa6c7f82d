"""ICC profiles as the package computes them, against Little CMS and against formulas."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.images.color.icc import color_conversion, why_unused
from gpen.images.color.icc_made import SRGB_CHROMATICITIES, SRGB_CURVE, srgb_profile
from gpen.images.color.icc_made import grey_profile as made_grey
from gpen.images.color.icc_made import rgb_profile as made_rgb
from tests.profiles import (
    SPACES,
    SRGB,
    converted,
    gamma_curve,
    grey_profile,
    parametric_curve,
    profile,
    rgb_profile,
    srgb_curve,
    table_curve,
    xyz,
)

COLORS = np.random.default_rng(3).integers(0, 256, (150, 160, 3), np.uint8)
SRGB_TABLE = [((i / 1023 + 0.055) / 1.055) ** 2.4 if i > 41 else i / 1023 / 12.92 for i in range(1024)]
SHADES = np.arange(256, dtype=np.uint8)[None]
CURVES = {
    "gamma": gamma_curve(1.8),
    "table": table_curve(np.linspace(0, 1, 200) ** 2.1),
    "identity": b"curv" + bytes(8),
    "power": parametric_curve(0, 2.2),
    "shifted power": parametric_curve(1, 2.2, 1.1, -0.1),
    "raised power": parametric_curve(2, 2.0, 0.9, 0.01, 0.05),
    "sRGB": parametric_curve(3, *SRGB_CURVE),
    "Rec. 709": parametric_curve(4, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081, 0.0, 0.0),
}

FLAT = profile(
    b"RGB ",
    {letter + b"XYZ": xyz((0.3, 0.3, 0.3)) for letter in (b"r", b"g", b"b")}
    | {letter + b"TRC": gamma_curve(1) for letter in (b"r", b"g", b"b")},
)
"""Its primaries are one colour."""


def usable(icc: bytes):
    conversion = color_conversion(icc)
    assert conversion is not None, why_unused(icc)
    return conversion


@pytest.mark.parametrize("curve", [None, *CURVES])
@pytest.mark.parametrize("name", SPACES)
def test_colors_are_those_of_little_cms(name, curve):
    icc = rgb_profile(name, CURVES.get(curve))
    conversion = usable(icc)
    seen = np.clip(conversion.to_srgb(COLORS), 0, 1) * 255
    # Little CMS rounds in between, too.
    assert np.abs(seen - converted(COLORS, icc, SRGB)).max() <= 1
    back = conversion.from_srgb(COLORS / np.float32(255)) * 255
    off = np.abs(back - converted(COLORS, SRGB, icc))
    if curve != "shifted power":  # many samples of which are black
        assert off.mean() <= 0.3
        # By up to three levels in shadows of one channel, where Little CMS rounds light to 16 bits.
        assert off.max() <= 3


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_shades_are_those_of_little_cms(gamma):
    icc = grey_profile(gamma)
    seen = usable(icc).to_srgb(SHADES[..., None]) * 255
    assert np.abs(seen - converted(SHADES, icc, SRGB)).max() <= 0.6


def test_a_grey_profile_by_lightness():
    icc = profile(b"GRAY", {b"kTRC": gamma_curve(1)}, connection=b"Lab ")
    seen = usable(icc).to_srgb(SHADES[..., None])[0, :, 0]
    lightness = np.arange(256) / 255 * 100
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)
    assert np.abs(seen - srgb_curve(light)).max() < 1e-4


@pytest.mark.parametrize("name", SPACES)
def test_every_sample_comes_back(name):
    conversion = usable(rgb_profile(name))
    back = conversion.from_srgb(conversion.to_srgb(COLORS))
    assert np.array_equal(np.rint(back * 255), COLORS)
    # Above the darkest shadows, where 16-bit samples of steep curves are closer than float32.
    fine = np.random.default_rng(4).integers(2000, 65536, (100, 100, 3), np.uint16)
    assert np.abs(conversion.from_srgb(conversion.to_srgb(fine)) * 65535 - fine).max() < 0.6


def test_sixteen_bits_are_as_exact_as_the_formula():
    shades = np.arange(0, 65536, 7, dtype=np.uint16)[None]
    seen = usable(grey_profile(1.75)).to_srgb(shades[..., None])[0, :, 0]
    expected = srgb_curve((shades[0] / 65535) ** 1.75)
    assert np.abs(seen - expected).max() * 65535 < 0.1
    eight = usable(rgb_profile("ProPhoto")).to_srgb(COLORS)
    assert np.array_equal(usable(rgb_profile("ProPhoto")).to_srgb(COLORS.astype(np.uint16) * 257), eight)


@pytest.mark.parametrize(
    "icc",
    [
        None,
        SRGB,
        srgb_profile(),
        made_grey(SRGB_CURVE, "grey"),
        made_rgb(SRGB_CHROMATICITIES, SRGB_CURVE, "again"),
        profile(b"GRAY", {b"kTRC": table_curve(SRGB_TABLE)}),
    ],
)
def test_srgb_is_not_converted(icc):
    assert color_conversion(icc) is None
    assert why_unused(icc) == ""


def test_little_cms_reads_the_profiles_that_are_made():
    wide = made_rgb(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329)), (2.2,), "P3")
    expected = converted(COLORS, rgb_profile("Display P3"), SRGB)
    assert np.abs(converted(COLORS, wide, SRGB).astype(int) - expected).max() <= 1
    shades, made = (converted(SHADES, icc, SRGB).astype(int) for icc in (grey_profile(1.8), made_grey((1.8,), "g")))
    assert np.abs(made - shades).max() <= 1
    assert np.abs(converted(COLORS, srgb_profile(), SRGB).astype(int) - COLORS).max() <= 1


@pytest.mark.parametrize(
    ("icc", "why"),
    [
        (profile(b"CMYK", {}), "is for CMYK colours"),
        (profile(b"RGB ", {b"A2B0": bytes(100)}), "is damaged"),
        (profile(b"GRAY", {}), "is damaged"),
        (profile(b"GRAY", {b"kTRC": b"curv" + bytes(4) + b"\xff" * 4}), "is damaged"),
        (profile(b"GRAY", {b"kTRC": b"para" + bytes(4) + b"\xff" * 4}), "is damaged"),
        (profile(b"GRAY", {b"kTRC": table_curve([1, 0])}), "has curves that do not rise"),
        (profile(b"GRAY", {b"kTRC": table_curve([0, 0.9, 0.5, 1])}), "has curves that do not rise"),
        (profile(b"GRAY", {b"kTRC": table_curve([0] * 70000)}), "is damaged"),
        (profile(b"GRAY", {b"kTRC": gamma_curve(1)})[:180], "is damaged"),
        (rgb_profile("ProPhoto").replace(b"rXYZ", b"zXYZ"), "is damaged"),
        (FLAT, "is damaged"),
        (b"nothing", "is damaged"),
    ],
)
def test_why_a_profile_is_not_used(icc, why):
    assert color_conversion(icc) is None
    assert why_unused(icc) == why


def test_damage_never_raises():
    rng = np.random.default_rng(5)
    icc = rgb_profile("ProPhoto", CURVES["Rec. 709"])
    for end in range(0, len(icc), 3):
        color_conversion(icc[:end])
    for _ in range(150):
        damaged = bytearray(icc)
        for place in rng.integers(128, len(icc), 4):
            damaged[place] = rng.integers(256)
        conversion = color_conversion(bytes(damaged))
        if conversion is not None:
            assert np.isfinite(conversion.from_srgb(conversion.to_srgb(COLORS[:4]))).all()


@pytest.mark.parametrize("points", [((0.3, 0.3),) * 4, ((0.64, 0), (0.3, 0.6), (0.15, 0.06), (0.31, 0.33))])
def test_primaries_that_span_no_space(points):
    with pytest.raises(ValueError, match=r"its (primaries|chromaticities)"):
        made_rgb(points, (2.2,), "none")

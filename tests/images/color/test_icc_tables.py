"""Profiles that work by tables of colours: read as Little CMS reads them, and inverted."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpen.images import read_picture, write_picture
from gpen.images.color.icc import color_conversion, why_unused
from tests.images.color.test_profiles import stored, write
from tests.images.made import made
from tests.profiles import SRGB, converted, gamma_curve, lab, light_of_srgb, parametric_curve, profile, rgb_profile

D50 = np.array([0.9642, 1.0, 0.8249])
NODES = 17


def scanner(device: Any) -> Any:
    """XYZ that a made scanner means by its values (..., 3): dyes that overlap, and an S-shaped response."""
    response = 0.02 + 0.9 * (0.3 * device**2.6 + 0.7 * device**1.5)
    mixed = response @ np.array([(0.8, 0.15, 0.02), (0.17, 0.72, 0.12), (0.03, 0.13, 0.86)])
    return light_of_srgb(np.clip(mixed, 0, 1) ** 0.5) @ np.array(
        [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]
    )


def cube(nodes: int = NODES) -> Any:
    axis = np.linspace(0, 1, nodes)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def as_lab(xyz: Any, legacy: bool) -> Any:
    """Encoded Lab, [0, 1]."""
    top = np.array([652.8, 256, 256]) / 65535 if legacy else 1 / np.array([100, 255, 255])
    return (lab(xyz) + np.array([0, 128, 128])) * top


def words(values: Any) -> bytes:
    return bytes(np.rint(np.clip(values, 0, 1) * 65535).astype(">u2").tobytes())


def octets(values: Any) -> bytes:
    return bytes(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8).tobytes())


IDENTITY = struct.pack(">9i", *np.eye(3).ravel().astype(int) * 65536)


def with_bytes(table: Any, before: Any, after: Any, matrix: bytes = IDENTITY) -> bytes:
    head = b"mft1" + bytes(4) + bytes([before.shape[0], 3, table.shape[0], 0]) + matrix
    return head + octets(before) + octets(table) + octets(after)


def with_words(table: Any, before: Any, after: Any, matrix: bytes = IDENTITY) -> bytes:
    head = b"mft2" + bytes(4) + bytes([before.shape[0], 3, table.shape[0], 0]) + matrix
    return head + struct.pack(">2H", before.shape[1], after.shape[1]) + words(before) + words(table) + words(after)


def with_curves(table: Any, *, precision: int = 2, matrix: bytes | None = None) -> bytes:
    """lutAToBType with curves that are undone by the table and by one another."""
    gamma = parametric_curve(0, 1.5)
    plain = gamma_curve(1)
    parts = {"b": plain * 3, "matrix": b"", "m": b"", "table": b"", "a": gamma * 3}
    if matrix is not None:
        parts |= {"matrix": matrix, "m": plain * 3}
    sizes = bytes([table.shape[0]] * 3).ljust(16, b"\0") + bytes([precision, 0, 0, 0])
    parts["table"] = sizes + (words(table) if precision == 2 else octets(table))
    position, offsets, body = 32, [], b""
    for part in parts.values():
        part += bytes(-len(part) % 4)
        offsets.append(position if part else 0)
        position += len(part)
        body += part
    return b"mAB " + bytes(4) + bytes([3, 3, 0, 0]) + struct.pack(">5I", *offsets) + body


def line(count: int) -> Any:
    return np.linspace(0, 1, count)


def lab_bytes() -> bytes:
    table = as_lab(scanner(cube() ** 1.5), legacy=False)
    return with_bytes(table, np.stack([line(256) ** (1 / 1.5)] * 3), np.stack([line(256)] * 3))


def lab_words() -> bytes:
    table = as_lab(scanner(cube() ** 2), legacy=True)
    return with_words(table, np.stack([line(1024) ** 0.5] * 3), np.stack([line(2)] * 3))


def xyz_words() -> bytes:
    table = np.sqrt(scanner(cube() ** 2) / (1 + 32767 / 32768))
    return with_words(table, np.stack([line(1024) ** 0.5] * 3), np.stack([line(4096) ** 2] * 3))


def lab_curves(precision: int = 2) -> bytes:
    # The table leads beside a* and b*, and the matrix back.
    table = as_lab(scanner(cube() ** (1 / 1.5)), legacy=False) - np.array([0, 0.25, 0.25])
    moved = struct.pack(">12i", *(np.array([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0.25, 0.25]) * 65536).astype(int))
    return with_curves(table, precision=precision, matrix=moved)


def named(tag: bytes, connection: bytes = b"Lab ", name: bytes = b"A2B0", **more: bytes) -> bytes:
    return profile(b"RGB ", {name: tag, **{key.encode(): body for key, body in more.items()}}, connection)


PROFILES: dict[str, Callable[[], bytes]] = {
    "bytes to Lab": lambda: named(lab_bytes()),
    "words to Lab": lambda: named(lab_words()),
    "words to XYZ": lambda: named(xyz_words(), b"XYZ "),
    "curves to Lab": lambda: named(lab_curves()),
    "curves and bytes to Lab": lambda: named(lab_curves(1)),
}


@pytest.fixture(params=PROFILES)
def icc(request) -> bytes:
    return PROFILES[request.param]()


def colors(count: int = 20_000) -> Any:
    rng = np.random.default_rng(0)
    shades = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    return np.concatenate([rng.integers(0, 256, (count, 3), np.uint8), shades])[None]


def test_colors_are_those_of_little_cms(icc):
    samples = colors()
    conversion = color_conversion(icc)
    assert conversion is not None
    assert why_unused(icc) == ""
    ours = np.clip(conversion.to_srgb(samples), 0, 1) * 255
    theirs = converted(samples, icc, SRGB)
    error = np.abs(ours - theirs)
    assert np.abs(theirs.astype(float) - samples).mean() > 5  # there is something to convert
    assert error.max() <= 1.5
    assert error.mean() < 0.3


def test_the_table_of_relative_colorimetry_comes_first():
    other = with_words(as_lab(scanner(1 - cube()), legacy=True), np.stack([line(2)] * 3), np.stack([line(2)] * 3))
    both = named(other, A2B1=lab_words())
    samples = colors(100)
    one, two = color_conversion(both), color_conversion(named(lab_words()))
    assert one is not None
    assert two is not None
    assert np.array_equal(one.to_srgb(samples), two.to_srgb(samples))
    # It comes before curves, too, as in Little CMS.
    matrix = rgb_profile("ProPhoto")
    count = struct.unpack_from(">I", matrix, 128)[0]
    tags = {
        matrix[132 + 12 * i : 136 + 12 * i]: matrix[slice(*_span(matrix, i))]
        for i in range(count)
        if matrix[132 + 12 * i : 136 + 12 * i] not in (b"desc", b"wtpt")
    }
    mixed = profile(b"RGB ", {**tags, b"A2B0": xyz_words()})
    conversion = color_conversion(mixed)
    assert conversion is not None
    ours = np.clip(conversion.to_srgb(samples), 0, 1) * 255
    assert np.abs(ours - converted(samples, mixed, SRGB)).max() <= 1.5


def _span(icc: bytes, index: int) -> tuple[int, int]:
    start, size = struct.unpack_from(">2I", icc, 136 + 12 * index)
    return start, start + size


def test_every_color_of_the_device_comes_back(icc):
    """What is seen is the same; where a table is flat, several device values look alike."""
    conversion = color_conversion(icc)
    assert conversion is not None
    samples = colors(5000)
    seen = conversion.to_srgb(samples)
    device = conversion.from_srgb(seen)
    again = conversion.to_srgb(np.rint(device * 65535).astype(np.uint16))
    error = np.abs(again - seen).max(axis=2) * 255
    # Tables of bytes are so rough that the search may end beside the best place.
    assert (error < 0.1).mean() > 0.99
    assert error.max() < 2
    assert device.min() >= 0
    assert device.max() <= 1


def test_colors_beyond_the_device_become_similar_ones(icc):
    conversion = color_conversion(icc)
    assert conversion is not None
    axis = np.linspace(0, 1, 6, dtype=np.float32)
    asked = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(1, -1, 3)
    device = conversion.from_srgb(asked)
    got = conversion.to_srgb(np.rint(device * 65535).astype(np.uint16))
    # None of the colours of a fine grid of the device is much nearer.
    fine = np.rint(cube(24).reshape(1, -1, 3) * 65535).astype(np.uint16)
    known = conversion.to_srgb(fine)[0]
    nearest = np.array([np.abs(known - color).max(axis=1).min() for color in asked[0]])
    assert (np.abs(got - asked)[0].max(axis=1) <= nearest + 0.08).mean() > 0.9


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_photos_of_a_scanner(tmp_path, suffix, bits, icc):
    samples = made(40, 50, 3, bits)
    picture = read_picture(write(tmp_path / f"a{suffix}", samples, icc), 1)
    photo = picture.photo.copy()
    photo[10:20, 10:20] = photo[10:20, 10:20] * 0.8 + 0.1
    write_picture(tmp_path / f"b{suffix}", dataclasses.replace(picture, photo=photo))
    after = stored(tmp_path / f"b{suffix}")
    unchanged = np.ones((40, 50), bool)
    unchanged[10:20, 10:20] = False
    assert np.array_equal(after[unchanged], samples[unchanged])
    seen = read_picture(tmp_path / f"b{suffix}", 1).photo
    middle = seen[10:20, 10:20] - photo[10:20, 10:20]
    assert np.median(np.abs(middle)) * 255 < 1


def test_a_grey_scanner():
    axis = line(33)
    xyz = (0.05 + 0.9 * axis[:, None] ** 1.8) * D50
    tag = with_words(as_lab(xyz, legacy=True), line(2)[None], np.stack([line(2)] * 3))
    icc = profile(b"GRAY", {b"A2B0": tag}, b"Lab ")
    conversion = color_conversion(icc)
    assert conversion is not None
    samples = np.arange(256, dtype=np.uint8)[None, :, None]
    ours = np.clip(conversion.to_srgb(samples), 0, 1) * 255
    assert np.abs(ours - converted(samples[..., 0], icc, SRGB)).max() <= 1.5
    assert np.abs(conversion.from_srgb(conversion.to_srgb(samples)[..., :1]) * 255 - samples).max() < 0.1


def test_damage_never_raises(icc):
    rng = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(icc)
        for place in rng.integers(128, min(len(icc), 900), 4):
            damaged[place] = rng.integers(256)
        conversion = color_conversion(bytes(damaged))
        if conversion is not None:
            assert np.isfinite(conversion.to_srgb(colors(5))).all()
    for end in (140, 200, len(icc) // 2, len(icc) - 1):
        color_conversion(icc[:end])


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        (b"mpet" + bytes(4) + bytes([3, 3]) + bytes(100), "has a table of colours of a kind that is not known"),
        (bytes(100), "is damaged"),
        (lab_words()[:3000], "is damaged"),
        (with_words(np.zeros((2, 2, 2, 3)), np.stack([line(2)] * 3), np.stack([line(2)] * 3)), "is damaged"),
    ],
)
def test_why_a_table_is_not_used(tag, why):
    assert color_conversion(named(tag)) is None
    assert why_unused(named(tag)) == why

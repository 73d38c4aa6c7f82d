"""CMYK becomes RGB, through the profile if there is one."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from gpen.images import read_picture, write_picture
from tests.images.made import smooth


def cmyk_image() -> Image.Image:
    return Image.frombytes("CMYK", (56, 48), smooth(4).tobytes())


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_without_profile(tmp_path: Path, name: str) -> None:
    cmyk_image().save(tmp_path / name, quality=100, subsampling=0)
    found = read_picture(tmp_path / name, 1)
    ink = smooth(4).astype(np.float64) / 255
    expected = (1 - ink[..., :3]) * (1 - ink[..., 3:])
    assert abs(found.photo - expected).max() < 0.03
    assert not found.grey
    assert found.bits == 8


def cmyk_profile() -> bytes:
    """A small print profile: a table from ink to Lab, in which black ink takes twice as much light as usual.

    Pillow can make none, and none may be shipped. What it says differs enough from the usual conversion
    for a test to see which of both was used.
    """
    grid = 3
    steps = np.linspace(0, 1, grid)
    ink = np.stack(np.meshgrid(steps, steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 4)
    light = (1 - ink[:, :3].mean(axis=1)) * (1 - ink[:, 3]) ** 2
    a = (ink[:, 1] - ink[:, 0]) * 40 * (1 - ink[:, 3])
    b = (ink[:, 2] - ink[:, 0]) * 40 * (1 - ink[:, 3])
    lab = np.stack([light * 255, a + 128, b + 128], axis=1).round().astype(np.uint8)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *[65536 if k % 4 == 0 else 0 for k in range(9)])
    table = b"mft1" + bytes(4) + bytes([4, 3, grid, 0]) + matrix + identity * 4 + lab.tobytes() + identity * 3
    table += bytes(-len(table) % 4)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(4 + 4 + 2 + 1 + 67)
    text += bytes(-len(text) % 4)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"desc", text), (b"wtpt", white), (b"A2B0", table), (b"A2B1", table)]
    position = 128 + 4 + 12 * len(tags)
    index, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags:
        index += name + struct.pack(">II", position + len(bodies), len(body))
        bodies += body
    head = struct.pack(">I4sI4s4s4s", position + len(bodies), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + index + bodies


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_with_profile(tmp_path: Path, name: str) -> None:
    profile = cmyk_profile()
    cmyk_image().save(tmp_path / name, quality=100, subsampling=0, icc_profile=profile)
    found = read_picture(tmp_path / name, 1)
    assert found.icc is None
    ink = smooth(4).astype(np.float64) / 255
    light = (1 - ink[..., :3].mean(axis=2)) * (1 - ink[..., 3]) ** 2
    seen = cv2.cvtColor(found.photo, cv2.COLOR_RGB2Lab)[..., 0] / 100
    # Black-point compensation stretches the range a little; no profile at all is 0.12 off on average.
    assert abs(seen - light).mean() < 0.04
    cmyk_image().save(tmp_path / "none.jpg", quality=100, subsampling=0)
    plain = read_picture(tmp_path / "none.jpg", 1).photo
    assert abs(cv2.cvtColor(plain, cv2.COLOR_RGB2Lab)[..., 0] / 100 - light).mean() > 0.06


def test_cmyk_with_a_broken_profile(tmp_path: Path) -> None:
    profile = cmyk_profile()
    broken = profile[:140] + bytes(len(profile) - 140)
    cmyk_image().save(tmp_path / "a.jpg", quality=100, subsampling=0, icc_profile=broken)
    cmyk_image().save(tmp_path / "none.jpg", quality=100, subsampling=0)
    found = read_picture(tmp_path / "a.jpg", 1)
    assert found.icc is None
    np.testing.assert_array_equal(found.photo, read_picture(tmp_path / "none.jpg", 1).photo)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_with_a_profile_for_rgb(tmp_path: Path, name: str) -> None:
    """It describes neither the ink nor the converted colours, so it is dropped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk_image().save(tmp_path / name, quality=95, icc_profile=profile)
    assert read_picture(tmp_path / name, 1).icc is None


def test_cmyk_comes_out_as_a_colour_picture(tmp_path: Path) -> None:
    cmyk_image().save(tmp_path / "a.jpg", quality=95)
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.jpg", 1))
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.mode == "RGB"


def test_the_made_profile_is_one() -> None:
    """littleCMS accepts the profile made here; otherwise its test would see only the fallback."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile()))
    assert profile.profile.xcolor_space.strip() == "CMYK"

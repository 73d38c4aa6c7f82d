"""A picture that is read and written without a change keeps what docs/files.md says: made files of every kind."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gpen.images import read_picture, write_picture
from tests.images.made import Samples, png, tiff
from tests.profiles import SPACES, SRGB, grey_profile, rgb_profile

PROFILES = {"sRGB": SRGB, "grey": grey_profile(1.8), **{name: rgb_profile(name) for name in SPACES}}

TURNS: dict[int, Callable[[Samples], Samples]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}
"""What the stored picture has to undergo to be upright, by EXIF's number."""


def stored_file(kind: str, samples: Samples, icc: bytes | None, turn: int) -> bytes:
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, turn, 0, 0)
    if kind == "png":
        profile = {b"iCCP": b"x\0\0" + zlib.compress(icc)} if icc else {}
        return png(samples, {**profile, b"eXIf": exif})
    if kind == "tif":
        tags = [(274, 3, 1, turn, True)] + ([(34675, 7, len(icc), icc, True)] if icc else [])
        return tiff(samples, extratags=tags)
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "WEBP", lossless=True, exact=True, icc_profile=icc, exif=exif)
    return file.getvalue()


def contents(path: Path) -> tuple[Samples, bytes | None, int]:
    """The samples, the profile and the orientation of a file, by other readers than the package's own."""
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            turn, icc = page.tags.valueof(274, 1), page.tags.valueof(34675)
            return page.asarray().reshape(page.imagelength, page.imagewidth, -1), icc, turn
    with Image.open(path) as image:
        icc, turn = image.info.get("icc_profile"), image.getexif().get(274, 1)
        if path.suffix == ".webp" or path.read_bytes()[24] != 16:  # bits of PNG
            return np.asarray(image).reshape(image.height, image.width, -1), icc, turn
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    samples = raw.reshape(*raw.shape[:2], -1)
    return samples[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples.shape[2]]], icc, turn


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["png", "tif", "webp"]),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    channels=st.integers(1, 4),
    bits=st.sampled_from([8, 16]),
    profile=st.sampled_from([None, *PROFILES]),
    turn=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_not_changed_is_kept(
    tmp_path: Path,
    kind: str,
    size: tuple[int, int],
    channels: int,
    bits: int,
    profile: str | None,
    turn: int,
    seed: int,
) -> None:
    if kind == "webp":
        channels, bits = max(channels, 3), 8
    dtype = np.uint8 if bits == 8 else np.uint16
    samples = np.random.default_rng(seed).integers(0, 2**bits, (*size, channels), dtype=dtype)
    icc = None if profile is None else PROFILES[profile]
    fits = icc is None or (icc[16:20] == b"GRAY") == (channels < 3)
    source, target = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    source.write_bytes(stored_file(kind, samples, icc if fits else None, turn))
    found = read_picture(source, 1)
    assert (found.bits, found.grey, found.alpha is not None) == (bits, channels < 3, channels in (2, 4))
    write_picture(target, found)
    again, kept, orientation = contents(target)
    assert orientation == 1
    assert kept == (icc if fits else None)
    assert again.dtype == dtype
    if channels == 2 and bits == 16 and kind == "png":  # OpenCV reads it as colours with alpha
        again = again[..., [0, -1]]
    np.testing.assert_array_equal(again, TURNS[turn](samples))

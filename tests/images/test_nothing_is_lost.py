"""A picture that is read and written without a change keeps what docs/files.md says: made files of every kind."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gpen.images import read_picture, write_picture
from tests.files import segments as jpeg_segments
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
        if path.suffix in (".webp", ".jpg") or path.read_bytes()[24] != 16:  # bits of PNG
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


DPI = st.tuples(st.integers(1, 1200), st.integers(1, 1200))
COMMENTS = st.lists(st.binary(min_size=1, max_size=40), max_size=3)
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
)


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    grey=st.booleans(),
    coding=st.tuples(st.integers(30, 100), st.sampled_from([0, 1, 2]), st.integers(50, 100)),
    profile=st.sampled_from([None, *PROFILES]),
    turn=st.integers(1, 8),
    notes=st.tuples(DPI, COMMENTS),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_jpeg_loses_no_more_than_encoding_does(
    tmp_path: Path,
    size: tuple[int, int],
    grey: bool,
    coding: tuple[int, int, int],
    profile: str | None,
    turn: int,
    notes: tuple[tuple[int, int], list[bytes]],
    seed: int,
) -> None:
    (first, subsampling, quality), (dpi, comments) = coding, notes
    samples = np.random.default_rng(seed).integers(0, 256, (*size, 1 if grey else 3), dtype=np.uint8)
    icc = None if profile is None else PROFILES[profile]
    icc = icc if icc is None or (icc[16:20] == b"GRAY") == grey else None
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, turn, 0, 0)
    file, more = io.BytesIO(), ({"icc_profile": icc} if icc else {})
    image = Image.fromarray(samples.squeeze(2) if grey else samples)
    image.save(file, "JPEG", quality=first, subsampling=subsampling, dpi=dpi, **more)
    added = jpeg_segment(0xE1, b"Exif\0\0" + exif) + jpeg_segment(
        0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP.encode()
    )
    added += b"".join(jpeg_segment(0xFE, comment) for comment in comments)
    data = file.getvalue()
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    source.write_bytes(data[:20] + added + data[20:])  # behind JFIF
    with Image.open(source) as opened:
        shown = TURNS[turn](np.asarray(opened).reshape(*size, -1))
    found = read_picture(source, 1)
    if icc is None:
        np.testing.assert_array_equal(np.rint(found.photo * 255)[..., : shown.shape[2]], shown)
    write_picture(target, found, quality=quality)
    again, kept, orientation = contents(target)
    assert (kept, orientation) == (icc, 1)
    with Image.open(target) as opened:
        assert opened.info["dpi"] == (dpi if turn < 5 else dpi[::-1])
        assert opened.info["xmp"].decode() == XMP
        assert opened.info["exif"] == b"Exif\0\0" + exif.replace(struct.pack("<I", turn) + bytes(4), b"\1" + bytes(7))
    segments = [body for marker, body in jpeg_segments(target.read_bytes()) if marker == 0xFE]
    assert segments == comments
    # Another encoder, at the same quality with full chroma resolution, and no photo in between.
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    ok, coded = cv2.imencode(".jpg", np.ascontiguousarray(shown[..., ::-1]), options)
    assert ok
    other = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED).reshape(shown.shape)[..., ::-1]
    lost, bound = (np.abs(decoded.astype(int) - shown) for decoded in (again, other))
    assert lost.mean() <= 1.05 * bound.mean() + 0.1
    assert lost.max() <= 1.2 * bound.max() + 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["heic", "avif", "jp2", "jxl"]),
    size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    channels=st.sampled_from([1, 3, 4]),
    bits=st.sampled_from([8, 10, 12, 16]),
    profile=st.sampled_from([None, *SPACES]),
    turn=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_read_of_other_formats_is_kept(
    tmp_path: Path,
    kind: str,
    size: tuple[int, int],
    channels: int,
    bits: int,
    profile: str | None,
    turn: int,
    seed: int,
) -> None:
    """Coded without loss, with 8 to 16 bits, and in HEIC with a profile and turned."""
    pytest.importorskip("imagecodecs")
    pytest.importorskip("pillow_heif")
    from tests.images import made_formats

    bits = {"heic": min(bits, 12), "avif": min(bits, 12), "jp2": bits, "jxl": 8 if bits == 8 else 16}[kind]
    samples = np.random.default_rng(seed).integers(0, 2**bits, (*size, channels), dtype=np.uint16)
    samples = samples if bits > 8 else samples.astype(np.uint8)
    icc = PROFILES[profile] if profile is not None and kind == "heic" and channels > 2 else None
    if kind == "heic":
        turned = TURNS[turn](samples)
        data = made_formats.heic(samples, bits, profile=icc, exif=made_formats.exif(turn))
    else:
        turned = samples
        data = made_formats.jxl(samples) if kind == "jxl" else getattr(made_formats, kind)(samples, bits)
    source, target = tmp_path / f"a.{kind}", tmp_path / "b.png"
    source.write_bytes(data)
    write_picture(target, read_picture(source, 1))
    again, kept, orientation = contents(target)
    assert orientation == 1
    if kind == "heic" and icc is not None:
        assert kept == icc
    top = 255 if bits == 8 else 65535
    np.testing.assert_array_equal(again, np.rint(turned / (2.0**bits - 1) * top).reshape(again.shape))

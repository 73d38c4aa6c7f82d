"""Every kind of pixels that a file can hold is read as a viewer shows it."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from gpen.images import KNOWN_SUFFIXES, read_picture
from tests.images.made import assert_samples, made, png, smooth


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png(tmp_path: Path, bits: int, channels: int) -> None:
    samples = made(9, 7, channels, bits)
    (tmp_path / "a.png").write_bytes(png(samples))
    assert_samples(tmp_path / "a.png", samples)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_with_a_transparent_colour(tmp_path: Path, bits: int, channels: int) -> None:
    samples = made(9, 7, channels, bits)
    samples[3, 4] = samples[5, 1] = key = samples[0, 0].copy()
    near = key.copy()
    near[-1] ^= 1  # a reader that compares only eight of sixteen bits takes this for the key too
    samples[8, 6] = near
    chunk = struct.pack(f">{channels}H", *key.tolist())
    (tmp_path / "a.png").write_bytes(png(samples, {b"tRNS": chunk}))
    alpha = np.where((samples == key).all(axis=2, keepdims=True), 0, 2**bits - 1).astype(samples.dtype)
    assert alpha[3, 4] == 0
    assert alpha[8, 6] > 0
    assert_samples(tmp_path / "a.png", np.concatenate([samples, alpha], axis=2))


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("transparent", [False, True])
def test_png_with_few_greys(tmp_path: Path, depth: int, transparent: bool) -> None:
    top = 2**depth - 1
    values = made(9, 16, 1) % (top + 1)
    (tmp_path / "a.png").write_bytes(
        png(values, {b"tRNS": struct.pack(">H", top)} if transparent else {}, depth=depth, colour=0)
    )
    expected = values * (255 // top)
    if transparent:
        alpha = np.where(values == top, 0, 255).astype(np.uint8)
        expected = np.concatenate([expected, alpha], axis=2)
    assert_samples(tmp_path / "a.png", expected.astype(np.uint8))


@pytest.mark.parametrize("transparent", [False, True])
def test_png_with_a_palette(tmp_path: Path, transparent: bool) -> None:
    indices = made(9, 7, 1) % 16
    palette = made(1, 16, 4)[0]
    chunks = {b"PLTE": palette[:, :3].tobytes()}
    if transparent:
        chunks[b"tRNS"] = palette[:10, 3].tobytes()  # the rest is opaque
        palette[10:, 3] = 255
    (tmp_path / "a.png").write_bytes(png(indices, chunks, colour=3))
    expected = palette[indices[..., 0]]
    assert_samples(tmp_path / "a.png", expected if transparent else expected[..., :3])


def test_interlaced_png(tmp_path: Path) -> None:
    """Adam7, encoded by hand for 8 and 16 bits: seven pictures, one after the other."""
    for bits in (8, 16):
        samples = made(11, 13, 3, bits)
        packed = b""
        steps = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
        for x, y, dx, dy in steps:
            for row in samples[y::dy, x::dx]:
                packed += b"\0" + row.astype(f">u{bits // 8}").tobytes()
        whole = png(samples)
        head = whole[:16] + struct.pack(">IIBBBBB", 13, 11, bits, 2, 0, 0, 1)
        data = head + struct.pack(">I", zlib.crc32(head[12:]))
        for kind, body in ((b"IDAT", zlib.compress(packed)), (b"IEND", b"")):
            data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        (tmp_path / "a.png").write_bytes(data)
        assert_samples(tmp_path / "a.png", samples)


# --- others


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(made(9, 7, 4)).convert(mode)
    image.save(tmp_path / "a.bmp")
    target = {"1": "L", "P": "RGB"}.get(mode, mode)
    with Image.open(tmp_path / "a.bmp") as stored:
        target = "RGB" if mode == "RGBA" and stored.mode == "RGB" else target
    assert_samples(tmp_path / "a.bmp", np.asarray(image.convert(target)).reshape(9, 7, -1))


def test_gif_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray((made(9, 7, 1) % 8)[..., 0]).convert("P")
    image.putpalette(made(1, 256, 3).tobytes())
    image.save(tmp_path / "a.gif", transparency=3)
    expected = np.asarray(image.convert("RGBA")).copy()
    expected[..., 3] = np.where(np.asarray(image) == 3, 0, 255)
    assert_samples(tmp_path / "a.gif", expected)


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    samples = made(9, 7, 3)
    for suffix in (*sorted(KNOWN_SUFFIXES), ".xyz", ""):
        (tmp_path / f"a{suffix}").write_bytes(png(samples))
        assert_samples(tmp_path / f"a{suffix}", samples)
        assert read_picture(tmp_path / f"a{suffix}", 1).format == "PNG"


def test_pictures_from_phones_with_a_second_picture_inside(tmp_path: Path) -> None:
    first = Image.fromarray(smooth(3))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[first.rotate(180)], quality=95)
    first.save(tmp_path / "b.jpg", quality=95)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg", 1).photo, read_picture(tmp_path / "b.jpg", 1).photo)


# --- Pillow's global settings


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_pillows_limit_neither_blocks_nor_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    Image.fromarray(smooth(3)).convert("P" if kind == "GIF" else "RGB").save(tmp_path / "a", kind)
    Image.fromarray(smooth(3)).convert("P").save(tmp_path / "palette.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a", "palette.tif"):
            assert read_picture(tmp_path / name, 1).photo.shape == (48, 56, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_pillows_settings_are_restored_after_threads_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(smooth(3)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    def read(number: int) -> bool:
        try:
            read_picture(tmp_path / ("half.jpg" if number % 3 == 0 else "a.jpg"), 1)
        except Exception:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, range(60)))
    assert results == [number % 3 != 0 for number in range(60)]
    assert not logging.getLogger("tifffile").disabled
    assert Image.MAX_IMAGE_PIXELS == 100

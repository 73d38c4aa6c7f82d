"""All eight orientations, in every format that has them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen.images import read_picture
from tests.images.made import Samples, assert_samples, made, png, smooth, tiff


def upright(samples: Samples, orientation: int) -> Samples:
    """Rotate pixel by pixel, by EXIF's definition of the stored rows and columns."""
    height, width = samples.shape[:2]
    if orientation >= 5:
        height, width = width, height
    result = np.empty((height, width, *samples.shape[2:]), samples.dtype)
    for y, x in itertools.product(range(height), range(width)):
        right, down = width - 1 - x, height - 1 - y
        row, column = {
            1: (y, x),
            2: (y, right),
            3: (down, right),
            4: (down, x),
            5: (x, y),
            6: (right, y),
            7: (right, down),
            8: (x, down),
        }[orientation]
        result[y, x] = samples[row, column]
    return result


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_orientation(tmp_path: Path, orientation: int, kind: str, mode: str) -> None:
    samples = made(5, 8, len(mode))
    Image.fromarray(samples).save(tmp_path / "a", kind, exif=exif_with(orientation), lossless=True, exact=True)
    assert_samples(tmp_path / "a", upright(samples, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("grey", [False, True])
def test_orientation_of_jpeg(tmp_path: Path, orientation: int, grey: bool) -> None:
    samples = smooth(3)
    image = Image.fromarray(samples).convert("L" if grey else "RGB")
    image.save(tmp_path / "plain.jpg", quality=95)
    image.save(tmp_path / "turned.jpg", quality=95, exif=exif_with(orientation))
    stored = read_picture(tmp_path / "plain.jpg", 1).photo
    np.testing.assert_array_equal(read_picture(tmp_path / "turned.jpg", 1).photo, upright(stored, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_orientation_of_16_bits(tmp_path: Path, orientation: int, channels: int) -> None:
    samples = made(5, 8, channels, 16)
    (tmp_path / "a.png").write_bytes(png(samples, {b"eXIf": exif_with(orientation).tobytes()[6:]}))
    assert_samples(tmp_path / "a.png", upright(samples, orientation))
    for order in "<>":
        (tmp_path / "a.tif").write_bytes(tiff(samples, byteorder=order, extratags=[(274, 3, 1, orientation, True)]))
        assert_samples(tmp_path / "a.tif", upright(samples, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bits_packed_with_lzw(tmp_path: Path, orientation: int) -> None:
    """OpenCV decodes these, and rotates them by itself."""
    samples = made(5, 8, 1, 16)
    Image.fromarray(samples[..., 0]).save(tmp_path / "a.tif", compression="tiff_lzw", exif=exif_with(orientation))
    assert_samples(tmp_path / "a.tif", upright(samples, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_palette_tiff(tmp_path: Path, orientation: int) -> None:
    """Pillow decodes these, and some of its versions rotate them by themselves."""
    indices = made(5, 8, 1)[..., 0]
    image = Image.fromarray(indices).convert("P")
    palette = np.arange(768).reshape(256, 3) % 256
    image.putpalette(palette.astype(np.uint8).tobytes())
    image.save(tmp_path / "a.tif", exif=exif_with(orientation))
    expected = palette[np.asarray(image)].astype(np.uint8)
    assert_samples(tmp_path / "a.tif", upright(expected, orientation))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_do_not_exist_mean_upright(tmp_path: Path, orientation: int) -> None:
    samples = made(5, 8, 3)
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif_with(orientation))
    assert_samples(tmp_path / "a.png", samples)


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    samples = made(5, 8, 3, 8)
    for block in (b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"nonsense" * 5, b"II*\0\x08\0\0\0\xff\xff"):
        (tmp_path / "a.png").write_bytes(png(samples, {b"eXIf": block}))
        assert read_picture(tmp_path / "a.png", 1).exif is None
        assert_samples(tmp_path / "a.png", samples)

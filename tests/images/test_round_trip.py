"""Written pictures are read back bit for bit, and other decoders see the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gpen.errors import PhotoError
from gpen.images import WRITABLE_SUFFIXES, Picture, can_write, left_out, read_picture, write_picture

Samples = np.ndarray[Any, Any]
# Names that OpenCV cannot open on every system.
NAMES = [
    "plain",
    "照片 奶奶",
    "two  spaces",
    "🙂👵🏽",
    "100%s %d%%20",
    "naïve-Ωmega",
    "a.b.c",
    "-o",
    "#1?&=+;'",
]


def made(height: int, width: int, channels: int, bits: int, seed: int = 0) -> Samples:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, (height, width, channels), dtype=kind)


def picture_of(samples: Samples, **more: Any) -> Picture:
    """Without the package's own conversion, so that a mistake made in both directions shows."""
    top = {1: 255, 2: 65535}[samples.dtype.itemsize]
    channels = samples.shape[2]
    colour = samples[..., :3] if channels > 2 else samples[..., :1].repeat(3, axis=2)
    photo = (colour.astype(np.float64) / top).astype(np.float32)
    alpha = (samples[..., -1].astype(np.float64) / top).astype(np.float32) if channels in (2, 4) else None
    return Picture(photo, alpha, 8 * samples.dtype.itemsize, channels < 3, **more)


def assert_same(found: Picture, expected: Picture) -> None:
    assert found.photo.dtype == np.float32
    assert found.photo.flags.c_contiguous
    np.testing.assert_array_equal(found.photo, expected.photo)
    assert (found.alpha is None) == (expected.alpha is None)
    if expected.alpha is not None:
        np.testing.assert_array_equal(found.alpha, expected.alpha)
    assert (found.bits, found.grey) == (expected.bits, expected.grey)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_formats_are_bit_identical(tmp_path: Path, suffix: str, bits: int, channels: int) -> None:
    picture = picture_of(made(61, 47, channels, bits))
    path = tmp_path / f"a{suffix}"
    write_picture(path, picture)
    assert_same(read_picture(path, 1), picture)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.integers(1, 4),
    bits=st.sampled_from([8, 16]),
    suffix=st.sampled_from([".png", ".tif"]),
    seed=st.integers(0, 2**32 - 1),
    smooth=st.booleans(),
)
def test_any_size_and_content(
    tmp_path: Path, height: int, width: int, channels: int, bits: int, suffix: str, seed: int, smooth: bool
) -> None:
    samples = made(height, width, channels, bits, seed)
    if smooth:  # so that each of PNG's filters is chosen somewhere
        samples = np.cumsum(np.cumsum(samples // 97, axis=0, dtype=samples.dtype), axis=1, dtype=samples.dtype)
    picture = picture_of(samples)
    write_picture(tmp_path / f"a{suffix}", picture)
    assert_same(read_picture(tmp_path / f"a{suffix}", 1), picture)


@pytest.mark.parametrize("bits", [8, 16])
def test_every_value_survives(tmp_path: Path, bits: int) -> None:
    side = 2 ** (bits // 2)
    samples = np.arange(2**bits).reshape(side, side, 1).astype(np.uint8 if bits == 8 else np.uint16)
    write_picture(tmp_path / "a.png", picture_of(samples))
    raw = cv2.imdecode(np.frombuffer((tmp_path / "a.png").read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(raw.reshape(samples.shape), samples)


def test_pictures_of_more_than_one_block(tmp_path: Path) -> None:
    rows = np.arange(1500, dtype=np.uint16)[:, None, None]
    samples = np.broadcast_to(rows * 41 + np.arange(3, dtype=np.uint16) * 7, (1500, 1500, 3)).copy()
    for suffix in (".png", ".tif"):
        write_picture(tmp_path / f"a{suffix}", picture_of(samples))
        assert_same(read_picture(tmp_path / f"a{suffix}", 3), picture_of(samples))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_opencv_sees_the_same(tmp_path: Path, bits: int, channels: int, suffix: str) -> None:
    samples = made(33, 21, channels, bits)
    if (suffix, bits, channels) == (".tif", 8, 4):
        samples[..., 3] = 255  # OpenCV premultiplies the alpha of 8-bit TIFF files
    write_picture(tmp_path / f"a{suffix}", picture_of(samples))
    raw = np.frombuffer((tmp_path / f"a{suffix}").read_bytes(), np.uint8)
    seen = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    assert seen is not None
    assert seen.dtype == samples.dtype
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    np.testing.assert_array_equal(seen.reshape(samples.shape), samples[..., order])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pillow_sees_the_same(tmp_path: Path, channels: int, suffix: str) -> None:
    samples = made(33, 21, channels, 8)
    write_picture(tmp_path / f"a{suffix}", picture_of(samples))
    with Image.open(tmp_path / f"a{suffix}") as seen:
        assert seen.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        np.testing.assert_array_equal(np.asarray(seen).reshape(samples.shape), samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_tifffile_sees_the_same(tmp_path: Path, channels: int, bits: int) -> None:
    samples = made(33, 21, channels, bits)
    write_picture(tmp_path / "a.tif", picture_of(samples))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1
        page = file.pages[0]
        assert [int(kind) for kind in page.extrasamples] == ([2] if channels in (2, 4) else [])
        np.testing.assert_array_equal(page.asarray().reshape(samples.shape), samples)


@pytest.mark.parametrize("suffix", sorted(WRITABLE_SUFFIXES))
@pytest.mark.parametrize("name", NAMES)
def test_paths_with_any_characters(tmp_path: Path, name: str, suffix: str) -> None:
    if name.startswith("#") and Path("C:/").exists():
        name = "#1&=+;'"  # no question marks there
    folder = tmp_path / name
    folder.mkdir()
    path = folder / f"{name}{suffix}"
    write_picture(path, picture_of(made(16, 16, 3, 8)))
    assert list(folder.iterdir()) == [path]
    assert read_picture(path, 1).photo.shape == (16, 16, 3)


def smooth(height: int = 64, width: int = 80) -> Samples:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 11 + k) + np.cos(y / (7 + k)) for k in range(3)]
    return (np.stack(waves, axis=-1) * 60 + 128).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    picture = picture_of(smooth())
    path = tmp_path / f"a{suffix}"
    write_picture(path, picture)
    found = read_picture(path, 1)
    assert abs(found.photo - picture.photo).mean() < 1.5 / 255
    assert abs(found.photo[..., ::-1] - picture.photo).mean() > 10 / 255


def test_jpeg_keeps_full_colour_resolution_and_high_quality(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", picture_of(smooth()))
    write_picture(tmp_path / "low.jpg", picture_of(smooth()), quality=30)
    with Image.open(tmp_path / "a.jpg") as image:
        assert [part[1:3] for part in image.layer] == [(1, 1)] * 3
        tables = image.quantization
    reference = io.BytesIO()
    Image.fromarray(smooth()).save(reference, "JPEG", quality=95)
    with Image.open(reference) as image:
        assert image.quantization == tables
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size


def test_webp_is_lossless_at_100(tmp_path: Path) -> None:
    samples = made(40, 30, 4, 8)
    samples[:20, :, 3] = 0  # invisible colours are kept too
    write_picture(tmp_path / "a.webp", picture_of(samples), quality=100)
    assert_same(read_picture(tmp_path / "a.webp", 1), picture_of(samples))
    write_picture(tmp_path / "b.webp", picture_of(samples))
    assert not np.array_equal(read_picture(tmp_path / "b.webp", 1).photo, picture_of(samples).photo)
    np.testing.assert_array_equal(read_picture(tmp_path / "b.webp", 1).alpha, picture_of(samples).alpha)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_round_to_8_in_webp(tmp_path: Path, channels: int) -> None:
    samples = made(40, 30, channels, 16)
    write_picture(tmp_path / "a.webp", picture_of(samples), quality=100)
    found = read_picture(tmp_path / "a.webp", 1)
    assert found.bits == 8
    rounded = picture_of(np.rint(samples / 257).astype(np.uint8))
    np.testing.assert_array_equal(found.photo, rounded.photo)
    if rounded.alpha is not None:
        np.testing.assert_array_equal(found.alpha, rounded.alpha)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_jpeg_has_one_channel(tmp_path: Path, bits: int) -> None:
    scale = 1 if bits == 8 else 257
    samples = (smooth()[..., :1].astype(np.uint16) * scale).astype(np.uint8 if bits == 8 else np.uint16)
    write_picture(tmp_path / "a.jpg", picture_of(samples))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "L"
    found = read_picture(tmp_path / "a.jpg", 1)
    assert found.grey
    assert abs(found.photo - picture_of(samples).photo).max() < 6 / 255


def test_a_grey_picture_that_got_colour_is_written_as_its_brightness(tmp_path: Path) -> None:
    photo = np.zeros((4, 4, 3), np.float32)
    photo[:] = (0.2, 0.6, 0.9)
    write_picture(tmp_path / "a.png", Picture(photo, grey=True))
    expected = round((0.299 * 0.2 + 0.587 * 0.6 + 0.114 * 0.9) * 255)
    with Image.open(tmp_path / "a.png") as image:
        assert np.unique(np.asarray(image)).tolist() == [expected]


def test_values_are_rounded_and_clipped(tmp_path: Path) -> None:
    row = [-1e9, -0.001, 0.0, 0.49 / 255, 0.51 / 255, 254.49 / 255, 254.51 / 255, 1.0, 1.2, 1e9]
    photo = np.repeat(np.array(row, np.float32)[None, :, None], 3, axis=2)
    write_picture(tmp_path / "a.png", Picture(photo))
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image)[0, :, 0].tolist() == [0, 0, 0, 0, 1, 254, 255, 255, 255, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["photo", "alpha"])
def test_nan_and_inf_are_refused(tmp_path: Path, value: float, where: str) -> None:
    photo, alpha = np.zeros((700, 700, 3), np.float32), np.ones((700, 700), np.float32)
    (photo if where == "photo" else alpha)[699, 699] = value
    with pytest.raises(PhotoError, match="NaN or Inf"):
        write_picture(tmp_path / "a.png", Picture(photo, alpha))
    assert list(tmp_path.iterdir()) == []


def test_jpeg_refuses_transparency_and_only_that(tmp_path: Path) -> None:
    photo = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(PhotoError, match=r"JPEG has no transparency. Write it as PNG, WebP or TIFF"):
        write_picture(tmp_path / "a.jpg", Picture(photo, np.full((8, 8), 0.99, np.float32)))
    assert list(tmp_path.iterdir()) == []
    write_picture(tmp_path / "a.jpg", Picture(photo, np.ones((8, 8), np.float32)))
    assert read_picture(tmp_path / "a.jpg", 1).alpha is None


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65501), (".webp", 16384)])
def test_sides_that_the_format_does_not_allow(tmp_path: Path, suffix: str, side: int) -> None:
    photo = np.zeros((1, side, 3), np.float32)
    with pytest.raises(PhotoError, match=r"on a side\. Write it as PNG or TIFF"):
        write_picture(tmp_path / f"a{suffix}", Picture(photo))
    write_picture(tmp_path / "a.png", Picture(photo))
    write_picture(tmp_path / f"a{suffix}", Picture(photo[:, :-1]))


def test_suffixes(tmp_path: Path) -> None:
    assert can_write(".PNG")
    assert can_write(".jpeg")
    assert not can_write(".gif")
    assert not can_write("png")
    for name in ("a.gif", "a", "a.heic"):
        with pytest.raises(PhotoError, match=r"PNG \(\.png\), JPEG .* Change its suffix"):
            write_picture(tmp_path / name, picture_of(made(4, 4, 3, 8)))


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_quality_outside_its_range(tmp_path: Path, quality: int) -> None:
    with pytest.raises(PhotoError, match="between 1 and 100"):
        write_picture(tmp_path / "a.jpg", picture_of(made(4, 4, 3, 8)), quality=quality)


@pytest.mark.parametrize("quality", [90.5, "90"])
def test_a_quality_that_is_no_whole_number(tmp_path: Path, quality: Any) -> None:
    with pytest.raises(PhotoError, match=f"The quality is {quality!r}; it has to be a whole number from 1 to 100"):
        write_picture(tmp_path / "a.jpg", picture_of(made(4, 4, 3, 8)), quality=quality)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_quality_of_numpys_type(tmp_path: Path, suffix: str) -> None:
    for quality in (np.int64(70), 70):
        write_picture(tmp_path / f"{type(quality).__name__}{suffix}", picture_of(made(4, 4, 3, 8)), quality=quality)
    assert (tmp_path / f"int64{suffix}").read_bytes() == (tmp_path / f"int{suffix}").read_bytes()


def test_a_picture_with_inconsistent_fields() -> None:
    photo = np.zeros((4, 5, 3), np.float32)
    with pytest.raises(ValueError, match="height, width, 3"):
        Picture(photo[..., 0])
    with pytest.raises(ValueError, match="alpha"):
        Picture(photo, np.zeros((5, 4), np.float32))
    with pytest.raises(ValueError, match="bits"):
        Picture(photo, bits=12)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64, np.float16, np.float64])
def test_other_numbers_than_float32_are_refused(kind: type[np.generic]) -> None:
    """Of float16, 16 bits per channel would become black."""
    with pytest.raises(ValueError, match=f"photo is {np.dtype(kind)}, which is not float32; its values go from 0 to 1"):
        Picture(np.zeros((2, 2, 3), kind))
    with pytest.raises(ValueError, match=f"alpha is {np.dtype(kind)}, which is not float32"):
        Picture(np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), kind))


def test_paths_may_be_texts(tmp_path: Path) -> None:
    picture = picture_of(made(4, 5, 3, 8))
    write_picture(str(tmp_path / "a.png"), picture)
    assert read_picture(str(tmp_path / "a.png"), 1).width == picture.width
    assert left_out(picture, "a.jpg") == ()

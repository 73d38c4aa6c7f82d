"""Every kind of pixels that a file can hold, read as a person who looks at it would expect."""

from __future__ import annotations

import io
import itertools
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from gpen.images import READABLE_SUFFIXES, read_picture, write_picture

Samples = np.ndarray[Any, Any]


def made(height: int, width: int, channels: int, bits: int = 8) -> Samples:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(1).integers(0, 2**bits, (height, width, channels), dtype=kind)


def smooth(channels: int) -> Samples:
    y, x = np.mgrid[:48, :56]
    return (
        np.stack([np.sin(x / 11 + k) * np.cos(y / (9 + k)) for k in range(channels)], -1) * 90 + 128
    ).astype(np.uint8)


def assert_samples(path: Path, expected: Samples, *, grey: bool | None = None) -> None:
    """Compare with uint8 or uint16 samples (H, W, 1 to 4 channels)."""
    found = read_picture(path, 1)
    top = np.iinfo(expected.dtype).max
    channels = expected.shape[2]
    assert found.bits == expected.dtype.itemsize * 8
    assert found.grey == (channels < 3 if grey is None else grey)
    colour = expected[..., :3] if channels > 2 else expected[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(np.rint(found.photo.astype(np.float64) * top), colour)
    if channels in (2, 4):
        assert found.alpha is not None
        np.testing.assert_array_equal(np.rint(found.alpha.astype(np.float64) * top), expected[..., -1])
    else:
        assert found.alpha is None


# --- orientation


def upright(samples: Samples, orientation: int) -> Samples:
    """Turn by looking every pixel up: where EXIF says that the stored rows and columns are."""
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
    Image.fromarray(samples).save(
        tmp_path / "a", kind, exif=exif_with(orientation), lossless=True, exact=True
    )
    assert_samples(tmp_path / "a", upright(samples, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("grey", [False, True])
def test_orientation_of_jpeg(tmp_path: Path, orientation: int, grey: bool) -> None:
    samples = smooth(3)
    image = Image.fromarray(samples).convert("L" if grey else "RGB")
    image.save(tmp_path / "plain.jpg", quality=95)
    image.save(tmp_path / "turned.jpg", quality=95, exif=exif_with(orientation))
    stored = read_picture(tmp_path / "plain.jpg", 1).photo
    np.testing.assert_array_equal(
        read_picture(tmp_path / "turned.jpg", 1).photo, upright(stored, orientation)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_orientation_of_16_bits(tmp_path: Path, orientation: int, channels: int) -> None:
    samples = made(5, 8, channels, 16)
    (tmp_path / "a.png").write_bytes(png(samples, {b"eXIf": exif_with(orientation).tobytes()[6:]}))
    assert_samples(tmp_path / "a.png", upright(samples, orientation))
    tifffile = pytest.importorskip("tifffile")
    for order in "<>":
        (tmp_path / "a.tif").write_bytes(
            tiff(tifffile, samples, byteorder=order, extratags=[(274, 3, 1, orientation, True)])
        )
        assert_samples(tmp_path / "a.tif", upright(samples, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_palette_tiff(tmp_path: Path, orientation: int) -> None:
    """Pillow decodes these, and some of its versions turn them on their own."""
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


def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    samples = made(5, 8, 3, 8)
    for block in (b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"nonsense" * 5, b"II*\0\x08\0\0\0\xff\xff"):
        (tmp_path / "a.png").write_bytes(png(samples, {b"eXIf": block}))
        assert read_picture(tmp_path / "a.png", 1).exif is None
        assert_samples(tmp_path / "a.png", samples)


# --- PNG


def png(
    samples: Samples, chunks: dict[bytes, bytes] | None = None, *, depth: int = 0, colour: int = -1
) -> bytes:
    """Make a PNG file by hand, without filters: whole bytes for each sample, or the rows as given."""
    height, width, channels = samples.shape
    depth = depth or samples.dtype.itemsize * 8
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if colour < 0 else colour
    if depth < 8:
        bits = np.unpackbits(samples[..., 0][..., None], axis=2)[..., 8 - depth :].reshape(height, -1)
        rows = np.packbits(bits, axis=1)
    else:
        rows = samples.astype(f">u{depth // 8}").reshape(height, -1).view(np.uint8)
    pixels = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [*(chunks or {}).items(), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


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
    near[-1] ^= 1  # a reader that looks at eight of sixteen bits takes this for the key as well
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
    """Adam7, made by hand for 8 and 16 bits: seven pictures, one after the other."""
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


# --- TIFF


def tiff(tifffile: Any, samples: Samples, *, planar: bool = False, **more: Any) -> bytes:
    channels = samples.shape[2]
    options: dict[str, Any] = {"photometric": "rgb" if channels > 2 else "minisblack", "metadata": None}
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    if channels == 1:
        samples = samples[..., 0]
    elif planar:
        samples = samples.transpose(2, 0, 1)
    if channels > 1:
        options["planarconfig"] = "separate" if planar else "contig"
    file = io.BytesIO()
    tifffile.imwrite(file, np.ascontiguousarray(samples), **(options | more))
    return file.getvalue()


def layouts() -> Iterator[dict[str, Any]]:
    for order, big, packing, planar in itertools.product(
        "<>", (False, True), ((None, None), ("zlib", None), ("zlib", 2), ("lzma", 2)), (False, True)
    ):
        for pieces in ({}, {"rowsperstrip": 5}, {"tile": (16, 32)}):
            layout = {"byteorder": order, "bigtiff": big, "planar": planar, **pieces}
            yield {**layout, "compression": packing[0], "predictor": packing[1]}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_in_every_layout(tmp_path: Path, bits: int, channels: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    samples = made(37, 41, channels, bits)
    for layout in layouts():
        (tmp_path / "a.tif").write_bytes(tiff(tifffile, samples, **layout))
        assert_samples(tmp_path / "a.tif", samples)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("packing", [1, 5, 8, 32773], ids=["none", "lzw", "deflate", "packbits"])
def test_16_bit_tiff_as_opencv_writes_it(tmp_path: Path, channels: int, packing: int) -> None:
    samples = made(37, 41, channels, 16)
    ok, data = cv2.imencode(".tif", samples[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, packing])
    assert ok
    (tmp_path / "a.tif").write_bytes(data.tobytes())
    assert_samples(tmp_path / "a.tif", samples)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("packing", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_tiff_as_pillow_writes_it(tmp_path: Path, mode: str, packing: str | None) -> None:
    image = Image.fromarray(made(37, 41, 4)).convert("1" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(made(37, 41, 1, 16)[..., 0])
    image.save(tmp_path / "a.tif", compression=packing)
    expected = np.asarray(image.convert("L") if mode == "1" else image)
    assert_samples(tmp_path / "a.tif", expected.reshape(37, 41, -1))


def test_tiff_with_jpeg_inside(tmp_path: Path) -> None:
    Image.fromarray(smooth(3)).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    found = read_picture(tmp_path / "a.tif", 1).photo
    assert abs(found * 255 - smooth(3)).mean() < 4


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_where_white_is_zero(tmp_path: Path, bits: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    samples = made(9, 7, 1, bits)
    (tmp_path / "a.tif").write_bytes(tiff(tifffile, samples, photometric="miniswhite"))
    assert_samples(tmp_path / "a.tif", np.iinfo(samples.dtype).max - samples)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [2, 4])
def test_tiff_with_multiplied_alpha(tmp_path: Path, bits: int, channels: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    top = 2**bits - 1
    straight = made(19, 23, channels, bits).astype(np.float64)
    straight[0, :, -1], straight[1, :, -1] = 0, top
    stored = straight.copy()
    stored[..., :-1] *= straight[..., -1:] / top
    samples = np.rint(stored).astype(f"u{bits // 8}")
    (tmp_path / "a.tif").write_bytes(tiff(tifffile, samples, extrasamples=["assocalpha"]))
    found = read_picture(tmp_path / "a.tif", 1)
    assert found.alpha is not None
    np.testing.assert_array_equal(np.rint(found.alpha * top), straight[..., -1])
    colours = np.broadcast_to(straight[..., :-1], (19, 23, 3))
    # One rounding on the way in is worth one step divided by the alpha.
    allowed = 0.5 / top + 0.5 / np.maximum(straight[..., -1:], 0.5) + 1e-6
    seen = straight[..., -1] > 0
    assert (abs(found.photo - colours / top) <= allowed)[seen].all()
    np.testing.assert_allclose(found.photo[1], colours[1] / top, atol=1e-6)
    assert not found.photo[0].any()


def test_channels_that_are_not_alpha_are_left_out(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for bits in (8, 16):
        samples = made(9, 7, 4, bits)
        (tmp_path / "a.tif").write_bytes(tiff(tifffile, samples, extrasamples=["unspecified"]))
        assert_samples(tmp_path / "a.tif", samples[..., :3])


def test_a_thumbnail_is_no_second_page(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    samples = made(40, 40, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(samples, photometric="rgb", metadata=None)
        file.write(samples[::4, ::4].copy(), photometric="rgb", subfiletype=1, metadata=None)
    assert_samples(tmp_path / "a.tif", samples)


# --- CMYK


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


def test_cmyk_with_a_profile_that_is_broken(tmp_path: Path) -> None:
    profile = cmyk_profile()
    broken = profile[:140] + bytes(len(profile) - 140)
    cmyk_image().save(tmp_path / "a.jpg", quality=100, subsampling=0, icc_profile=broken)
    cmyk_image().save(tmp_path / "none.jpg", quality=100, subsampling=0)
    found = read_picture(tmp_path / "a.jpg", 1)
    assert found.icc is None
    np.testing.assert_array_equal(found.photo, read_picture(tmp_path / "none.jpg", 1).photo)


def test_cmyk_comes_out_as_a_colour_picture(tmp_path: Path) -> None:
    cmyk_image().save(tmp_path / "a.jpg", quality=95)
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.jpg", 1))
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.mode == "RGB"


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
    for suffix in (*sorted(READABLE_SUFFIXES), ".xyz", ""):
        (tmp_path / f"a{suffix}").write_bytes(png(samples))
        assert_samples(tmp_path / f"a{suffix}", samples)
        assert read_picture(tmp_path / f"a{suffix}", 1).format == "PNG"


def test_pictures_from_phones_with_a_second_picture_inside(tmp_path: Path) -> None:
    first = Image.fromarray(smooth(3))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[first.rotate(180)], quality=95)
    first.save(tmp_path / "b.jpg", quality=95)
    np.testing.assert_array_equal(
        read_picture(tmp_path / "a.jpg", 1).photo, read_picture(tmp_path / "b.jpg", 1).photo
    )


# --- Pillow's global settings


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_pillows_limit_neither_blocks_nor_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
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
    assert Image.MAX_IMAGE_PIXELS == 100


def test_the_made_profile_is_one() -> None:
    """The profile made here is one that littleCMS accepts: otherwise its test would see the fallback."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile()))
    assert profile.profile.xcolor_space.strip() == "CMYK"

"""TIFF files in every layout."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from gpen.images import read_picture
from tests.images.made import assert_samples, made, smooth, tiff


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
    samples = made(37, 41, channels, bits)
    for layout in layouts():
        (tmp_path / "a.tif").write_bytes(tiff(samples, **layout))
        assert_samples(tmp_path / "a.tif", samples)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("packing", [1, 5, 8, 32773], ids=["none", "lzw", "deflate", "packbits"])
def test_16_bit_tiff_as_opencv_writes_it(tmp_path: Path, channels: int, packing: int) -> None:
    samples = made(37, 41, channels, 16)
    ok, data = cv2.imencode(
        ".tif", samples[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]], [cv2.IMWRITE_TIFF_COMPRESSION, packing]
    )
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


@pytest.mark.parametrize("bits", [8, 16])
def test_a_predictor_without_compression_has_no_effect(tmp_path: Path, bits: int) -> None:
    samples = made(9, 7, 3, bits)
    data = tiff(samples, extratags=[(65000, 3, 1, 2, True)])
    stated = struct.pack("<HHIHH", 65000, 3, 1, 2, 0)
    assert data.count(stated) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(stated, struct.pack("<HHIHH", 317, 3, 1, 2, 0)))
    assert_samples(tmp_path / "a.tif", samples)


def test_tiff_with_jpeg_inside(tmp_path: Path) -> None:
    Image.fromarray(smooth(3)).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    found = read_picture(tmp_path / "a.tif", 1).photo
    assert abs(found * 255 - smooth(3)).mean() < 4


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_where_white_is_zero(tmp_path: Path, bits: int) -> None:
    samples = made(9, 7, 1, bits)
    (tmp_path / "a.tif").write_bytes(tiff(samples, photometric="miniswhite"))
    assert_samples(tmp_path / "a.tif", np.iinfo(samples.dtype).max - samples)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [2, 4])
def test_tiff_with_premultiplied_alpha(tmp_path: Path, bits: int, channels: int) -> None:
    top = 2**bits - 1
    straight = made(19, 23, channels, bits).astype(np.float64)
    straight[0, :, -1], straight[1, :, -1] = 0, top
    stored = straight.copy()
    stored[..., :-1] *= straight[..., -1:] / top
    samples = np.rint(stored).astype(f"u{bits // 8}")
    (tmp_path / "a.tif").write_bytes(tiff(samples, extrasamples=["assocalpha"]))
    found = read_picture(tmp_path / "a.tif", 1)
    assert found.alpha is not None
    np.testing.assert_array_equal(np.rint(found.alpha * top), straight[..., -1])
    colours = np.broadcast_to(straight[..., :-1], (19, 23, 3))
    # One rounding error in the file is magnified by one over alpha.
    allowed = 0.5 / top + 0.5 / np.maximum(straight[..., -1:], 0.5) + 1e-6
    seen = straight[..., -1] > 0
    assert (abs(found.photo - colours / top) <= allowed)[seen].all()
    np.testing.assert_allclose(found.photo[1], colours[1] / top, atol=1e-6)
    assert not found.photo[0].any()


def test_channels_that_are_not_alpha_are_dropped(tmp_path: Path) -> None:
    for bits in (8, 16):
        samples = made(9, 7, 4, bits)
        (tmp_path / "a.tif").write_bytes(tiff(samples, extrasamples=["unspecified"]))
        assert_samples(tmp_path / "a.tif", samples[..., :3])


def test_a_thumbnail_is_not_a_second_page(tmp_path: Path) -> None:
    samples = made(40, 40, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(samples, photometric="rgb", metadata=None)
        file.write(samples[::4, ::4].copy(), photometric="rgb", subfiletype=1, metadata=None)
    assert_samples(tmp_path / "a.tif", samples)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "packing"),
    [(8, None), (8, "zlib"), (16, "zlib"), (8, 5), (16, 5)],
    ids=["plain", "deflate", "deflate 16", "lzw", "lzw 16"],
)
def test_a_thumbnail_before_the_picture(tmp_path: Path, big: bool, order: Any, bits: int, packing: Any) -> None:
    """Each decoder gets the picture, in its own orientation: tifffile, Pillow (LZW) and OpenCV (LZW with 16 bits)."""
    if (big, order, bits, packing) == (True, ">", 8, 5):
        pytest.skip("Pillow takes the header of BigTIFF in this order for another one")
    samples = made(40, 44, 3, bits)
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order, bigtiff=big) as file:
        file.write(samples[::4, ::4].copy(), photometric="rgb", subfiletype=1, metadata=None)
        options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "extratags": [(274, 3, 1, 6, True)]}
        if packing == 5:  # tifffile packs none
            pieces = iter([lzw(samples.astype(samples.dtype.newbyteorder(order)).tobytes())])
            options |= {"shape": samples.shape, "dtype": samples.dtype, "rowsperstrip": 40}
            file.write(pieces, compression="zlib", **options)
        else:
            file.write(samples, compression=packing, **options)
    if packing == 5:
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
            file.pages[1].tags[259].overwrite(5)
    assert_samples(tmp_path / "a.tif", np.rot90(samples, -1))


def lzw(content: bytes) -> bytes:
    """Literals of nine bits each, with the table emptied before codes grow."""
    codes = []
    for start in range(0, len(content), 200):
        codes += [256, *content[start : start + 200]]
    digits = "".join(f"{code:09b}" for code in [*codes, 257])
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def test_a_thumbnail_whose_picture_is_a_page_below_it(tmp_path: Path) -> None:
    samples = made(40, 44, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        small = samples[::4, ::4].copy()
        file.write(small, photometric="rgb", subfiletype=1, metadata=None, subifds=1)
        file.write(samples, photometric="rgb", metadata=None)
    assert_samples(tmp_path / "a.tif", samples)


@pytest.mark.parametrize("packing", [None, "zlib", "lzma"])
@pytest.mark.parametrize("planar", [False, True])
def test_cmyk_with_alpha(tmp_path: Path, packing: Any, planar: bool) -> None:
    ink = made(19, 23, 5)
    stored = np.ascontiguousarray(ink.transpose(2, 0, 1)) if planar else ink
    layout = "separate" if planar else "contig"
    options: dict[str, Any] = {"photometric": "separated", "compression": packing, "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", stored, planarconfig=layout, extrasamples=["unassalpha"], **options)
    found = read_picture(tmp_path / "a.tif", 1)
    share = ink.astype(np.float64) / 255
    assert abs(found.photo - (1 - share[..., :3]) * (1 - share[..., 3:4])).max() < 1.01 / 255
    assert found.alpha is not None
    np.testing.assert_array_equal(np.rint(found.alpha * 255), ink[..., 4])
    assert (found.grey, found.bits, found.icc) == (False, 8, None)

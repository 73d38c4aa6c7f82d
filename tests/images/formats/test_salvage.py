"""Files that are cut short: an error by default, and read as far as they go where that is asked for."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from gpen.errors import PhotoError, SalvageableError
from gpen.images import left_out, read_picture, write_picture
from gpen.images.formats.jpeg import all_grey
from gpen.images.picture import Picture
from tests.images.made import Samples, made, png, smooth, tiff


def salvaged(path: Path, data: bytes) -> tuple[Samples, int, Picture]:
    """The samples, how many rows are said to be missing, and the picture; without asking, the file is an error."""
    path.write_bytes(data)
    with pytest.raises(SalvageableError, match=r"damaged or incomplete") as error:
        read_picture(path, 1)
    assert "salvage" not in str(error.value)  # the page and the WebUI have no such switch
    found = read_picture(path, 1, salvage=True)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert path.read_bytes() == data
    assert found.salvaged
    (notice,) = left_out(found, Path("a.png"))
    said = re.search(r"(\d+) of its (\d+) rows of pixels are missing", notice)
    assert said is not None
    assert int(said[2]) == found.height
    return np.rint(found.photo.astype(np.float64) * (2**found.bits - 1)), int(said[1]), found


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "plain", "zlib", "predictor", "tiles", "lzw", "lzw strips", "lzw tiles"])
def test_rows_before_the_cut_are_kept(tmp_path: Path, kind: str, channels: int, bits: int) -> None:
    if kind.startswith("lzw"):
        pytest.importorskip("imagecodecs")
    samples = made(64, 40, channels, bits)
    packings: dict[str, dict[str, Any]] = {
        "plain": {"rowsperstrip": 9},
        "zlib": {"rowsperstrip": 64, "compression": "zlib"},
        "predictor": {"rowsperstrip": 9, "compression": "zlib", "predictor": 2},
        "tiles": {"tile": (16, 16), "compression": "zlib"},
        "lzw": {"rowsperstrip": 64, "compression": "lzw"},
        "lzw strips": {"rowsperstrip": 9, "compression": "lzw", "predictor": 2},
        "lzw tiles": {"tile": (16, 16), "compression": "lzw"},
    }
    data = png(samples) if kind == "png" else tiff(samples, **packings[kind])
    found, lost, picture = salvaged(tmp_path / "a", data[: len(data) * 6 // 10])
    assert 16 <= lost <= 48
    colours = samples[..., :3] if channels > 2 else samples[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(found[: 64 - lost], colours[: 64 - lost])
    assert (found[-1] == {8: 128, 16: 0x8080}[bits]).all()
    assert picture.bits == bits
    if channels in (2, 4):
        assert picture.alpha is not None
        assert (picture.alpha[-1] == 1).all()
    write_picture(tmp_path / "b.png", picture)
    assert not read_picture(tmp_path / "b.png", 1).salvaged


def test_a_jpeg_is_read_up_to_its_cut(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(made(64, 40, 3)).save(file, "JPEG", quality=90, subsampling=0)
    data = file.getvalue()
    found, lost, _ = salvaged(tmp_path / "a.jpg", data[: len(data) * 6 // 10])
    whole = np.asarray(Image.open(file))
    assert 16 <= lost <= 48
    np.testing.assert_array_equal(found[: 64 - lost], whole[: 64 - lost])
    assert (found[64 - lost : 72 - lost] != whole[64 - lost : 72 - lost]).any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pieces", [{"rowsperstrip": 16}, {"rowsperstrip": 64}, {"tile": (16, 32)}])
@pytest.mark.parametrize("part", [0.5, 0.6, 0.9])
def test_a_tiff_with_jpeg_inside_is_read_up_to_its_cut(
    tmp_path: Path, part: float, pieces: dict[str, Any], channels: int
) -> None:
    pytest.importorskip("imagecodecs")
    data = tiff(made(64, 40, channels), compression="jpeg", compressionargs={"level": 90}, **pieces)
    with Image.open(io.BytesIO(data)) as image:
        whole = np.asarray(image.convert("RGB"))
    found, lost, _ = salvaged(tmp_path / "a.tif", data[: int(len(data) * part)])
    assert 0 < lost < 64 * (1.1 - part) + 17
    np.testing.assert_array_equal(found[: 64 - lost], whole[: 64 - lost])
    assert np.abs(found[-1, -1] - 128).max() <= 1


def test_a_tiff_with_tables_of_jpeg_in_common(tmp_path: Path) -> None:
    """As libtiff writes it; its tags come first here, as scanners write them."""
    file = io.BytesIO()
    Image.fromarray(smooth(3)).save(file, "TIFF", compression="jpeg", quality=90, tiffinfo={278: 16})
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as opened:
        page = opened.pages.first
        tables = page.tags[347].value
        strips = [
            file.getvalue()[at : at + size] for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
        assert len(strips) == 3
    assert tables[:2] == b"\xff\xd8"
    data = tiff_of_strips(strips, tables, 56, 48, 16)
    with Image.open(file) as image:
        whole = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), whole)
    found, lost, _ = salvaged(tmp_path / "a.tif", data[: len(data) - len(strips[2]) - len(strips[1]) // 2])
    assert 16 < lost <= 32
    np.testing.assert_array_equal(found[:16], whole[:16])
    assert np.abs(found[32:] - 128).max() <= 1


def tiff_of_strips(strips: list[bytes], tables: bytes, width: int, height: int, rows: int) -> bytes:
    """RGB in JPEG, with its tags before its pixels."""
    count, at = len(strips), 8 + 2 + 11 * 12 + 4
    starts = at + 6 + 8 * count + len(tables)
    offsets = [starts + sum(map(len, strips[:index])) for index in range(count)]
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, at), (259, 3, 1, 7), (262, 3, 1, 2),
        (273, 4, count, at + 6), (277, 3, 1, 3), (278, 4, 1, rows), (279, 4, count, at + 6 + 4 * count),
        (284, 3, 1, 1), (347, 7, len(tables), at + 6 + 8 * count),
    ]  # fmt: skip
    data = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    data += bytes(4) + struct.pack("<3H", 8, 8, 8) + struct.pack(f"<{2 * count}I", *offsets, *map(len, strips))
    return data + tables + b"".join(strips)


def test_lzw_of_an_old_kind_and_damaged_lzw(tmp_path: Path) -> None:
    """Whatever a byte is replaced with, rows before it are kept, and nothing else than an error is raised."""
    pytest.importorskip("imagecodecs")
    samples, rng = made(64, 40, 3) // 64, np.random.default_rng(5)
    data = tiff(samples, compression="lzw", rowsperstrip=64)
    (start,) = tifffile.TiffFile(io.BytesIO(data)).pages.first.dataoffsets
    tried = 0
    for _ in range(40):
        damaged, at = bytearray(data), int(rng.integers(start, len(data)))
        damaged[at] ^= int(rng.integers(1, 256))
        (tmp_path / "a.tif").write_bytes(damaged)
        try:
            read_picture(tmp_path / "a.tif", 1)
        except SalvageableError:
            tried += 1
            found = np.rint(read_picture(tmp_path / "a.tif", 1, salvage=True).photo * 255)
            kept = int(64 * (at - start) / (len(data) - start) * 0.9) - 1
            np.testing.assert_array_equal(found[: max(0, kept)], samples[: max(0, kept)])
        except PhotoError:
            continue
    assert tried > 5
    (tmp_path / "a.tif").write_bytes(data[:start] + b"\0\1" + data[start + 2 : -50])
    with pytest.raises(PhotoError, match="damaged"):
        read_picture(tmp_path / "a.tif", 1, salvage=True)


def test_a_progressive_jpeg_lacks_details(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(made(64, 40, 3)).save(file, "JPEG", progressive=True)
    (tmp_path / "a.jpg").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    found = read_picture(tmp_path / "a.jpg", 1, salvage=True)
    assert "its 64 rows of pixels lack details" in left_out(found, Path("a.jpg"))[0]


def test_whole_files_are_not_touched(tmp_path: Path) -> None:
    samples = made(9, 7, 3)
    (tmp_path / "a.png").write_bytes(png(samples))
    found = read_picture(tmp_path / "a.png", 1, salvage=True)
    assert not found.salvaged
    np.testing.assert_array_equal(np.rint(found.photo * 255), samples)


def test_what_cannot_be_salvaged_is_not_promised(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(made(9, 7, 3))[:40])
    for salvage in (False, True):
        with pytest.raises(PhotoError, match="damaged or incomplete") as error:
            read_picture(tmp_path / "a.png", 1, salvage=salvage)
        assert type(error.value) is PhotoError


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_what_is_promised_is_kept(tmp_path: Path, kind: str, mode: str) -> None:
    if (kind, mode) == ("JPEG", "P"):
        pytest.skip("JPEG has no palette")
    file, rng, tried = io.BytesIO(), np.random.default_rng(8), 0
    Image.fromarray(made(60, 50, 3)).convert(mode).save(file, kind)
    for number in range(60):
        damaged = bytearray(file.getvalue())
        for at in rng.integers(8, len(damaged), 3 * (number % 2)):
            damaged[at] = rng.integers(256)
        (tmp_path / "a").write_bytes(damaged[: rng.integers(12, len(damaged))])
        try:
            read_picture(tmp_path / "a", 1)
        except SalvageableError:
            tried += 1
            assert read_picture(tmp_path / "a", 1, salvage=True).salvaged
        except PhotoError:
            continue
    assert tried > 10


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_interlaced_png(tmp_path: Path, part: float) -> None:
    samples = made(30, 26, 3)
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    lines = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in steps for row in samples[y::dy, x::dx])
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 26, 30, 8, 2, 0, 0, 1)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    found, lost, _ = salvaged(tmp_path / "a.png", data[: int(len(data) * part)])
    is_kept, is_grey = (found == samples).all(axis=2), (found == 128).all(axis=2)
    assert (is_kept | is_grey).all()
    assert lost == (~is_kept.all(axis=1)).sum()
    assert part - 0.1 < is_kept.mean() <= part


@pytest.mark.parametrize("restarts", [0, 3])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_that_takes_the_place_of_pixels_of_jpeg(mode: str, subsampling: int, restarts: int) -> None:
    file = io.BytesIO()
    image = Image.fromarray(made(64, 40, 3)).convert(mode)
    image.save(file, "JPEG", subsampling=subsampling, restart_marker_blocks=restarts)
    data = file.getvalue()
    scan = data.index(b"\xff\xda")
    head = data[: scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")]
    with Image.open(io.BytesIO(all_grey(b"\xff\xd8", head, 33))) as grey:
        assert grey.size == (40, 33)
        assert (np.asarray(grey) == 128).all()

"""Files that cannot be read or written are refused with a message, and nothing is left behind."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture, write_picture
from gpen.images.sniff import HEAD
from gpen.options import OPTIONS
from tests.images.made import made, tiff

ALL = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]
SUFFIXES = [".png", ".jpg", ".webp", ".tif"]


def image(width: int = 60, height: int = 50) -> Image.Image:
    samples = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(samples)


def saved(kind: str, picture: Image.Image | None = None, **more: Any) -> bytes:
    file = io.BytesIO()
    (picture or image()).save(file, kind, **more)
    return file.getvalue()


def refused(path: Path, data: bytes | None = None, limit: float = 1) -> str:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PhotoError) as caught:
        read_picture(path, limit)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert sentence.endswith(".")
    return sentence


# --- size


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def huge(kind: str) -> bytes:
    """Only a header, of 40000 × 30000 pixels (WebP: 16000 × 15000), without any pixels."""
    if kind == "PNG":
        return png_header(40000, 30000) + struct.pack(">I", 100) + b"IDAT"
    data = saved(kind)
    if kind == "JPEG":
        frame = data.index(b"\xff\xc0")
        scan = data.index(b"\xff\xda")
        return data[: frame + 5] + struct.pack(">HH", 30000, 40000) + data[frame + 9 : scan + 14]
    if kind == "TIFF":
        entry = struct.Struct("<HHII")
        tags = [(256, 4, 1, 40000), (257, 4, 1, 30000), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
        return b"II*\0\x08\0\0\0" + struct.pack("<H", 5) + b"".join(entry.pack(*tag) for tag in tags) + bytes(4)
    if kind == "BMP":
        return data[:18] + struct.pack("<ii", 40000, 30000) + data[26:54]
    if kind == "GIF":
        return data[:6] + struct.pack("<HH", 40000, 30000) + data[10:]
    size = struct.pack("<I", 15999)[:3] + struct.pack("<I", 14999)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + size


@pytest.mark.parametrize("kind", ALL)
def test_too_large_is_refused_by_the_header(tmp_path: Path, kind: str) -> None:
    sentence = refused(tmp_path / "a", huge(kind), limit=200.5)
    found = "16000 × 15000" if kind == "WEBP" else "40000 × 30000"
    assert f"{found} pixels" in sentence
    assert re.search(r"(240|1200) megapixels", sentence)
    assert f"the option max_megapixels (“{OPTIONS['max_megapixels'].label}”) allows 200.5" in sentence


@pytest.mark.parametrize("kind", ALL)
def test_the_limit_counts_pixels(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(saved(kind))
    assert read_picture(tmp_path / "a", 0.003).photo.shape == (50, 60, 3)
    assert "60 × 50" in refused(tmp_path / "a", limit=0.002999)


@pytest.mark.parametrize("lossless", [True, False])
def test_the_limit_in_simple_webp_files(tmp_path: Path, lossless: bool) -> None:
    data = saved("WEBP", lossless=lossless)
    assert data[12:16] == (b"VP8L" if lossless else b"VP8 ")
    assert "60 × 50" in refused(tmp_path / "a", data[:40], limit=0.0029)


def test_a_decompression_bomb_takes_no_memory(tmp_path: Path) -> None:
    """Half a megabyte that decompresses to half a gigabyte is refused before it is."""
    pytest.importorskip("resource")
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(500)) + packer.flush()
    data = png_header(20000, 10000)
    for kind, part in ((b"IDAT", body), (b"IEND", b"")):
        data += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    (tmp_path / "a.png").write_bytes(data)
    code = """
        import resource, sys
        from pathlib import Path
        from gpen.images import read_picture
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read_picture(Path(sys.argv[1]), 199)
        except Exception as error:
            print(type(error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    name, grown = run.stdout.split()
    assert name == "PhotoError"
    assert int(grown) < (100_000 << 10 if sys.platform == "darwin" else 100_000)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_decompression_bomb_in_tiff_takes_little_memory(tmp_path: Path, bits: int) -> None:
    flood = zlib.compress(bytes(200 << 20), 9)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        samples = made(50, 60, 3, bits)
        file.write(iter([flood]), shape=samples.shape, dtype=samples.dtype, photometric="rgb", compression="zlib")
    assert "more than they could be" in refused(tmp_path / "a.tif")


def test_tiff_with_missing_pixels(tmp_path: Path) -> None:
    for packing in (None, "zlib"):
        (tmp_path / "a.tif").write_bytes(tiff(made(50, 60, 3, 16), rowsperstrip=50, compression=packing))
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
            file.pages[0].tags[279].overwrite(100)
        assert "damaged or incomplete" in refused(tmp_path / "a.tif")


# --- damage


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.97])
def test_truncated(tmp_path: Path, kind: str, part: float) -> None:
    data = saved(kind)
    assert "damaged or incomplete" in refused(tmp_path / "a", data[: max(12, int(len(data) * part))])


def test_truncated_with_a_host_that_lets_pillow_fill_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = saved("JPEG")
    assert "damaged or incomplete" in refused(tmp_path / "a.jpg", data[: len(data) // 2])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_with_16_bits(tmp_path: Path, suffix: str, part: float) -> None:
    photo = np.random.default_rng(4).random((50, 60, 3)).astype(np.float32)
    write_picture(tmp_path / f"a{suffix}", Picture(photo, bits=16))
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert "damaged or incomplete" in refused(tmp_path / f"a{suffix}", data[: int(len(data) * part)])


def test_a_wrong_checksum(tmp_path: Path) -> None:
    data = bytearray(saved("PNG"))
    data[data.index(b"IDAT") + 500] ^= 1
    assert "damaged or incomplete" in refused(tmp_path / "a.png", bytes(data))
    data = bytearray(saved("PNG"))
    data[17] ^= 1
    assert "damaged or incomplete: its header" in refused(tmp_path / "a.png", bytes(data))


def test_a_png_file_of_16_bits_that_ends_properly_but_has_too_few_rows(tmp_path: Path) -> None:
    data = png_header(60, 50)[:24] + bytes([16]) + png_header(60, 50)[25:29]
    data += struct.pack(">I", zlib.crc32(data[12:29]))
    pixels = zlib.compress(bytes((1 + 60 * 3 * 2) * 49))
    for kind, part in ((b"IDAT", pixels), (b"IEND", b"")):
        data += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    assert "cannot be decoded" in refused(tmp_path / "a.png", data)


@pytest.mark.parametrize("kind", ALL)
def test_noise_never_escapes_as_another_error(tmp_path: Path, kind: str) -> None:
    data = saved(kind)
    rng = np.random.default_rng(5)
    for _ in range(150):
        noisy = bytearray(data)
        for at in rng.integers(4, min(len(data), 400), 6):
            noisy[at] = rng.integers(256)
        (tmp_path / "a").write_bytes(bytes(noisy))
        try:
            found = read_picture(tmp_path / "a", 1)
        except PhotoError:
            continue
        assert found.photo.shape[2] == 3


def test_zero_pixels(tmp_path: Path) -> None:
    assert "damaged or incomplete: its header" in refused(tmp_path / "a.png", png_header(0, 30))


def test_circular_tiff_directories(tmp_path: Path) -> None:
    data = bytearray(saved("TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    (tmp_path / "a.tif").write_bytes(bytes(data))
    try:
        found = read_picture(tmp_path / "a.tif", 1)
    except PhotoError:
        return  # some versions of tifffile read it
    assert found.photo.shape == (50, 60, 3)


# --- files that are not pictures

FOREIGN = {
    "empty": (b"", "is empty"),
    "html": (b"\n <!DOCTYPE html><html><body>Not found</body></html>", "is a web page"),
    "html without doctype": (b"<HTML><head></head>", "is a web page"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawing"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    "openexr": (b"\x76\x2f\x31\x01" + bytes(20), "OpenEXR"),
    "video": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "video"),
    "psd": (b"8BPS\0\1" + bytes(20), "Photoshop"),
    "pdf": (b"%PDF-1.7", "PDF"),
    "zip": (b"PK\x03\x04" + bytes(20), "ZIP archive"),
    "text": (b"hello", "not a picture"),
    "zeros": (bytes(5000), "not a picture"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_not_pictures(tmp_path: Path, name: str) -> None:
    data, expected = FOREIGN[name]
    assert expected in refused(tmp_path / "a.jpg", data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_whose_text_quotes_a_drawing_is_a_picture(tmp_path: Path, kind: str) -> None:
    text = FOREIGN["svg"][0]
    notes = PngInfo()
    notes.add_text("Source", text.decode())
    data = saved(kind, pnginfo=notes) if kind == "PNG" else saved(kind, comment=text)
    assert data.index(b"<svg") < HEAD
    (tmp_path / "a").write_bytes(data)
    assert read_picture(tmp_path / "a", 1).width == 60


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    assert "is a folder" in refused(tmp_path / "b.png")
    with pytest.raises(PhotoError, match="name of a file"):
        read_picture(Path("a\0.png"), 1)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, because an administrator may read everything."""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", forbidden)
    assert "may not be read" in refused(tmp_path / "a.png")


# --- unsupported kinds of pictures


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations(tmp_path: Path, kind: str) -> None:
    frames = [image().rotate(90 * number) for number in range(3)]
    sentence = refused(tmp_path / "a", saved(kind, frames[0], save_all=True, append_images=frames[1:]))
    assert "animated (3 frames)" in sentence
    assert "Save its frames" in sentence


def test_several_pages(tmp_path: Path) -> None:
    data = saved("TIFF", save_all=True, append_images=[image(), image()])
    assert "3 pages" in refused(tmp_path / "a.tif", data)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (np.float32, "floating-point numbers with 32 bits"),
        (np.float16, "floating-point numbers with 16 bits"),
        (np.uint32, "32 bits per channel"),
        (np.int16, "signed numbers with 16 bits"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_unsupported_sample_formats(tmp_path: Path, kind: Any, expected: str, channels: int) -> None:
    samples = np.zeros((9, 7, 3) if channels == 3 else (9, 7), kind)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb" if channels == 3 else "minisblack")
    sentence = refused(tmp_path / "a.tif")
    assert expected in sentence
    assert "8 or 16 bits per channel" in sentence


def test_several_pages_behind_a_thumbnail(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for kind in (1, 0, 0):
            file.write(made(9, 7, 3), photometric="rgb", subfiletype=kind, metadata=None)
    assert "2 pages" in refused(tmp_path / "a.tif")


def test_nothing_but_reduced_copies(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", made(9, 7, 3), photometric="rgb", subfiletype=1, metadata=None)
    assert "holds only reduced copies of a picture" in refused(tmp_path / "a.tif")


def test_unsupported_colours(tmp_path: Path) -> None:
    assert "Lab" in refused(tmp_path / "a.tif", saved("TIFF", Image.new("LAB", (9, 7))))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 7, 4), np.uint16), photometric="separated")
    assert "CMYK colours with 16 bits" in refused(tmp_path / "a.tif")


def test_raw_files_that_cannot_be_developed(tmp_path: Path) -> None:
    samples = np.zeros((9, 7), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="cfa", extratags=[(33421, 3, 2, (2, 2), True)])
    assert "LibRaw does not know" in refused(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        small = np.zeros((4, 4, 3), np.uint8)
        file.write(small, photometric="rgb", subfiletype=1, metadata=None, subifds=1)
        file.write(samples, photometric="cfa", metadata=None, extratags=[(33421, 3, 2, (2, 2), True)])
    assert "LibRaw does not know" in refused(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("bits", "channels", "planar", "packing", "expected"),
    [
        (16, 3, True, 5, "3 channels of 16 bits in an unusual way (LZW, as planes)"),
        (16, 2, False, 5, "2 channels of 16 bits in an unusual way (LZW)"),
        (16, 3, False, 50000, "3 channels of 16 bits in an unusual way (ZSTD)"),
        (8, 4, True, 5, "4 channels of 8 bits in an unusual way (LZW, as planes)"),
        (8, 3, False, 34712, "stores its pixels in an unusual way"),
    ],
)
def test_tiff_layouts_that_no_library_reads_correctly(
    tmp_path: Path, bits: int, channels: int, planar: bool, packing: int, expected: str
) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(made(9, 7, channels, bits), planar=planar, compression="zlib"))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags[259].overwrite(packing)
    sentence = refused(tmp_path / "a.tif")
    assert expected in sentence
    assert "Save it uncompressed, with its channels interleaved" in sentence


def test_a_small_file_takes_little_memory(tmp_path):
    """Whatever the largest picture may be."""
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    tracemalloc.start()
    try:
        read_picture(path, 10_000)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_has_no_size(tmp_path):
    picture, pipe = tmp_path / "a.png", tmp_path / "pipe.png"
    Image.new("RGB", (300, 200), (9, 8, 7)).save(picture, compress_level=0)
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(picture.read_bytes()))
    writer.start()
    assert np.array_equal(read_picture(pipe, 1).photo, read_picture(picture, 1).photo)
    writer.join()

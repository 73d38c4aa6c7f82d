"""Metadata that is damaged, cut short or made to do harm: the photo is read and written all the same."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen.images import left_out, read_picture, write_picture
from tests.files import (
    IRB_HEAD,
    XMP_HEAD,
    bodies,
    chunks,
    pixels,
    resource,
    riff,
    saved,
    tiff,
    with_chunks,
    with_segments,
    xmp_of,
)
from tests.images.metadata.test_texts import (
    COMMENT,
    IPTC,
    LARGE,
    RAW,
    RESOURCES,
    SUFFIXES,
    TEXTS,
    XMP,
    announced,
    extended,
    full,
    written,
)

DAMAGED = [
    XMP[:-40],
    b"<x:xmpmeta><a></b></x:xmpmeta>",
    b"<a b='",
    b"<" * 3000,
    b"\0\xff" * 100,
    b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;</x>",
    XMP.decode().encode("utf-16"),
    b"<![CDATA[",
]


@pytest.mark.parametrize("packet", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_xmp_is_kept_and_said(tmp_path: Path, packet: bytes, suffix: str) -> None:
    data = full(suffix)
    if suffix == ".jpg":
        data = with_segments(saved("JPEG"), [(0xE1, XMP_HEAD + packet)])
    elif suffix == ".png":
        data = with_chunks(saved("PNG"), [(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + packet)])
    elif suffix == ".webp":
        data = saved("WEBP", lossless=True, xmp=packet)
    else:
        data = tiff({700: (1, packet)})
    path = written(tmp_path, data, suffix, suffix)
    assert xmp_of(path) == packet
    assert left_out(read_picture(tmp_path / f"a{suffix}", 1), path) == (
        "Its XMP is damaged or too long, and is corrected only as far as it can be read.",
    )


def test_so_many_resources_that_no_program_wrote_them(tmp_path: Path) -> None:
    for number, said in ((10_000, 0), (10_001, 1)):
        (tmp_path / "a.tif").write_bytes(tiff({34377: (1, resource(0x0425, b"") * number)}))
        assert len(left_out(read_picture(tmp_path / "a.tif", 1), Path("b.tif"))) == said


def test_damaged_photoshop_data_are_kept_as_far_as_they_go(tmp_path: Path) -> None:
    for stored in (RESOURCES[:-3], RESOURCES + b"8BIM\x04", RESOURCES + b"rubbish"):
        data = with_segments(saved("JPEG"), [(0xED, IRB_HEAD + stored)])
        found = b"".join(bodies(written(tmp_path, data, ".jpg", ".jpg").read_bytes(), 0xED, IRB_HEAD))
        assert found == (RESOURCES if len(stored) > len(RESOURCES) else RESOURCES[: -len(resource(0x0425, bytes(15)))])
        said = left_out(read_picture(tmp_path / "a.jpg", 1), Path("b.jpg"))
        assert said == ("Its IPTC and Photoshop data are damaged, and are kept only as far as they can be read.",)


def bomb(size: int) -> bytes:
    """A zlib stream that grows to that many bytes."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)), packer.flush()])


def test_texts_that_grow_beyond_bounds_are_left_out_and_said(tmp_path: Path) -> None:
    import tracemalloc

    huge = bomb(500 << 20)
    grown = [
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + huge),
        (b"zTXt", b"Comment\0\0" + huge),
        (b"zTXt", b"Raw profile type iptc\0\0" + huge),
        (b"iCCP", b"profile\0\0" + huge),
    ]
    (tmp_path / "a.png").write_bytes(with_chunks(saved("PNG"), grown))
    tracemalloc.start()
    picture = read_picture(tmp_path / "a.png", 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 << 20  # of which reading the file itself reserves 264
    np.testing.assert_array_equal(np.rint(picture.photo * 255), pixels())
    (said,) = left_out(picture, Path("b.png"))
    assert "text “XML:com.adobe.xmp”, text “Comment” and text “Raw profile type iptc” are left out" in said


def test_texts_that_are_only_kept_are_not_unpacked(tmp_path: Path) -> None:
    text = (b"zTXt", b"workflow\0\0" + bomb(300 << 20))
    data = with_chunks(saved("PNG"), [text, (b"tEXt", b"no zero"), (b"iTXt", b"short\0"), (b"zTXt", b"\0\0not zlib")])
    found = chunks(written(tmp_path, data, ".png", ".png").read_bytes())
    assert text in found
    assert (b"tEXt", b"no zero") in found


def test_the_last_text_of_a_file_that_is_cut_short(tmp_path: Path) -> None:
    data = with_chunks(saved("PNG"), [TEXTS[0], (b"tEXt", b"last\0" + bytes(500))], before=b"IEND")
    path = written(tmp_path, data[:-300], ".png", ".png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels())
    assert TEXTS[0] in chunks(path.read_bytes())
    assert "cut short" in left_out(read_picture(tmp_path / "a.png", 1), path)[0]


def test_exif_in_a_text_is_not_kept_twice(tmp_path: Path) -> None:
    """It would state the old orientation."""
    exif = Image.Exif()
    exif[274] = 6
    text = f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n".encode()
    data = with_chunks(saved("PNG"), [(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))])
    path = written(tmp_path, data, ".png", ".png")
    assert {kind for kind, _ in chunks(path.read_bytes())} == {b"IHDR", b"eXIf", b"IDAT", b"IEND"}
    assert read_picture(path, 1).photo.shape == (56, 48, 3)


def test_a_long_comment_of_png_does_not_fit_jpeg(tmp_path: Path) -> None:
    data = with_chunks(saved("PNG"), [(b"tEXt", b"Comment\0" + b"x" * 70_000), (b"tEXt", b"Comment\0short")])
    path = written(tmp_path, data, ".png", ".jpg")
    assert bodies(path.read_bytes(), 0xFE) == [b"short"]
    said = left_out(read_picture(tmp_path / "a.png", 1), path)
    assert said == ("Its comment is longer than JPEG allows, and is left out.",)


def test_pillow_reads_what_is_written(tmp_path: Path) -> None:
    path = written(tmp_path, full(".jpg"), ".jpg", ".jpg")
    with Image.open(path) as image:
        image.load()
        assert image.info["photoshop"][0x0404] == IPTC
        assert image.info["comment"] == b"second\0"
    webp = riff(written(tmp_path, full(".webp"), ".webp", ".webp").read_bytes())
    assert {b"VP8X", b"VP8L", b"XMP "} == set(webp)
    assert io.BytesIO(webp[b"XMP "]).read() == XMP


def damaged(body: bytes, random: np.random.Generator) -> bytes:
    """Some bytes changed, or missing, or more of them."""
    changed = bytearray(body)
    for _ in range(random.integers(1, 6)):
        at = int(random.integers(len(changed)))
        changed[at] = int(random.choice([0, 255, 34, 39, 60, 62, 47, int(random.integers(256))]))
    if random.random() < 0.4:
        del changed[int(random.integers(1, len(changed))) :]
    if random.random() < 0.2:
        changed += random.bytes(50)
    return bytes(changed)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_is_damaged_the_photo_is_read_and_written(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(3)
    large = announced(LARGE)
    for _ in range(100):
        packet, resources, comment = (damaged(body, random) for body in (large, RESOURCES, COMMENT))
        if suffix == ".jpg":
            pieces = [(0xE1, damaged(body, random)) for _, body in extended(LARGE)]
            added = [(0xE1, XMP_HEAD + packet), *pieces, (0xED, IRB_HEAD + resources), (0xFE, comment), (0xE2, packet)]
            data = with_segments(saved("JPEG", quality=95), added)
        elif suffix == ".png":
            texts = [(kind, damaged(body, random)) for kind, body in [*TEXTS[:4], *RAW]]
            data = with_chunks(saved("PNG"), [(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + packet), *texts])
        elif suffix == ".webp":
            data = saved("WEBP", lossless=True, xmp=packet)
        else:
            data = tiff({700: (1, packet), 33723: (7, comment), 34377: (1, resources)})
        (tmp_path / f"a{suffix}").write_bytes(data)
        picture = read_picture(tmp_path / f"a{suffix}", 1)
        assert picture.photo.shape == (48, 56, 3)
        for after in SUFFIXES:
            write_picture(tmp_path / f"b{after}", picture)
            assert read_picture(tmp_path / f"b{after}", 1).photo.shape == (48, 56, 3)


@pytest.mark.parametrize("count", [0, 1, 5, 1 << 20, (1 << 32) - 1])
@pytest.mark.parametrize("tag", [700, 33723, 34377, 270])
def test_tags_of_tiff_that_point_anywhere(tmp_path: Path, tag: int, count: int) -> None:
    data = bytearray(tiff({tag: (2 if tag == 270 else 1, b"a value of some length\0")}))
    (first,) = struct.unpack_from("<I", data, 4)
    at = data.index(struct.pack("<HH", tag, 2 if tag == 270 else 1), first)
    for offset in (0, len(data) - 4, len(data) + 1000, (1 << 32) - 1):
        struct.pack_into("<II", data, at + 4, count, offset)
        (tmp_path / "a.tif").write_bytes(data)
        picture = read_picture(tmp_path / "a.tif", 1)
        np.testing.assert_array_equal(np.rint(picture.photo * 255), pixels())
        for after in SUFFIXES:
            write_picture(tmp_path / f"b{after}", picture)
            assert read_picture(tmp_path / f"b{after}", 1).photo.shape == (48, 56, 3)

"""JPEG files that hold more than their picture: the picture is read, and the rest is named."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen.images import left_out, read_picture, write_picture
from tests.files import XMP_HEAD, bodies, pixels, saved, with_segments

MAP_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b"<rdf:Description %s/></rdf:RDF></x:xmpmeta>"
)
ULTRA_HDR = b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMax="2.3"'
APPLE = b'xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" HDRGainMap:HDRGainMapVersion="65536"'
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
MAP = "Its gain map, for screens with high dynamic range, is left out: it does not fit the changed photo."


def small(*added: tuple[int, bytes]) -> bytes:
    return with_segments(saved("JPEG", np.full((12, 14, 3), 90, np.uint8)), list(added))


def index(kinds: list[int], sizes: list[int], offsets: list[int], order: str = "<") -> bytes:
    """The index of a multi-picture file (CIPA DC-007); offsets: from the byte order mark."""
    entries = b"".join(
        struct.pack(order + "IIIHH", kind, size, offset, 0, 0)
        for kind, size, offset in zip(kinds, sizes, offsets, strict=True)
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    listed = struct.pack(order + "HHHI4sHHIIHHIII", 3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, len(kinds), *(
        0xB002, 7, len(entries), 50), 0)  # fmt: skip
    assert len(head + listed) == 50
    return b"MPF\0" + head + listed + entries


def multi(
    kinds: list[int], others: list[bytes], *added: tuple[int, bytes], order: str = "<", gap: bytes = b""
) -> bytes:
    """A file of several pictures, whose first one is of 56 x 48."""
    blank = index([0] * len(kinds), [0] * len(kinds), [0] * len(kinds), order)
    first = with_segments(saved("JPEG", quality=95), [*added, (0xE2, blank)])
    base = first.index(b"MPF\0") + 4
    offsets, position = [0], len(first)
    for other in others:
        position += len(gap)
        offsets.append(position - base)
        position += len(other)
    made = index(kinds, [len(first), *map(len, others)], offsets, order)
    return first.replace(blank, made) + b"".join(gap + other for other in others)


PRIMARY, PREVIEW, DISPARITY, UNDEFINED = 0x20030000, 0x010001, 0x020002, 0

FILES = {
    "Ultra HDR": (
        multi(
            [PRIMARY, UNDEFINED],
            [small((0xE1, XMP_HEAD + MAP_XMP % ULTRA_HDR))],
            (0xE1, XMP_HEAD + MAP_XMP % b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'),
        ),
        (MAP,),
    ),
    "Apple": (multi([PRIMARY, UNDEFINED], [small((0xE1, XMP_HEAD + MAP_XMP % APPLE))], order=">"), (MAP,)),
    "ISO 21496-1": (multi([PRIMARY, UNDEFINED], [small((0xE2, ISO + bytes(4)))], (0xE2, ISO + bytes(4))), (MAP,)),
    "without index": (saved("JPEG") + small((0xE1, XMP_HEAD + MAP_XMP % ULTRA_HDR)), (MAP,)),
    "two eyes": (multi([PRIMARY, DISPARITY], [small()]), ("1 further picture in its file is left out.",)),
    "spaced": (
        multi([PRIMARY, DISPARITY, DISPARITY], [small(), small()], gap=b"\xab" * 100),
        ("2 further pictures in its file are left out.",),
    ),
    "map and picture": (
        multi([PRIMARY, DISPARITY, UNDEFINED], [small(), small((0xE1, XMP_HEAD + MAP_XMP % APPLE))], gap=bytes(9)),
        (MAP, "1 further picture in its file is left out."),
    ),
    "preview": (multi([PRIMARY, PREVIEW], [small()]), ()),
    "motion photo": (
        saved("JPEG") + b"\0\0\0\x18ftypmp42" + bytes(50),
        ("The video behind its picture (motion photo) is left out.",),
    ),
    "trailer": (
        saved("JPEG") + b"SEFHxxxxSEFT",
        ("12 bytes behind its picture are left out: what they hold is not known.",),
    ),
    "padding": (saved("JPEG") + bytes(500), ()),
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_the_first_picture_is_kept_and_the_rest_is_named(tmp_path: Path, name: str, progressive: bool) -> None:
    data, expected = FILES[name]
    if progressive:
        data = data.replace(saved("JPEG"), saved("JPEG", progressive=True))
    (tmp_path / "a.jpg").write_bytes(data)
    picture = read_picture(tmp_path / "a.jpg", 1)
    assert np.abs(picture.photo * 255 - pixels()).mean() < 3
    for suffix in (".jpg", ".png", ".tif"):
        assert left_out(picture, Path(f"b{suffix}")) == expected
        write_picture(tmp_path / f"b{suffix}", picture)
        written = (tmp_path / f"b{suffix}").read_bytes()
        assert b"MPF\0" not in written
        assert b"hdrgm:Version" not in written
        assert ISO not in written
        with Image.open(tmp_path / f"b{suffix}") as image:
            assert getattr(image, "n_frames", 1) == 1
    assert len(bodies((tmp_path / "b.jpg").read_bytes(), 0xE2)) == 0


@pytest.mark.parametrize("cut", [4, 20, 49, 55, 70])
def test_a_damaged_index_does_not_hide_pictures(tmp_path: Path, cut: int) -> None:
    block = index([PRIMARY, PREVIEW], [1, 1], [0, 1 << 31])[:cut]
    (tmp_path / "a.jpg").write_bytes(with_segments(saved("JPEG"), [(0xE2, block)]) + small())
    assert left_out(read_picture(tmp_path / "a.jpg", 1), Path("b.jpg")) == (
        "1 further picture in its file is left out.",
    )


def test_a_picture_behind_that_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved("JPEG") + small()[:-40])
    assert left_out(read_picture(tmp_path / "a.jpg", 1), Path("b.jpg")) == (
        "1 further picture in its file is left out.",
    )


def test_what_is_left_out_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(FILES["Ultra HDR"][0])
    picture = read_picture(tmp_path / "a.jpg", 1)
    assert caplog.text == ""
    write_picture(tmp_path / "b.jpg", picture)
    assert f"b.jpg: {MAP}" in caplog.text
    caplog.clear()
    write_picture(tmp_path / "b.jpg", picture, warn=False)
    assert caplog.text == ""

"""XMP, IPTC, comments and texts of a file are in the file that is written, and what cannot be is said."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen.images import left_out, read_picture, write_picture
from tests.files import (
    EXTENSION_HEAD,
    IRB_HEAD,
    XMP_HEAD,
    bodies,
    chunks,
    iptc,
    resource,
    saved,
    tags,
    tiff,
    with_chunks,
    with_riff,
    with_segments,
    xmp_of,
)

SUFFIXES = [".jpg", ".png", ".webp", ".tif"]
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n<rdf:Description rdf:about=""'
    b" xmlns:dc='http://purl.org/dc/elements/1.1/'><!-- <a> --><dc:description>Gro\xc3\x9fmutter</dc:description>"
    b'</rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
)
IPTC, COMMENT = iptc(b"Caption"), "Großmutter".encode()
RESOURCES = resource(0x03ED, bytes(16)) + resource(0x0404, IPTC) + resource(0x0425, bytes(15))


def full(suffix: str) -> bytes:
    """A file with everything that its format holds."""
    if suffix == ".jpg":
        added = [(0xE1, XMP_HEAD + XMP), (0xED, IRB_HEAD + RESOURCES), (0xFE, COMMENT), (0xFE, b"second\0")]
        return with_segments(saved("JPEG", quality=95), added)
    if suffix == ".png":
        return with_chunks(saved("PNG"), [(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + XMP), *TEXTS, *RAW])
    if suffix == ".webp":
        return saved("WEBP", lossless=True, xmp=XMP)
    return tiff({700: (1, XMP), 33723: (7, IPTC), 34377: (1, RESOURCES)})


TEXTS = [
    (b"tEXt", b"parameters\0a portrait, 85mm\nSteps: 20, Seed: 7"),
    (b"zTXt", b"workflow\0\0" + zlib.compress(b'{"nodes": []}' * 9000)),
    (b"iTXt", b"prompt\0\1\0de\0Auftrag\0" + zlib.compress("Großmutter".encode())),
    (b"tEXt", b"Comment\0" + "Großmutter".encode("latin-1")),
    (b"vpAg", bytes(9)),
]
RAW = [
    (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(f"\niptc\n{len(RESOURCES):8}\n{RESOURCES.hex()}\n".encode()))
]


def iptc_in_png(data: bytes) -> bytes | None:
    for kind, body in chunks(data):
        if kind == b"zTXt" and body.startswith(b"Raw profile type iptc\0"):
            text = zlib.decompress(body[23:]).decode()
            name, size, *lines = text.strip().split("\n")
            block = bytes.fromhex("".join(lines))
            assert (name, int(size)) == ("iptc", len(block))
            assert all(len(line) <= 72 for line in lines)
            return block
    return None


def written(tmp_path: Path, data: bytes, before: str, after: str) -> Path:
    (tmp_path / f"a{before}").write_bytes(data)
    write_picture(tmp_path / f"b{after}", read_picture(tmp_path / f"a{before}", 1))
    return tmp_path / f"b{after}"


@pytest.mark.parametrize("after", SUFFIXES)
@pytest.mark.parametrize("before", SUFFIXES)
def test_xmp_is_kept_byte_for_byte(tmp_path: Path, before: str, after: str) -> None:
    assert xmp_of(written(tmp_path, full(before), before, after)) == XMP
    if after == ".jpg":
        with Image.open(tmp_path / "b.jpg") as image:
            assert image.info["xmp"] == XMP


@pytest.mark.parametrize("after", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("before", [".jpg", ".png", ".tif"])
def test_iptc_and_photoshop_data_are_kept_byte_for_byte(tmp_path: Path, before: str, after: str) -> None:
    data = written(tmp_path, full(before), before, after).read_bytes()
    if after == ".jpg":
        assert bodies(data, 0xED, IRB_HEAD) == [RESOURCES]
    elif after == ".png":
        assert iptc_in_png(data) == RESOURCES
    else:
        assert (tags(data)[33723], tags(data)[34377]) == (IPTC, RESOURCES)


def test_iptc_alone_gets_a_place_in_photoshops_data(tmp_path: Path) -> None:
    # Stored as numbers of four bytes in the wrong order, as some programs do.
    padded = IPTC + bytes(-len(IPTC) % 4)
    swapped = np.frombuffer(padded, "<u4").byteswap().tobytes()
    for kind, stored in ((7, padded), (4, swapped)):
        data = written(tmp_path, tiff({33723: (kind, stored)}), ".tif", ".jpg").read_bytes()
        assert bodies(data, 0xED, IRB_HEAD) == [resource(0x0404, padded)]
    data = written(tmp_path, tiff({33723: (7, IPTC)}), ".tif", ".tif").read_bytes()
    assert tags(data)[33723] == IPTC
    assert 34377 not in tags(data)
    (said,) = left_out(read_picture(tmp_path / "a.tif", 1), Path("b.webp"))
    assert said == "Its IPTC and Photoshop data are left out, for which WebP has no place."


def test_photoshops_thumbnails_are_dropped(tmp_path: Path) -> None:
    small = resource(0x040C, saved("JPEG")) + resource(0x0409, b"abc")
    data = with_segments(saved("JPEG"), [(0xED, IRB_HEAD + small + RESOURCES)])
    assert bodies(written(tmp_path, data, ".jpg", ".jpg").read_bytes(), 0xED, IRB_HEAD) == [RESOURCES]
    data = with_segments(saved("JPEG"), [(0xED, IRB_HEAD + small)])
    assert bodies(written(tmp_path, data, ".jpg", ".jpg").read_bytes(), 0xED) == []


def test_photoshops_data_of_several_segments(tmp_path: Path) -> None:
    large = RESOURCES + resource(0x07D0, bytes(range(256)) * 500)
    parts = [(0xED, IRB_HEAD + large[at : at + 60_000]) for at in range(0, len(large), 60_000)]
    found = written(tmp_path, with_segments(saved("JPEG"), parts), ".jpg", ".jpg").read_bytes()
    assert b"".join(bodies(found, 0xED, IRB_HEAD)) == large


def test_comments_of_jpeg(tmp_path: Path) -> None:
    data = full(".jpg")
    assert bodies(written(tmp_path, data, ".jpg", ".jpg").read_bytes(), 0xFE) == [COMMENT, b"second\0"]
    found = chunks(written(tmp_path, data, ".jpg", ".png").read_bytes())
    latin = "Großmutter".encode("latin-1")
    assert [(k, b) for k, b in found if b.startswith(b"Comment")] == [
        (b"tEXt", b"Comment\0" + latin),
        (b"tEXt", b"Comment\0second"),
    ]
    assert tags(written(tmp_path, data, ".jpg", ".tif").read_bytes())[270] == COMMENT + b"\nsecond\0"
    for comment in ("奶奶".encode(), b"\xff\xfe\xfd"):
        data = with_segments(saved("JPEG"), [(0xFE, comment)])
        with Image.open(written(tmp_path, data, ".jpg", ".png")) as image:
            assert image.info["Comment"] in ("奶奶", "ÿþý")


def test_a_comment_does_not_displace_a_description_in_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[270] = "A description"
    data = with_segments(saved("JPEG", exif=exif), [(0xFE, COMMENT)])
    with Image.open(written(tmp_path, data, ".jpg", ".tif")) as image:
        assert image.getexif()[270] == "A description"
    assert "comment is left out" in "".join(left_out(read_picture(tmp_path / "a.jpg", 1), Path("b.tif")))


def test_texts_of_png_are_kept_byte_for_byte(tmp_path: Path) -> None:
    found = chunks(written(tmp_path, full(".png"), ".png", ".png").read_bytes())
    assert [chunk for chunk in found if chunk in TEXTS] == TEXTS
    assert sum(kind in (b"tEXt", b"zTXt", b"iTXt") for kind, _ in found) == 6
    # Behind the pixels as well.
    data = with_chunks(saved("PNG"), TEXTS, before=b"IEND")
    found = chunks(written(tmp_path, data, ".png", ".png").read_bytes())
    assert [chunk for chunk in found if chunk in TEXTS] == TEXTS


@pytest.mark.parametrize("after", [".jpg", ".webp", ".tif"])
def test_texts_that_another_format_has_no_place_for(tmp_path: Path, after: str) -> None:
    path = written(tmp_path, full(".png"), ".png", after)
    said = " ".join(left_out(read_picture(tmp_path / "a.png", 1), path))
    assert "text “workflow”, text “prompt” and chunk vpAg are left out" in said
    assert "parameters" not in said
    assert ("IPTC" in said) == (after == ".webp")
    if after == ".jpg":
        assert bodies(path.read_bytes(), 0xFE) == [COMMENT]
    assert ("comment" in said) == (after == ".webp")


@pytest.mark.parametrize("after", [".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_how_a_picture_was_generated_goes_where_programs_look_for_it(tmp_path: Path, after: str, kind: bytes) -> None:
    text = "a portrait, ünïque" if kind != b"iTXt" else "奶奶 🙂"
    coded = text.encode("latin-1") if kind != b"iTXt" else bytes(4) + text.encode()
    body = b"parameters\0" + (b"\0" + zlib.compress(coded) if kind == b"zTXt" else coded)
    data = with_chunks(saved("PNG"), [(kind, body), (kind, body)])
    path = written(tmp_path, data, ".png", after)
    assert left_out(read_picture(tmp_path / "a.png", 1), path) == ()
    with Image.open(path) as image:
        assert image.getexif().get_ifd(34665) == {37510: b"UNICODE\0" + text.encode("utf-16-be")}


def test_how_a_picture_was_generated_does_not_displace_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    data = with_chunks(saved("PNG", exif=exif), [TEXTS[0]])
    path = written(tmp_path, data, ".png", ".jpg")
    said = left_out(read_picture(tmp_path / "a.png", 1), path)
    assert said == ("Its text “parameters” is left out, for which JPEG has no place.",)
    with Image.open(path) as image:
        assert dict(image.getexif()) == {271: "Maker"}
    long = with_chunks(saved("PNG"), [(b"tEXt", b"parameters\0" + b"x" * 40_000)])
    path = written(tmp_path, long, ".png", ".jpg")
    assert left_out(read_picture(tmp_path / "a.png", 1), path) == said


def test_a_comment_of_gif(tmp_path: Path) -> None:
    found = chunks(written(tmp_path, saved("GIF", comment=b"Hello"), ".gif", ".png").read_bytes())
    assert (b"tEXt", b"Comment\0Hello") in found


def test_nothing_is_said_where_nothing_is_lost(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix}").write_bytes(full(suffix))
        picture = read_picture(tmp_path / f"a{suffix}", 1)
        assert left_out(picture, Path(f"b{suffix}")) == ()
        assert left_out(picture, Path("b.png")) == ()


def extended(packet: bytes, *, piece: int = 40_000) -> list[tuple[int, bytes]]:
    name = hashlib.md5(packet).hexdigest().upper().encode()
    starts = range(0, len(packet), piece)
    heads = (EXTENSION_HEAD + name + struct.pack(">II", len(packet), at) for at in starts)
    return [(0xE1, head + packet[at : at + piece]) for head, at in zip(heads, starts, strict=True)]


def announced(packet: bytes) -> bytes:
    name = hashlib.md5(packet).hexdigest().upper().encode()
    note = b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"' % name
    return XMP.replace(b' rdf:about=""', b' rdf:about=""' + note)


LARGE = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    b' xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/"><rdf:Description GDepth:Data="%s"/>'
    b"</rdf:RDF></x:xmpmeta>" % (b"QUJD" * 40_000)
)


def pieces_in(data: bytes) -> bytes:
    """The extended packet of a JPEG file, put together; its digest has to be announced."""
    found = bodies(data, 0xE1, EXTENSION_HEAD)
    whole = b"".join(sorted((piece[40:] for piece in found), key=lambda _: 0))
    name = hashlib.md5(whole).hexdigest().upper().encode()
    assert all(piece[:32] == name for piece in found)
    offsets = [struct.unpack(">II", piece[32:40]) for piece in found]
    assert [total for total, _ in offsets] == [len(whole)] * len(found)
    (main,) = bodies(data, 0xE1, XMP_HEAD)
    assert b'HasExtendedXMP="%s"' % name in main
    return whole


def test_extended_xmp_is_kept_byte_for_byte(tmp_path: Path) -> None:
    parts = extended(LARGE)
    data = with_segments(saved("JPEG"), [(0xE1, XMP_HEAD + announced(LARGE)), *parts[::-1]])
    found = written(tmp_path, data, ".jpg", ".jpg").read_bytes()
    assert bodies(found, 0xE1, XMP_HEAD) == [announced(LARGE)]
    assert pieces_in(found) == LARGE


def test_pieces_of_another_packet_are_not_mixed_in(tmp_path: Path) -> None:
    others = extended(LARGE.replace(b"QUJD", b"REVG"))
    data = with_segments(saved("JPEG"), [(0xE1, XMP_HEAD + announced(LARGE)), *extended(LARGE), *others])
    path = written(tmp_path, data, ".jpg", ".jpg")
    assert pieces_in(path.read_bytes()) == LARGE
    assert left_out(read_picture(tmp_path / "a.jpg", 1), path) == ()


@pytest.mark.parametrize("after", [".png", ".webp", ".tif"])
def test_extended_xmp_becomes_one_packet_and_is_divided_again(tmp_path: Path, after: str) -> None:
    from xml.etree import ElementTree

    data = with_segments(saved("JPEG"), [(0xE1, XMP_HEAD + announced(LARGE)), *extended(LARGE)])
    packet = xmp_of(written(tmp_path, data, ".jpg", after))
    assert packet is not None
    root = ElementTree.fromstring(packet)
    described = [dict(part.attrib) for part in root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")]
    values = {name: value for part in described for name, value in part.items()}
    assert values["{http://ns.google.com/photos/1.0/depthmap/}Data"] == "QUJD" * 40_000
    assert "{http://ns.adobe.com/xmp/note/}HasExtendedXMP" not in values
    assert "Großmutter" in "".join(root.itertext())
    write_picture(tmp_path / "c.jpg", read_picture(tmp_path / f"b{after}", 1))
    assert pieces_in((tmp_path / "c.jpg").read_bytes()) == packet


def test_an_extended_part_that_goes_with_what_is_removed(tmp_path: Path) -> None:
    """The packet's contents lie in an element that is removed, so that nothing can be added to them."""
    main = announced(LARGE).replace(
        b"<rdf:RDF", b'<c:Directory xmlns:c="http://ns.google.com/photos/1.0/container/"><rdf:RDF'
    )
    main = main.replace(b"</rdf:RDF>", b"</rdf:RDF></c:Directory>")
    for suffix in SUFFIXES:
        path = written(
            tmp_path, with_segments(saved("JPEG"), [(0xE1, XMP_HEAD + main), *extended(LARGE)]), ".jpg", suffix
        )
        assert "The extended part" in left_out(read_picture(tmp_path / "a.jpg", 1), path)[0]
        assert b"QUJDQUJD" not in path.read_bytes()


@pytest.mark.parametrize("fault", ["piece missing", "changed", "not announced", "no content"])
def test_damaged_extended_xmp_is_left_out_and_said(tmp_path: Path, fault: str) -> None:
    packet = LARGE if fault != "no content" else b"x" * 50_000
    parts = extended(packet)
    if fault == "piece missing":
        parts = parts[1:]
    if fault == "changed":
        parts[0] = (0xE1, parts[0][1][:-1] + b"!")
    main = XMP if fault == "not announced" else announced(packet)
    path = written(tmp_path, with_segments(saved("JPEG"), [(0xE1, XMP_HEAD + main), *parts]), ".jpg", ".jpg")
    (found,) = bodies(path.read_bytes(), 0xE1, XMP_HEAD)
    assert found.replace(b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/"', b"") == XMP
    assert bodies(path.read_bytes(), 0xE1, EXTENSION_HEAD) == []
    assert left_out(read_picture(tmp_path / "a.jpg", 1), path) == (
        "The extended part of its XMP is damaged or too long, and is left out.",
    )


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


MANIFEST = box(b"jumb", box(b"jumd", b"c2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0") + bytes(40))


@pytest.mark.parametrize("after", SUFFIXES)
def test_a_c2pa_manifest_is_left_out_and_said(tmp_path: Path, after: str) -> None:
    files = {
        ".jpg": with_segments(saved("JPEG"), [(0xEB, b"JP\0\x01\0\0\0\x01" + MANIFEST)]),
        ".png": with_chunks(saved("PNG"), [(b"caBX", MANIFEST)]),
        ".webp": with_riff(saved("WEBP", xmp=XMP), b"C2PA", MANIFEST),
        ".tif": tiff({52545: (7, MANIFEST)}),
    }
    for before, data in files.items():
        path = written(tmp_path, data, before, after)
        assert b"c2pa" not in path.read_bytes().lower()
        (said,) = left_out(read_picture(tmp_path / f"a{before}", 1), path)
        assert "C2PA manifest (Content Credentials) is left out" in said


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    jpeg = with_segments(saved("JPEG"), [(0xE4, b"SAMSUNG"), (0xEC, b"Ducky\0"), (0xEF, b"\0\1"), (0xE4, b"x")])
    private = [(b"prVT", b"unsafe"), (b"prVt", b"safe"), (b"tIME", bytes(7)), (b"sBIT", b"\x08\x08\x08")]
    expected = {
        ".jpg": (jpeg, "segments APP4 and APP15"),
        ".png": (with_chunks(saved("PNG"), private), "chunk prVT is left out"),
        ".webp": (with_riff(saved("WEBP", xmp=XMP), b"ABCD", b"12345"), "chunks ABCD"),
        ".tif": (
            tiff({33550: (12, bytes(24)), 37724: (7, b"Adobe Photoshop Document Data Block\0")}),
            "ModelPixelScale",
        ),
    }
    for suffix, (data, what) in expected.items():
        path = written(tmp_path, data, suffix, suffix)
        said = left_out(read_picture(tmp_path / f"a{suffix}", 1), path)
        assert len(said) == (2 if suffix == ".tif" else 1)
        assert what in said[-1]
    assert (b"prVt", b"safe") in chunks((tmp_path / "b.png").read_bytes())
    assert "layers" in left_out(read_picture(tmp_path / "a.tif", 1), Path("b.tif"))[0]

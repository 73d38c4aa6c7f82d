"""XMP, IPTC, comments and texts through the command, and what it says about the rest of a file."""

from __future__ import annotations

import json
import zlib

import pytest

from tests.files import (
    IRB_HEAD,
    XMP_HEAD,
    bodies,
    chunks,
    iptc,
    resource,
    saved,
    tags,
    with_chunks,
    with_riff,
    with_segments,
    xmp_of,
)

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    b' xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
    b' xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" tiff:ImageWidth="112">'
    b"<dc:description>CAPTION</dc:description><mwg-rs:Regions><rdf:Description>"
    b'<mwg-rs:AppliedToDimensions stDim:w="112" stDim:h="96"/></rdf:Description></mwg-rs:Regions>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
TWICE = XMP.replace(b'"112"', b'"224"').replace(b'"96"', b'"192"')
IPTC = iptc(b"CAPTION")
RESOURCES = resource(0x0404, IPTC)
TEXTS = [(b"tEXt", b"parameters\0CAPTION"), (b"zTXt", b"workflow\0\0" + zlib.compress(b"{}"))]
MANIFEST = b"JP\0\1\0\0\0\1" + bytes(8) + b"jumb" + bytes(4) + b"jumdc2pa"


@pytest.fixture
def described(album):
    """Add a photo with a face, with XMP and whatever else its format holds."""

    def add(name: str, *more: tuple[int, bytes]):
        import tifffile

        photo = album.add(name)
        data = photo.read_bytes()
        if name.endswith(".jpg"):
            added = [(0xE1, XMP_HEAD + XMP), (0xED, IRB_HEAD + RESOURCES), (0xFE, b"CAPTION"), *more]
            data = with_segments(data, added)
        elif name.endswith(".png"):
            data = with_chunks(data, [(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + XMP), *TEXTS])
        elif name.endswith(".webp"):
            # An extended header, which says that there is XMP.
            head = b"\x04\0\0\0" + (111).to_bytes(3, "little") + (95).to_bytes(3, "little")
            data = data[:12] + b"VP8X" + (10).to_bytes(4, "little") + head + data[12:]
            data = with_riff(data, b"XMP ", XMP)
        else:
            extra = [(700, 1, len(XMP), XMP, True), (33723, 7, len(IPTC), IPTC, True)]
            pixels = tifffile.imread(photo)
            tifffile.imwrite(photo, pixels, photometric="rgb", extratags=extra, metadata=None)
            data = photo.read_bytes()
        photo.write_bytes(data)
        return photo

    return add


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("name", ["a.jpg", "b.png", "c.webp", "e.tif"])
def test_what_a_photo_says_is_kept(described, restore, tmp_path, name, upscale):
    photo, report = described(name), tmp_path / "report.json"
    flags = ["--upscale", upscale, "--no-provenance"]
    run = restore(photo, "-o", tmp_path / "out", "--report", report, *flags, model="passthrough")
    assert (run.code, run.err) == (0, "")
    target = tmp_path / "out" / name
    assert xmp_of(target) == (XMP if upscale == 1 else TWICE)
    data = target.read_bytes()
    if name == "a.jpg":
        assert bodies(data, 0xED, IRB_HEAD) == [RESOURCES]
        assert bodies(data, 0xFE) == [b"CAPTION"]
    elif name == "b.png":
        assert [chunk for chunk in chunks(data) if chunk in TEXTS] == TEXTS
    elif name == "e.tif":
        assert tags(data)[33723] == IPTC
    (entry,) = json.loads(report.read_text())
    assert entry["message"] == "1 face restored."
    assert "left_out" not in entry


def test_what_is_left_out_is_in_the_message_and_the_report(described, restore, tmp_path):
    photo, report = described("a.jpg", (0xEB, MANIFEST), (0xE4, b"unknown")), tmp_path / "report.json"
    photo.write_bytes(photo.read_bytes() + saved("JPEG"))
    run = restore(photo, "-o", tmp_path / "out", "--report", report)
    assert (run.code, run.err) == (0, "")
    (entry,) = json.loads(report.read_text())
    assert len(entry["left_out"]) == 3
    assert all(sentence in run.out and sentence in entry["message"] for sentence in entry["left_out"])
    for what in ("segments APP4", "C2PA manifest", "1 further picture"):
        assert sum(what in sentence for sentence in entry["left_out"]) == 1
    assert b"c2pa" not in (tmp_path / "out" / "a.jpg").read_bytes()
    # The report of a run that finds the result there keeps it.
    restore(photo, "-o", tmp_path / "out", "--report", report)
    assert json.loads(report.read_text()) == [entry]


def test_what_another_format_cannot_hold(described, restore, tmp_path):
    run = restore(described("b.png"), "-o", tmp_path / "b.jpg")
    assert "Its text “workflow” is left out, for which JPEG has no place." in run.out


def test_a_photo_without_faces_is_copied_with_everything(album, described, restore, tmp_path):
    photo = described("a.jpg", (0xEB, MANIFEST))
    album.set_faces("a.jpg", [])
    run = restore(photo, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "a.jpg").read_bytes() == photo.read_bytes()
    assert "left out" not in run.out
    run = restore(photo, "-o", tmp_path / "out.png")
    assert "C2PA manifest" in run.out


@pytest.mark.parametrize("xmp", [XMP[:-30], b"<" * 60_000, b"\0" * 1000])
def test_damaged_metadata_does_not_stop_the_work(album, restore, assert_restored, tmp_path, xmp):
    photo = album.add("a.jpg")
    rubbish = [(0xE1, XMP_HEAD + xmp), (0xED, IRB_HEAD + b"8BIM\4\4"), (0xE2, b"MPF\0II*\0"), (0xEB, b"JP")]
    photo.write_bytes(with_segments(photo.read_bytes(), rubbish))
    run = restore(photo, "-o", tmp_path / "out")
    assert (run.code, run.err) == (0, "")
    assert "Its XMP is damaged" in run.out
    assert "Its IPTC and Photoshop data are damaged" in run.out
    assert_restored(tmp_path / "out" / "a.jpg", photo, coding=14)

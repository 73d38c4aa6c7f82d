"""The note in XMP: what it says, and that the rest of a packet stays."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import pytest

from gpen.images.metadata.metadata import Metadata
from gpen.images.metadata.provenance import COMPOSITE, GENERATED, NO_PLACE, Provenance, UsedNetwork, with_provenance
from gpen.images.metadata.xmp import is_whole, upright_xmp
from gpen.images.metadata.xmp_scanner import GPEN
from tests.images.metadata.test_xmp import RDF, packet

IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
NOTE = Provenance(
    software="GPEN Face Restore 1.2.3",
    task="restore",
    networks=(UsedNetwork("a & b <c>.pth", "faces", "0" * 64), UsedNetwork("up.pth", "background")),
    options={"strength": 0.8, "mask": "ellipse", "video": False, "min_face_size": 12},
    boxes=((0.25, 0.125, 0.5, 0.0625), (0, 0, 1, 1)),
)


def noted(xmp: bytes | None, note: Provenance = NOTE) -> bytes:
    metadata = with_provenance(Metadata(xmp=xmp), note)
    assert metadata.notices == ()
    assert metadata.xmp is not None
    assert is_whole(metadata.xmp)
    return metadata.xmp


def parsed(xmp: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(xmp)


def source_types(xmp: bytes) -> list[str]:
    """All digital source types of a packet, elements and attributes."""
    name = f"{{{IPTC}}}DigitalSourceType"
    root = parsed(xmp)
    return [element.text or "" for element in root.iter(name)] + [
        element.attrib[name] for element in root.iter() if name in element.attrib
    ]


def entries(xmp: bytes) -> list[ElementTree.Element]:
    return [
        *parsed(xmp).iterfind(f"{{{RDF}}}RDF/{{{RDF}}}Description/{{{GPEN}}}History/{{{RDF}}}Seq/{{{RDF}}}li"),
    ]


def test_a_photo_without_xmp_gets_a_packet_with_the_note():
    xmp = noted(None)
    assert source_types(xmp) == [COMPOSITE]
    (entry,) = entries(xmp)
    own = {child.tag.removeprefix(f"{{{GPEN}}}"): child for child in entry}
    assert own["Software"].text == "GPEN Face Restore 1.2.3"
    assert own["Task"].text == "restore"
    networks = [{child.tag: child.text for child in item} for item in own["Networks"].iter(f"{{{RDF}}}li")]
    assert networks == [
        {f"{{{GPEN}}}Name": "a & b <c>.pth", f"{{{GPEN}}}Part": "faces", f"{{{GPEN}}}SHA256": "0" * 64},
        {f"{{{GPEN}}}Name": "up.pth", f"{{{GPEN}}}Part": "background"},
    ]
    assert {child.tag.removeprefix(f"{{{GPEN}}}"): child.text for child in own["Options"]} == {
        "strength": "0.8",
        "mask": "ellipse",
        "video": "False",
        "min_face_size": "12",
    }
    boxes = [element.text for element in own["Faces"].iter(f"{{{GPEN}}}Rectangle")]
    assert boxes == ["0.25000, 0.12500, 0.50000, 0.06250", "0.00000, 0.00000, 1.00000, 1.00000"]


@pytest.mark.parametrize("prefix", ["", "my"])
def test_every_other_byte_of_a_packet_stays(prefix):
    before = packet('tiff:Orientation="1"', "<xmp:CreatorTool>éÿ</xmp:CreatorTool>", prefix)
    end = before.index(b"</rdf:RDF>")
    after = noted(before)
    assert after.startswith(before[:end])
    assert after.endswith(before[end:])
    assert source_types(after) == [COMPOSITE]
    assert len(entries(after)) == 1


@pytest.mark.parametrize("stated", ["digitalCapture", "compositeWithTrainedAlgorithmicMedia", "negativeFilm"])
@pytest.mark.parametrize("as_attribute", [True, False])
def test_another_digital_source_type_is_replaced(stated, as_attribute):
    uri = f"http://cv.iptc.org/newscodes/digitalsourcetype/{stated}"
    text = f'Iptc4xmpExt:DigitalSourceType="{uri}"' if as_attribute else ""
    element = "" if as_attribute else f"<Iptc4xmpExt:DigitalSourceType>{uri}</Iptc4xmpExt:DigitalSourceType>"
    assert source_types(noted(packet(text, element))) == [COMPOSITE]


@pytest.mark.parametrize(
    "stated",
    [
        ('Iptc4xmpExt:DigitalSourceType=""', ""),
        ("", "<Iptc4xmpExt:DigitalSourceType/>"),
        ("", '<Iptc4xmpExt:DigitalSourceType rdf:resource="http://example.org/x"/>'),
    ],
)
def test_an_empty_digital_source_type_is_replaced(stated):
    assert source_types(noted(packet(*stated))) == [COMPOSITE]


def test_a_generated_picture_stays_a_generated_picture():
    for text in (f'Iptc4xmpExt:DigitalSourceType="{GENERATED}"', ""):
        element = "" if text else f"<Iptc4xmpExt:DigitalSourceType>{GENERATED}</Iptc4xmpExt:DigitalSourceType>"
        assert source_types(noted(packet(text, element))) == [GENERATED]
    by_reference = packet("", f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{GENERATED}"/>')
    assert by_reference[:-30] in noted(by_reference)
    assert source_types(noted(None, dataclasses.replace(NOTE, is_generated=True))) == [GENERATED]


def test_a_second_run_is_added_to_the_first():
    once = noted(packet("", ""))
    second = dataclasses.replace(NOTE, task="colorize", boxes=())
    twice = noted(once, second)
    assert [entry.findtext(f"{{{GPEN}}}Task") for entry in entries(twice)] == ["restore", "colorize"]
    assert source_types(twice) == [COMPOSITE]
    assert len(twice) > len(once)


@pytest.mark.parametrize("prefixes", [("rdf:", "r:"), ("gpen:", "g:"), ("Iptc4xmpExt:", "i:")])
def test_a_second_run_is_added_whatever_prefixes_another_program_uses(prefixes):
    """Another program wrote the packet anew in between."""
    first = noted(packet())
    old, new = (prefix.rstrip(":").encode() for prefix in prefixes)
    renamed = first.replace(old + b":", new + b":").replace(b"xmlns:" + old + b"=", b"xmlns:" + new + b"=")
    parsed(renamed)
    again = noted(renamed)
    assert len(entries(again)) == 2
    assert source_types(again) == [COMPOSITE]


@pytest.mark.parametrize("left", ["<gpen:History/>", "<gpen:History><rdf:Seq/></gpen:History>"])
def test_an_empty_history_is_replaced(left):
    empty = packet("", left).replace(b"<rdf:Description ", f'<rdf:Description xmlns:gpen="{GPEN}" '.encode())
    assert len(entries(noted(empty))) == 1
    assert len(list(parsed(noted(empty)).iter(f"{{{GPEN}}}History"))) == 1


@pytest.mark.parametrize(
    "damaged", [b"no xml", packet()[:-20], packet().replace(b"</rdf:RDF>", b""), packet().decode().encode("utf-16")]
)
def test_a_damaged_packet_stays_and_that_is_said(damaged):
    metadata = with_provenance(Metadata(xmp=damaged), NOTE)
    assert metadata.xmp == damaged
    assert metadata.notices == (NO_PLACE,)


def test_boxes_turn_with_a_photo_that_another_program_turned():
    turned = upright_xmp(noted(None), 6, (400, 300))
    boxes = [element.text for element in parsed(turned).iter(f"{{{GPEN}}}Rectangle")]
    # To the right by a quarter turn: what was left is up, what was up is right.
    assert boxes == ["0.8125, 0.25, 0.0625, 0.5", "0, 0, 1, 1"]


def test_what_may_be_there_only_once_is_not_written_beside_an_extended_packet():
    extended = packet(f'Iptc4xmpExt:DigitalSourceType="{GENERATED}"')
    metadata = with_provenance(Metadata(xmp=packet("", ""), extended_xmp=extended), NOTE)
    assert metadata.extended_xmp is None
    assert metadata.xmp is not None
    assert source_types(metadata.xmp) == [GENERATED]
    other = with_provenance(Metadata(xmp=packet("", ""), extended_xmp=packet()), NOTE)
    assert other.extended_xmp == packet()


def test_names_cannot_break_the_packet():
    hostile = dataclasses.replace(NOTE, networks=(UsedNetwork("]]></x:xmpmeta>\x00\x1b\ud800.pth", "faces"),))
    (entry,) = entries(noted(None, hostile))
    assert entry.findtext(f".//{{{GPEN}}}Name") == "]]></x:xmpmeta>???.pth"

"""What an XMP packet says about orientation, size and regions follows the photo; every other byte stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from gpen.images import left_out, read_picture, write_picture
from tests.files import XMP_HEAD, saved, with_segments, xmp_of

SUFFIXES = [".jpg", ".png", ".webp", ".tif"]
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SPACES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpGImg": "http://ns.adobe.com/xap/1.0/g/img/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "dcterms": "http://purl.org/dc/terms/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}


def packet(attributes: str = "", elements: str = "", prefix: str = "") -> bytes:
    """A packet of one description; prefix: put before all prefixes but rdf's."""
    declared = " ".join(f'xmlns:{prefix}{name}="{uri}"' for name, uri in SPACES.items())
    if prefix:
        for name in SPACES:
            attributes, elements = (text.replace(f"{name}:", f"{prefix}{name}:") for text in (attributes, elements))
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" {declared}\n'
        f"   {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def area(x: str, y: str, w: str, h: str) -> str:
    return f'<mwg-rs:Area stArea:x="{x}" stArea:y="{y}" stArea:w="{w}" stArea:h="{h}" stArea:unit="normalized"/>'


def area_of_elements(x: str, y: str, w: str, h: str) -> str:
    parts = "".join(f"<stArea:{name}>{value}</stArea:{name}>" for name, value in zip("xywh", (x, y, w, h), strict=True))
    return f'<mwg-rs:Area rdf:parseType="Resource">{parts}</mwg-rs:Area>'


def regions(applied: str, *areas: str) -> str:
    items = "".join(f'<rdf:li><rdf:Description mwg-rs:Name="Ada">{part}</rdf:Description></rdf:li>' for part in areas)
    return (
        f'<mwg-rs:Regions rdf:parseType="Resource">{applied}<mwg-rs:RegionList><rdf:Bag>{items}</rdf:Bag>'
        "</mwg-rs:RegionList></mwg-rs:Regions>"
    )


def dimensions(width: int, height: int) -> str:
    return f'<mwg-rs:AppliedToDimensions stDim:w="{width}" stDim:h="{height}" stDim:unit="pixel"/>'


def values(data: bytes) -> list[tuple[str, str]]:
    """All attributes and texts of a packet, in order, with the usual prefixes: read by another parser."""
    names = {uri: name for name, uri in SPACES.items()}
    found = []
    for element in ElementTree.fromstring(data).iter():
        for tag, value in [*element.attrib.items(), (element.tag, (element.text or "").strip())]:
            uri, _, name = tag[1:].partition("}")
            if uri in names and value:
                found.append((f"{names[uri]}:{name}", value))
    return found


def numbers(data: bytes, *names: str) -> list[float]:
    found = values(data)
    return [float(value) for name in names for key, value in found if key == name]


def passed(
    tmp_path: Path, data: bytes, suffix: str = ".jpg", size: tuple[int, int] | None = None, **more: Any
) -> bytes:
    """The packet of a JPEG file of 56 x 48 pixels, after it was read and written."""
    (tmp_path / "a.jpg").write_bytes(with_segments(saved("JPEG", **more), [(0xE1, XMP_HEAD + data)]))
    picture = read_picture(tmp_path / "a.jpg", 1)
    if size is not None:
        picture = replace(picture, photo=np.zeros((size[1], size[0], 3), np.float32))
    write_picture(tmp_path / f"b{suffix}", picture)
    found = xmp_of(tmp_path / f"b{suffix}")
    assert found is not None
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("prefix", ["", "my"])
def test_sizes_follow_the_picture(tmp_path: Path, suffix: str, prefix: str) -> None:
    data = packet(
        "exif:PixelXDimension='56' tiff:ImageWidth=\"  56 \"",
        "<exif:PixelYDimension>48</exif:PixelYDimension><tiff:ImageLength>48</tiff:ImageLength>",
        prefix,
    )
    expected = data.replace(b"'56'", b"'112'").replace(b'"  56 "', b'"112"').replace(b">48<", b">96<")
    assert passed(tmp_path, data, suffix, (112, 96)) == expected
    assert passed(tmp_path, data, suffix) == data.replace(b'"  56 "', b'"56"')


def test_sizes_of_other_pictures_stay(tmp_path: Path) -> None:
    """Those of the pictures that a composition was made of."""
    inner = (
        '<xmpMM:Pantry><rdf:Bag><rdf:li><rdf:Description tiff:ImageWidth="1" tiff:Orientation="6"/></rdf:li></rdf:Bag>'
    )
    data = packet('tiff:ImageWidth="56"', inner + "</xmpMM:Pantry>")
    assert passed(tmp_path, data, size=(112, 96)) == data.replace(b'tiff:ImageWidth="56"', b'tiff:ImageWidth="112"')


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_regions_follow_the_size(tmp_path: Path, suffix: str) -> None:
    faces = regions(dimensions(56, 48), area("0.25", "0.5", "0.1", "0.2"))
    data = packet("", faces + "<MPReg:Rectangle>0.1, 0.2, 0.3, 0.4</MPReg:Rectangle>")
    expected = data.replace(b'stDim:w="56" stDim:h="48"', b'stDim:w="168" stDim:h="144"')
    assert expected != data
    assert passed(tmp_path, data, suffix, (168, 144)) == expected


def test_regions_of_another_size_keep_their_ratio_to_it(tmp_path: Path) -> None:
    """They were written before the photo was made smaller, or cut; the latter must not become right."""
    data = packet("", regions(dimensions(4000, 3000), area("0.25", "0.5", "0.1", "0.2")))
    found = passed(tmp_path, data, size=(112, 96))
    assert numbers(found, "stDim:w", "stDim:h") == [8000, 6000]


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From the stored to the shown picture, by orientation."""


# Only a turn by 90 degrees shows in the dimensions that regions were made for.
@pytest.mark.parametrize(
    ("turned", "applied"),
    [(turned, how) for turned in range(1, 9) for how in ("stored", "shown", "none") if turned > 4 or how != "shown"],
)
@pytest.mark.parametrize("make", [area, area_of_elements])
def test_regions_turn_with_the_photo(tmp_path: Path, turned: int, make: Any, applied: str) -> None:
    # A face in the stored pixels: columns 7 to 21, rows 12 to 36, of 56 x 48.
    stored = np.zeros((48, 56), np.uint8)
    stored[12:36, 7:21] = 255
    shown = np.asarray(Image.fromarray(stored).transpose(TURNS[turned])) if turned > 1 else stored
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    height, width = shown.shape
    box = [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
    expected = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]]
    given, dims = ["0.25", "0.5", "0.25", "0.5"], dimensions(56, 48)
    if applied == "shown":
        given, dims = [str(number) for number in expected], dimensions(width, height)
    rectangle = "0.125,0.25,0.25,0.5" if applied != "shown" else ",".join(map(str, [*box[:2], *expected[2:]]))
    data = packet(
        f'tiff:Orientation="{turned}"',
        regions("" if applied == "none" else dims, make(*given))
        + f"<rdf:Seq><rdf:li><rdf:Description MPReg:Rectangle='{rectangle}'/></rdf:li></rdf:Seq>",
    )
    found = passed(tmp_path, data)
    assert numbers(found, *(f"stArea:{name}" for name in "xywh")) == pytest.approx(expected)
    (corner,) = [value for name, value in values(found) if name == "MPReg:Rectangle"]
    assert [float(part) for part in corner.split(",")] == pytest.approx([*box[:2], *expected[2:]])
    if applied != "none":
        assert numbers(found, "stDim:w", "stDim:h") == [width, height]
    assert ("tiff:Orientation", "1") in values(found)
    if turned == 1:
        assert found == data


def test_regions_are_turned_exactly(tmp_path: Path) -> None:
    data = packet('tiff:Orientation="3"', regions("", area("0.1", "0.3333333", "0.0000001", ".5")))
    assert area("0.9", "0.6666667", "0.0000001", "0.5").encode() in passed(tmp_path, data)


@pytest.mark.parametrize("bad", ["", "x", "1e999999999", "-", "NaN", "1" * 99, "0,5"])
def test_regions_that_state_no_numbers_stay(tmp_path: Path, bad: str) -> None:
    faces = regions(dimensions(56, 48), area("0.1", bad, "0.1", "0.1"), "<mwg-rs:Area/>")
    data = packet('tiff:Orientation="3"', f"{faces}<MPReg:Rectangle>0.1,0.1,{bad},0.2</MPReg:Rectangle>")
    assert passed(tmp_path, data) == data.replace(b'Orientation="3"', b'Orientation="1"')


def boundary(unit: str, *, as_attributes: bool = False, **numbers: str) -> str:
    """IPTC's boundary of a rectangle or circle."""
    parts = {"rbUnit": unit, **numbers}
    if as_attributes:
        attributes = " ".join(f'Iptc4xmpExt:{name}="{value}"' for name, value in parts.items())
        return f"<Iptc4xmpExt:RegionBoundary><rdf:Description {attributes}/></Iptc4xmpExt:RegionBoundary>"
    inner = "".join(f"<Iptc4xmpExt:{name}>{value}</Iptc4xmpExt:{name}>" for name, value in parts.items())
    return f'<Iptc4xmpExt:RegionBoundary rdf:parseType="Resource">{inner}</Iptc4xmpExt:RegionBoundary>'


def polygon(unit: str, *vertices: tuple[float, float]) -> str:
    corners = "".join(f'<rdf:li Iptc4xmpExt:rbX="{x}" Iptc4xmpExt:rbY="{y}"/>' for x, y in vertices)
    inner = f"<Iptc4xmpExt:rbVertices><rdf:Seq>{corners}</rdf:Seq></Iptc4xmpExt:rbVertices>"
    return boundary(unit).replace("</Iptc4xmpExt:RegionBoundary>", f"{inner}</Iptc4xmpExt:RegionBoundary>")


def of_iptc(*boundaries: str) -> str:
    items = "".join(f'<rdf:li rdf:parseType="Resource">{part}</rdf:li>' for part in boundaries)
    return f"<Iptc4xmpExt:ImageRegion><rdf:Bag>{items}</rdf:Bag></Iptc4xmpExt:ImageRegion>"


def disc(x: float, y: float, radius: float, size: tuple[int, int]) -> Any:
    """The pixels whose middles are in a circle."""
    rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
    return np.hypot(columns - x, rows - y) < radius


@pytest.mark.parametrize("unit", ["relative", "pixel"])
@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("as_attributes", [False, True])
def test_regions_of_iptc_turn_with_the_photo(tmp_path: Path, turned: int, unit: str, as_attributes: bool) -> None:
    width, height = 56, 48
    across, down = (width, height) if unit == "relative" else (1, 1)
    corners = [(7, 12), (35, 6), (14, 36)]
    data = packet(
        f'tiff:Orientation="{turned}"',
        of_iptc(
            boundary(
                unit,
                as_attributes=as_attributes,
                rbX=str(7 / across),
                rbY=str(12 / down),
                rbW=str(14 / across),
                rbH=str(24 / down),
            ),
            boundary(unit, as_attributes=as_attributes, rbX=str(21 / across), rbY=str(30 / down), rbRx=str(7 / across)),
            polygon(unit, *((x / across, y / down) for x, y in corners)),
        ),
    )
    found = passed(tmp_path, data)
    assert left_out(read_picture(tmp_path / "a.jpg", 1), Path("b.jpg")) == ()
    if turned == 1:
        assert found == data
    shown = (width, height) if turned < 5 else (height, width)
    across, down = shown if unit == "relative" else (1, 1)
    x, y = (
        [number * unit for number in numbers(found, f"Iptc4xmpExt:rb{name}")]
        for name, unit in (("X", across), ("Y", down))
    )
    (w,), (h,), (radius,) = (
        [number * unit for number in numbers(found, f"Iptc4xmpExt:rb{name}")]
        for name, unit in (("W", across), ("H", down), ("Rx", across))
    )
    assert (w, h) == pytest.approx((14, 24) if turned < 5 else (24, 14))
    assert radius == pytest.approx(7)

    def turn(mask: Any) -> Any:
        return np.asarray(Image.fromarray(mask).transpose(TURNS[turned])) if turned > 1 else mask

    rectangle = np.zeros((height, width), bool)
    rectangle[12:36, 7:21] = True
    left, top = round(x[0]), round(y[0])
    assert turn(rectangle)[top : top + round(h), left : left + round(w)].sum() == rectangle.sum() == 14 * 24
    np.testing.assert_array_equal(disc(x[1], y[1], radius, shown), turn(disc(21, 30, 7, (width, height))))
    dots = np.zeros((height, width), bool)
    for column, row in corners:
        dots[row - 1 : row + 1, column - 1 : column + 1] = True  # the four pixels around each corner
    for column, row in zip(x[2:], y[2:], strict=True):
        assert turn(dots)[round(row) - 1 : round(row) + 1, round(column) - 1 : round(column) + 1].sum() == 4


@pytest.mark.parametrize("turned", [1, 6])
def test_regions_of_iptc_in_pixels_follow_the_size(tmp_path: Path, turned: int) -> None:
    pixels = boundary("pixel", rbX="7", rbY="12", rbW="14", rbH="24")
    shares = boundary("relative", rbX="0.25", rbY="0.5", rbRx="0.25")
    data = packet(f'tiff:Orientation="{turned}"', of_iptc(pixels, shares, polygon("pixel", (1, 2), (3, 4))))
    size = (56, 48) if turned < 5 else (48, 56)
    before = passed(tmp_path, data)
    after = passed(tmp_path, data, size=(size[0] * 3, size[1] * 3))
    for name in ("X", "Y", "W", "H", "Rx"):
        was, now = (numbers(found, f"Iptc4xmpExt:rb{name}") for found in (before, after))
        factors = [1] if name == "Rx" else [3] if name in "WH" else [3, 1, 3, 3]
        assert now == pytest.approx([factor * number for factor, number in zip(factors, was, strict=True)])


@pytest.mark.parametrize(
    "part",
    [
        boundary("relative", rbX="0.1"),
        boundary("relative", rbX="0.1", rbY="x", rbW="0.1", rbH="0.1"),
        boundary("relative", rbX="0.1", rbY="0.1", rbW="0.1"),
        boundary("metre", rbX="0.1", rbY="0.1", rbW="0.1", rbH="0.1"),
        boundary("", rbX="0.1", rbY="0.1", rbW="0.1", rbH="0.1"),
    ],
)
@pytest.mark.parametrize("turned", [1, 3])
def test_regions_of_iptc_that_are_not_known_stay_and_that_is_said(tmp_path: Path, turned: int, part: str) -> None:
    data = packet(f'tiff:Orientation="{turned}"', of_iptc(part))
    assert passed(tmp_path, data, size=(112, 96)) == data.replace(b'Orientation="3"', b'Orientation="1"')
    said = left_out(read_picture(tmp_path / "a.jpg", 1), Path("b.jpg"))
    assert [notice[:67] for notice in said] == (
        ["Regions of IPTC in its XMP are not turned upright with the photo: t"] if turned > 1 else []
    )


def test_panoramas_follow_the_size(tmp_path: Path) -> None:
    data = packet('GPano:FullPanoWidthPixels="100" GPano:CroppedAreaTopPixels="24" GPano:PoseHeadingDegrees="30"')
    found = passed(tmp_path, data, size=(112, 96))
    assert found == data.replace(b'="100"', b'="200"').replace(b'="24"', b'="48"')


def test_what_no_longer_holds_is_removed(tmp_path: Path) -> None:
    small = (
        '<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource"><xmpGImg:width>64</xmpGImg:width>'
        "<xmpGImg:image>/9j/4AAQ</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>"
    )
    item = '<rdf:li Item:Mime="image/jpeg" Item:Length="99"/>'
    items = f"<Container:Directory><rdf:Seq>{item}</rdf:Seq></Container:Directory>"
    stale = 'hdrgm:Version="1.0" GCamera:MotionPhoto="1" dcterms:provenance="self#jumbf=c2pa"'
    data = packet(f'xmp:Rating="5" {stale}', f"{small}<xmp:Label>Red</xmp:Label>{items}")
    expected = packet('xmp:Rating="5"', "<xmp:Label>Red</xmp:Label>")
    assert passed(tmp_path, data) == expected
    (said,) = left_out(read_picture(tmp_path / "a.jpg", 1), Path("b.jpg"))
    assert "C2PA manifest" in said  # one on a server, which no longer holds either


def test_a_large_packet_takes_little_time(tmp_path: Path) -> None:
    """What an attacker would write: none of it takes time that grows as the square of its length."""
    import time

    from gpen.images.metadata.xmp import is_whole, upright_xmp

    for part in (
        b"<a ",
        b"<a b='c' ",
        b"<rdf:Description>",
        b"xmlns:",
        b"<a" + b" " * 99,
        b'<a "',
        b"<!--",
        b"<a b=c=",
    ):
        start = time.perf_counter()
        data = part * (3_000_000 // len(part))
        assert not is_whole(data)
        assert not is_whole(b"<a" + data + b"/")
        assert upright_xmp(data, 6, (56, 48)) == data
        assert time.perf_counter() - start < 10

"""XMP packets: what they say about orientation, size and face regions is corrected in place, the rest stays as it is.

A packet that is damaged is corrected as far as it goes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal

from .xmp_scanner import DECLARATION, TOP, Edit, Value, edited, scan

_ORIENTATION, _EXTENDED = b"tiff:Orientation", b"xmpNote:HasExtendedXMP"
_SIZES = {b"exif:PixelXDimension": 0, b"exif:PixelYDimension": 1, b"tiff:ImageWidth": 0, b"tiff:ImageLength": 1}
# In pixels, but not of the whole photo.
_LENGTHS = {
    b"stDim:w": 0,
    b"stDim:h": 1,
    b"GPano:FullPanoWidthPixels": 0,
    b"GPano:FullPanoHeightPixels": 1,
    b"GPano:CroppedAreaImageWidthPixels": 0,
    b"GPano:CroppedAreaImageHeightPixels": 1,
    b"GPano:CroppedAreaLeftPixels": 0,
    b"GPano:CroppedAreaTopPixels": 1,
}
_APPLIED, _AREA = b"mwg-rs:AppliedToDimensions", b"mwg-rs:Area"
_RECTANGLES = (b"MPReg:Rectangle", b"gpen:Rectangle")
_AREA_PARTS = (b"stArea:x", b"stArea:y", b"stArea:w", b"stArea:h")
# A smaller picture; where a manifest of C2PA is; what says that a gain map or a video follows.
_MANIFEST = b"dcterms:provenance"
_STALE = (b"xmp:Thumbnails", _MANIFEST, b"Container:Directory")
_STALE_GROUPS = (b"hdrgm:", b"HDRGainMap:", b"GCamera:MotionPhoto", b"GCamera:MicroVideo")
_KNOWN = frozenset(
    (_ORIENTATION, _EXTENDED, *_SIZES, *_LENGTHS, *_AREA_PARTS, b"stArea:unit", *_RECTANGLES, *_STALE, b"rdf:RDF")
)

_WHOLE_NUMBER = re.compile(rb"\s*(\d{1,9})\s*")
_FRACTION = re.compile(rb"\s*(-?\d{0,6}(?:\.\d{1,40})?)\s*")

_EXTENDED_PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def orientation(packet: bytes | None) -> int:
    """The orientation that a packet states, 1 to 8; 1 if it states none."""
    for value in _values(packet or b"")[0]:
        if value.name == _ORIENTATION and value.owner in TOP:
            number = _number(packet or b"", value)
            return number if number is not None and 1 <= number <= 8 else 1
    return 1


def is_whole(packet: bytes) -> bool:
    """Whether a packet is well-formed as far as its elements go."""
    return _values(packet)[1]


def leads_to_manifest(packet: bytes) -> bool:
    """Whether a packet says where a C2PA manifest is."""
    return any(value.name == _MANIFEST and value.owner in TOP for value in _values(packet)[0])


def upright_xmp(packet: bytes, turned: int, size: tuple[int, int]) -> bytes:
    """The packet of a photo that was rotated upright: its orientation is 1, its face regions are turned.

    turned: the orientation that the photo had, 1 to 8; size: its width and height before. What no longer holds is
    removed: thumbnails, where a C2PA manifest is, and what says that a gain map or a video follows the picture.
    Regions are those of the Metadata Working Group (Guidelines for Handling Image Metadata 2.0, section 5.9: of the
    photo as it is stored) and of Microsoft.
    """
    values = _values(packet)[0]
    edits = [Edit(value.first, value.last, b"") for value in values if _is_stale(value)]
    for value in values:
        if value.name == _ORIENTATION and value.owner in TOP:
            edits.append(Edit(value.start, value.end, b"1"))
    if turned > 1 and not _regions_are_upright(packet, values, turned, size):
        edits += _turned_regions(packet, values, turned)
    return edited(packet, edits)


def sized_xmp(packet: bytes, size: tuple[int, int], before: tuple[int, int]) -> bytes:
    """The packet with the sizes in it, if any, for a photo of that width and height.

    before: the width and height that it was written for. What MWG regions and panoramas state in pixels grows as the
    photo does.
    """
    edits = []
    for value in _values(packet)[0]:
        number = _number(packet, value)
        if number is None:
            continue
        if value.name in _SIZES and value.owner in TOP:
            number = size[_SIZES[value.name]]
        elif value.name in _LENGTHS and (value.owner == _APPLIED or value.name.startswith(b"GPano:")):
            axis = _LENGTHS[value.name]
            number = round(number * size[axis] / before[axis])
        else:
            continue
        edits.append(Edit(value.start, value.end, b"%d" % number))
    return edited(packet, edits)


def extended_digest(packet: bytes) -> bytes | None:
    """The digest of the extended packet that a packet of JPEG announces; None if it announces none."""
    value = _announcement(packet)
    return None if value is None else packet[value.start : value.end].strip()


def with_extended(packet: bytes, extended: bytes) -> bytes:
    """The packet with the digest of its extended packet, as it is now."""
    value = _announcement(packet)
    return packet if value is None else edited(packet, [Edit(value.start, value.end, digest(extended))])


def without_extended(packet: bytes) -> bytes:
    """The packet without the announcement of an extended packet."""
    value = _announcement(packet)
    return packet if value is None else edited(packet, [Edit(value.first, value.last, b"")])


def announcing(extended: bytes) -> bytes:
    """A packet that only announces an extended one."""
    return _EXTENDED_PACKET % digest(extended)


def digest(extended: bytes) -> bytes:
    """What an extended packet is announced by. Source: XMP Specification Part 3, 1.1.3.1."""
    return hashlib.md5(extended, usedforsecurity=False).hexdigest().upper().encode()


def merged(packet: bytes, extended: bytes) -> bytes | None:
    """Both packets as one, for formats whose packets may be of any length; None if either has no contents."""
    at, source = _contents(packet), _contents(extended)
    if at is None or source is None:
        return None
    known = {prefix for prefix, _ in DECLARATION.findall(packet[: at.start])}
    declared = dict(DECLARATION.findall(extended[: source.start])).items()
    spaces = b"".join(b' xmlns:%s="%s"' % (prefix, uri) for prefix, uri in declared if prefix not in known)
    edits = [
        Edit(at.start - 1, at.start - 1, spaces),
        Edit(at.end, at.end, extended[source.start : source.end]),
    ]
    announced = _announcement(packet)
    if announced is not None:
        edits.append(Edit(announced.first, announced.last, b""))
    return edited(packet, edits)


def _announcement(packet: bytes) -> Value | None:
    if b"HasExtendedXMP" not in packet:
        return None
    return next((value for value in _values(packet)[0] if value.name == _EXTENDED), None)


def _contents(packet: bytes) -> Value | None:
    found = (value for value in _values(packet)[0] if value.name == b"rdf:RDF")
    return next((value for value in found if value.last > value.end), None)


def _is_stale(value: Value) -> bool:
    return value.owner in TOP and (value.name in _STALE or value.name.startswith(_STALE_GROUPS))


def _regions_are_upright(packet: bytes, values: list[Value], turned: int, size: tuple[int, int]) -> bool:
    """Whether regions were written for the photo as it is shown, by the dimensions that they state."""
    found = {value.name: _number(packet, value) for value in values if value.owner == _APPLIED}
    width, height = found.get(b"stDim:w"), found.get(b"stDim:h")
    if turned < 5 or not width or not height:
        return False
    return (width - height) * (size[0] - size[1]) < 0


def _turned_regions(packet: bytes, values: list[Value], turned: int) -> Iterator[Edit]:
    areas: dict[int, dict[bytes, Value]] = {}
    dimensions: dict[bytes, Value] = {}
    for value in values:
        if value.owner == _AREA:
            areas.setdefault(value.group, {})[value.name] = value
        elif value.owner == _APPLIED:
            dimensions[value.name] = value
        elif value.name in _RECTANGLES:
            numbers = [_fraction(text) for text in packet[value.start : value.end].split(b",")[:5]]
            if len(numbers) == 4 and None not in numbers:
                x, y, width, height = (number for number in numbers if number is not None)
                middle = _turned([x + width / 2, y + height / 2, width, height], turned)
                corner = [middle[0] - middle[2] / 2, middle[1] - middle[3] / 2, *middle[2:]]
                yield Edit(value.start, value.end, b", ".join(map(_written, corner)))
    for area in areas.values():
        parts = [area[name] for name in _AREA_PARTS if name in area]
        numbers = [_fraction(packet[part.start : part.end]) for part in parts]
        unit = area.get(b"stArea:unit")
        is_pixels = unit is not None and packet[unit.start : unit.end].strip() == b"pixel"
        if len(parts) < 4 or None in numbers or is_pixels:
            continue
        middle = _turned([number for number in numbers if number is not None], turned)
        for part, number in zip(parts, middle, strict=True):
            yield Edit(part.start, part.end, _written(number))
    if turned >= 5 and {b"stDim:w", b"stDim:h"} <= dimensions.keys():
        one, other = dimensions[b"stDim:w"], dimensions[b"stDim:h"]
        yield Edit(one.start, one.end, packet[other.start : other.end])
        yield Edit(other.start, other.end, packet[one.start : one.end])


def _turned(region: list[Decimal], turned: int) -> list[Decimal]:
    """Centre, width and height of a region, as :func:`gpen.images.exif.upright` turns samples."""
    x, y, width, height = region
    if turned >= 5:
        x, y, width, height = y, x, height, width
    if turned in (3, 4, 7, 8):
        y = 1 - y
    if turned in (2, 3, 6, 7):
        x = 1 - x
    return [x, y, width, height]


def _fraction(text: bytes) -> Decimal | None:
    found = _FRACTION.fullmatch(text)
    return Decimal(found[1].decode()) if found and any(48 <= byte <= 57 for byte in found[1]) else None


def _written(number: Decimal) -> bytes:
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text).encode()


def _number(packet: bytes, value: Value) -> int | None:
    found = _WHOLE_NUMBER.fullmatch(packet, value.start, value.end)
    return int(found[1]) if found else None


def _values(packet: bytes) -> tuple[list[Value], bool]:
    """The values that matter here, and whether the packet is well-formed as far as its elements go."""
    return scan(packet, lambda name: name in _KNOWN or name.startswith(_STALE_GROUPS))

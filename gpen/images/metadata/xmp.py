"""XMP packets: what they say about orientation, size and regions is corrected in place, the rest stays as it is.

A packet that is damaged is corrected as far as it goes.
"""

from __future__ import annotations

import hashlib
import re

from .xmp_regions import APPLIED, NAMES, has_unknown_regions, sized_regions, turned_regions
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
# A smaller picture; where a manifest of C2PA is; what says that a gain map or a video follows.
_MANIFEST = b"dcterms:provenance"
_STALE = (b"xmp:Thumbnails", _MANIFEST, b"Container:Directory")
_STALE_GROUPS = (b"hdrgm:", b"HDRGainMap:", b"GCamera:MotionPhoto", b"GCamera:MicroVideo")
_KNOWN = frozenset((_ORIENTATION, _EXTENDED, *_SIZES, *_LENGTHS, *NAMES, *_STALE, b"rdf:RDF"))

_WHOLE_NUMBER = re.compile(rb"\s*(\d{1,9})\s*")

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


def leaves_regions(packet: bytes) -> bool:
    """Whether a packet has regions that :func:`upright_xmp` leaves as they are."""
    return has_unknown_regions(packet, _values(packet)[0])


def upright_xmp(packet: bytes, turned: int, size: tuple[int, int]) -> bytes:
    """The packet of a photo that was rotated upright: its orientation is 1, its regions are turned.

    turned: the orientation that the photo had, 1 to 8; size: its width and height before. What no longer holds is
    removed: thumbnails, where a C2PA manifest is, and what says that a gain map or a video follows the picture.
    """
    values = _values(packet)[0]
    edits = [Edit(value.first, value.last, b"") for value in values if _is_stale(value)]
    for value in values:
        if value.name == _ORIENTATION and value.owner in TOP:
            edits.append(Edit(value.start, value.end, b"1"))
    if turned > 1 and not _regions_are_upright(packet, values, turned, size):
        edits += turned_regions(packet, values, turned, size)
    return edited(packet, edits)


def sized_xmp(packet: bytes, size: tuple[int, int], before: tuple[int, int]) -> bytes:
    """The packet with the sizes in it, if any, for a photo of that width and height.

    before: the width and height that it was written for. What regions and panoramas state in pixels grows as the photo
    does.
    """
    values = _values(packet)[0]
    edits = [*sized_regions(packet, values, size, before)]
    for value in values:
        number = _number(packet, value)
        if number is None:
            continue
        if value.name in _SIZES and value.owner in TOP:
            number = size[_SIZES[value.name]]
        elif value.name in _LENGTHS and (value.owner == APPLIED or value.name.startswith(b"GPano:")):
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
    found = {value.name: _number(packet, value) for value in values if value.owner == APPLIED}
    width, height = found.get(b"stDim:w"), found.get(b"stDim:h")
    if turned < 5 or not width or not height:
        return False
    return (width - height) * (size[0] - size[1]) < 0


def _number(packet: bytes, value: Value) -> int | None:
    found = _WHOLE_NUMBER.fullmatch(packet, value.start, value.end)
    return int(found[1]) if found else None


def _values(packet: bytes) -> tuple[list[Value], bool]:
    """The values that matter here, and whether the packet is well-formed as far as its elements go."""
    return scan(packet, lambda name: name in _KNOWN or name.startswith(_STALE_GROUPS))

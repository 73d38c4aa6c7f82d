"""What a JPEG file holds besides pixels, profile and EXIF: read from its segments, and written into them.

Sources: XMP Specification Part 3, 1.1.3; CIPA DC-007 (multi-picture format); Ultra HDR Image Format 1.1; C2PA 2.1, A.3.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice

from ...wording import count
from ..formats.jpeg import END, segments
from . import xmp
from .exif import Directory
from .metadata import (
    C2PA,
    DAMAGED_EXTENSION,
    DAMAGED_RESOURCES,
    GAIN_MAP,
    LARGEST,
    LONGEST_SEGMENT,
    MOTION_PHOTO,
    Metadata,
    Notes,
    one_packet,
    shown,
)
from .photoshop import clean_resources, iptc_of

_COMMENT, _APP0 = 0xFE, 0xE0
_APP1, _APP2, _APP11, _APP12, _APP13, _APP14, _APP15 = (_APP0 + number for number in (1, 2, 11, 12, 13, 14, 15))
_XMP, _EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_RESOURCES, _PICTURES = b"Photoshop 3.0\0", b"MPF\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
_GAIN_MAPS = (b"ns.adobe.com/hdr-gain-map/", b"ns.apple.com/HDRGainMap/")
_LONGEST_XMP = 65502
_EXTENSION_HEAD = 32 + 4 + 4  # digest, length of all, offset
_LONGEST_PIECE = 65400
# What other parts of this package read, or what says how the pixels were encoded.
_KNOWN = {
    _APP0: (b"JFIF\0", b"JFXX\0"),
    _APP1: (b"Exif\0",),
    _APP2: (b"ICC_PROFILE\0", _PICTURES, _GAIN_MAP),
    _APP12: (b"Ducky",),
    _APP14: (b"Adobe",),
}
_NEEDED = (b"JFIF\0", b"Exif\0", b"ICC_PROFILE\0", b"Adobe")
_ENTRIES, _ENTRY = 0xB002, 16  # of multi-picture files: their tag, and bytes of each
_PREVIEWS = (0x010001, 0x010002)
_MOST_SEGMENTS, _MOST_PICTURES = 100_000, 100
_ZEROS = re.compile(rb"\0*")


class _Found:
    """What was found in the segments of a file."""

    def __init__(self) -> None:
        self.xmp: bytes | None = None
        self.pieces: list[bytes] = []
        self.resources: list[bytes] = []
        self.comments: list[bytes] = []
        self.unknown: list[str] = []
        self.has_manifest = False
        self.pictures = (b"", 0)
        self.start = self.end = 0

    def add(self, marker: int, body: bytes, start: int) -> None:
        if marker == _COMMENT:
            self.comments.append(body)
        elif marker == _APP1 and body.startswith(_XMP):
            self.xmp = self.xmp or body[len(_XMP) :]
        elif marker == _APP1 and body.startswith(_EXTENSION):
            self.pieces.append(body[len(_EXTENSION) :])
        elif marker == _APP13 and body.startswith(_RESOURCES):
            self.resources.append(body[len(_RESOURCES) :])
        elif marker == _APP11 and body.startswith(b"JP") and (b"c2pa" in body or self.has_manifest):
            self.has_manifest = True
        elif marker == _APP2 and body.startswith(_PICTURES):
            self.pictures = (body[len(_PICTURES) :], start + len(_PICTURES))
        elif _APP0 <= marker <= _APP15 and not body.startswith(_KNOWN.get(marker, ())):
            self.unknown.append(f"APP{marker - _APP0}")


def read_jpeg_notes(data: bytes) -> Notes:
    """Take what decoding does not need out of a JPEG file; whatever is damaged in it is left out, never an error."""
    found, picture = _Found(), [data[:2]]
    for marker, place in islice(segments(data), _MOST_SEGMENTS):
        if marker == END:
            found.end = place.stop
        elif marker == _COMMENT or _APP0 <= marker <= _APP15:
            body = data[place]
            found.add(marker, body, place.start)
            if found.start == 0 and body.startswith(_NEEDED):
                picture.append(data[place.start - 4 : place.stop])
        elif found.start == 0:
            found.start = place.start - 4
    metadata = _metadata(found, data)
    # Without a start there are no pixels, or too many segments; otherwise a copy is saved where nothing is taken out.
    if found.start and sum(map(len, picture)) < found.start:
        data = b"".join([*picture, data[found.start :]])
    return Notes(data, metadata)


def _metadata(found: _Found, data: bytes) -> Metadata:
    notices = list[str]()
    if found.start == 0:
        notices.append(f"What follows its first {_MOST_SEGMENTS} segments is left out.")
    if found.unknown:
        names = list(dict.fromkeys(found.unknown))
        notices.append(f"Data of its segments {shown(names)} is left out: what they hold is not known.")
    if found.has_manifest:
        notices.append(C2PA)
    size = sum(map(len, found.resources))
    resources, is_whole = clean_resources(b"".join(found.resources)) if size <= LARGEST else (None, False)
    if not is_whole:
        notices.append(DAMAGED_RESOURCES)
    if sum(map(len, found.comments)) > LARGEST:
        notices.append("Its comments are left out: they are too long.")
        found.comments = []
    packet, extended = found.xmp, _extended(found, notices)
    if packet is not None and extended is None:
        packet = xmp.without_extended(packet)
    if found.end:
        notices += _beside(data, found)
    return Metadata(
        xmp=packet or None,
        extended_xmp=extended,
        iptc=iptc_of(resources),
        resources=resources,
        comments=tuple(found.comments),
        notices=tuple(notices),
    )


def _extended(found: _Found, notices: list[str]) -> bytes | None:
    """The extended XMP packet that the packet announces, put together; None if there is none, or a piece is missing."""
    announced = None if found.xmp is None else xmp.extended_digest(found.xmp)
    if announced is None and not found.pieces:
        return None
    pieces = {}
    for piece in found.pieces:
        if len(piece) > _EXTENSION_HEAD and piece[:32] == announced:
            (start,) = struct.unpack_from(">I", piece, 36)
            pieces[start] = piece[_EXTENSION_HEAD:]
    whole = b"".join(pieces[start] for start in sorted(pieces))
    if announced is None or len(whole) > LARGEST or xmp.digest(whole) != announced:
        notices.append(DAMAGED_EXTENSION)
        return None
    return whole


def _beside(data: bytes, found: _Found) -> Iterator[str]:
    """What follows the picture in its file: a gain map, further pictures, a video."""
    kinds = _kinds_of_pictures(*found.pictures)
    maps = others = 0
    position, rest = found.end, 0
    for _ in range(_MOST_PICTURES):
        position = _after_zeros(data, position)
        if not data.startswith(b"\xff\xd8\xff", position):
            listed = [start for start in kinds if start >= position and data.startswith(b"\xff\xd8\xff", start)]
            if not listed:
                break
            position = min(listed)
        is_map, end = _beside_picture(data, position)
        maps += is_map
        others += not is_map and kinds.get(position) not in _PREVIEWS
        position = end
    rest = len(data) - position
    if maps:
        yield GAIN_MAP
    if others:
        yield f"{count(others, 'further picture')} in its file {'is' if others == 1 else 'are'} left out."
    if data.find(b"ftyp", position, position + 8) >= 0:
        yield MOTION_PHOTO
    elif rest > 0:
        yield f"{count(rest, 'byte')} behind its picture are left out: what they hold is not known."


def _after_zeros(data: bytes, position: int) -> int:
    found = _ZEROS.match(data, position)
    assert found is not None
    return found.end()


def _beside_picture(data: bytes, start: int) -> tuple[bool, int]:
    """Whether the picture that begins there is a gain map, and where it ends."""
    is_map = False
    for marker, place in islice(segments(data, start), _MOST_SEGMENTS):
        if marker == END:
            return is_map, place.stop
        if marker in (_APP1, _APP2):
            body = data[place]
            is_map |= body.startswith(_GAIN_MAP) or any(name in body for name in _GAIN_MAPS)
    return is_map, len(data)


def _kinds_of_pictures(block: bytes, base: int) -> dict[int, int]:
    """Where the further pictures of a multi-picture file begin, and of what kind they are; none if that is damaged."""
    kinds = {}
    try:
        index = Directory(bytearray(block))
        entry = index.entries[_ENTRIES]
        size, start = struct.unpack_from(index.order + "II", block, entry + 4)
        for at in range(start + _ENTRY, start + min(size, _ENTRY * _MOST_PICTURES), _ENTRY):
            kind, _, offset = struct.unpack_from(index.order + "III", block, at)
            kinds[base + offset] = kind & 0xFFFFFF
    except (struct.error, KeyError):
        return {}
    return kinds


def with_jpeg_metadata(data: bytes, metadata: Metadata) -> bytes:
    """A JPEG file as Pillow writes it, with what its segments can hold of the metadata."""
    parts = [*_xmp_segments(metadata), *_resource_segments(metadata.resources)]
    parts += [_segment(_COMMENT, comment) for comment in metadata.comments]
    at = next(place.start - 4 for marker, place in segments(data) if marker not in (_APP0, _APP1))
    return b"".join([data[:at], *parts, data[at:]])


def _xmp_segments(metadata: Metadata) -> Iterator[bytes]:
    packet, extended = metadata.xmp, metadata.extended_xmp
    if packet is None:
        return
    if len(packet) > _LONGEST_XMP:
        extended = one_packet(metadata)
        packet = xmp.announcing(extended)
    yield _segment(_APP1, _XMP + packet)
    if extended is not None:
        name = xmp.digest(extended)
        for start in range(0, len(extended), _LONGEST_PIECE):
            head = name + struct.pack(">II", len(extended), start)
            yield _segment(_APP1, _EXTENSION + head + extended[start : start + _LONGEST_PIECE])


def _resource_segments(resources: bytes | None) -> Iterator[bytes]:
    step = LONGEST_SEGMENT - len(_RESOURCES)
    for start in range(0, len(resources or b""), step):
        assert resources is not None
        yield _segment(_APP13, _RESOURCES + resources[start : start + step])


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

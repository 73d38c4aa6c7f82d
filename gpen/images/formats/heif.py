"""HEIF, the container of HEIC and AVIF: which picture is the main one, and what the file says about it.

Source: ISO/IEC 23008-12 (HEIF), ISO/IEC 23000-22 (MIAF).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...wording import count
from ..color.coded import coded_profile, warn_of_hdr
from ..metadata.exif import upright
from ..metadata.metadata import C2PA, GAIN_MAP, LARGEST, MOTION_PHOTO, Metadata, without
from ..sniff import unsupported
from .boxes import Box, Reader, boxes

_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_SEQUENCES = (b"avis", b"msf1", b"hevc", b"hevx")
_PICTURES = {b"hvc1", b"hev1", b"av01", b"grid", b"iovl", b"iden", b"jpeg", b"j2k1", b"unci", b"tmap"}
_ALPHA = (b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")
_RIGHT = range(8)  # orientations less one


@dataclass
class _Item:
    kind: bytes = b""
    mime: bytes = b""
    hidden: bool = False
    inside: bool = False
    """Whether its data lie in the box idat."""
    places: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of its pieces."""
    properties: list[Box] = field(default_factory=list)
    references: dict[bytes, list[int]] = field(default_factory=dict)
    """By kind, the items that it refers to."""


@dataclass(frozen=True)
class HeifPicture:
    """The main picture of a file."""

    codec: bytes
    """How its pixels are coded: hvc1 or av01, say."""
    size: tuple[int, int]
    """Width and height as stored."""
    bits: int
    """Per channel."""
    grey: bool
    """Whether it has one colour channel."""
    orientation: int
    """1 to 8."""
    crop: tuple[int, int, int, int] | None
    """What is shown of the stored picture: left, top, width, height; None for all of it."""
    icc: bytes | None
    """The colour profile, or the one made of its code points."""
    exif: bytes | None
    """An EXIF block."""
    metadata: Metadata
    """XMP, and notices."""


def read_heif(data: bytes, path: Path, check: Callable[[int, int], None]) -> HeifPicture:
    """What a file says about its main picture; check: called with the width and height that it states.

    Raises PhotoError for a sequence, any other exception for a damaged file.
    """
    top = list(boxes(data, strict=False))  # some telephones append what is no box
    meta = next((box for box in top if box.kind == b"meta"), None)
    if data[8:12] in _SEQUENCES or (meta is None and any(box.kind == b"moov" for box in top)):
        raise unsupported(path, "is a sequence of pictures", "Save its frames as single files and use those.")
    if meta is None:
        raise ValueError("its header is missing")
    main, items, kept = _parsed(data, meta)
    item = items[main]
    found = _properties(item)
    size = struct.unpack_from(">II", data, found[b"ispe"].start + 4)
    check(*size)
    codec, coded = _coded(item, items)
    for part in (item, *coded):
        _check_places(part, len(data), kept)
    own = _properties(coded[0]) if coded else found
    bits, grey = _depth(data, own)
    notices = tuple(dict.fromkeys(_notices(data, top, main, items)))
    xmp = _described(data, main, items, kept, lambda other: other.mime == b"application/rdf+xml")
    metadata = Metadata(xmp=xmp or None, notices=notices)
    if len(xmp or b"") > LARGEST:
        metadata = without(metadata, "Its XMP is left out: it is too long.", xmp=None)
    exif = _described(data, main, items, kept, lambda other: other.kind == b"Exif")
    if exif is not None:
        exif = exif[4 + int.from_bytes(exif[:4], "big") :]
    return HeifPicture(
        codec=codec,
        size=size,
        bits=bits,
        grey=grey,
        orientation=_orientation(data, item),
        crop=_crop(data, found.get(b"clap"), size),
        icc=_profile(data, item.properties, path, grey=grey) or _profile(data, [*own.values()], path, grey=grey),
        exif=exif,
        metadata=metadata,
    )


def without_descriptions(data: bytes) -> bytes:
    """The file without links from EXIF, XMP and the like to pictures; everything stays in its place.

    pi-heif crashes on such items whose kinds are not UTF-8.
    """
    result = bytearray(data)
    for meta in boxes(data, strict=False):
        for box in boxes(data, meta.start + 4, meta.stop) if meta.kind == b"meta" else ():
            for reference in boxes(data, box.start + 4, box.stop) if box.kind == b"iref" else ():
                if reference.kind == b"cdsc":
                    position = data.rindex(b"cdsc", 0, reference.start)
                    result[position : position + 4] = b"skip"
    return bytes(result)


def _parsed(data: bytes, meta: Box) -> tuple[int, dict[int, _Item], Box | None]:
    """The number of the main item, all items, and the box that holds data of some."""
    parts = {box.kind: box for box in boxes(data, meta.start + 4, meta.stop)}
    items: dict[int, _Item] = {}
    _read_infos(data, parts[b"iinf"], items)
    _read_places(data, parts[b"iloc"], items)
    if b"iref" in parts:
        _read_references(data, parts[b"iref"], items)
    _read_properties(data, parts[b"iprp"], items)
    reader, version = _full(data, parts[b"pitm"])
    main = reader.number(2 if version == 0 else 4)
    if main not in items:
        raise ValueError("its main picture is missing")
    return main, items, parts.get(b"idat")


def _full(data: bytes, box: Box) -> tuple[Reader, int]:
    """A reader behind a box's version and flags, and the version."""
    return Reader(data, box.start + 4, box.stop), data[box.start]


def _read_infos(data: bytes, box: Box, items: dict[int, _Item]) -> None:
    reader, version = _full(data, box)
    reader.number(2 if version == 0 else 4)
    for info in boxes(data, reader.at, box.stop):
        if info.kind != b"infe":
            continue
        about, version = _full(data, info)
        number = about.number(4 if version >= 3 else 2)
        about.number(2)
        item = items.setdefault(number, _Item())
        if version >= 2:
            item.kind = about.take(4)
            about.text()
            item.mime = about.text() if item.kind == b"mime" else b""
        item.hidden = bool(data[info.start + 3] & 1)


def _read_places(data: bytes, box: Box, items: dict[int, _Item]) -> None:
    reader, version = _full(data, box)
    sizes = reader.number(2)
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version >= 2 else 2
    for _ in range(reader.number(wide)):
        item = items.setdefault(reader.number(wide), _Item())
        method = reader.number(2) & 15 if version >= 1 else 0
        reader.number(2)
        base = reader.number(of_base)
        item.inside = method == 1
        for _ in range(reader.number(2)):
            if version >= 1:
                reader.number(of_index)
            offset = reader.number(of_offset)
            item.places.append((base + offset, reader.number(of_length)))


def _read_references(data: bytes, box: Box, items: dict[int, _Item]) -> None:
    wide = 2 if data[box.start] == 0 else 4
    for reference in boxes(data, box.start + 4, box.stop):
        reader = Reader(data, reference.start, reference.stop)
        item = items.setdefault(reader.number(wide), _Item())
        item.references.setdefault(reference.kind, []).extend(reader.number(wide) for _ in range(reader.number(2)))


def _read_properties(data: bytes, box: Box, items: dict[int, _Item]) -> None:
    parts = list(boxes(data, box.start, box.stop))
    all_of_them = [found for part in parts if part.kind == b"ipco" for found in boxes(data, part.start, part.stop)]
    for part in parts:
        if part.kind != b"ipma":
            continue
        reader, version = _full(data, part)
        wide = 2 if data[part.start + 3] & 1 else 1
        for _ in range(reader.number(4)):
            item = items.setdefault(reader.number(2 if version < 1 else 4), _Item())
            for _ in range(reader.number(1)):
                index = reader.number(wide) & (0x7FFF if wide == 2 else 0x7F)
                if 0 < index <= len(all_of_them):
                    item.properties.append(all_of_them[index - 1])


def _properties(item: _Item) -> dict[bytes, Box]:
    """An item's properties by kind."""
    return {box.kind: box for box in item.properties}


def _coded(item: _Item, items: dict[int, _Item]) -> tuple[bytes, list[_Item]]:
    """How a picture is coded, and the items that it is put together from."""
    parts = [items[number] for number in item.references.get(b"dimg", []) if number in items]
    return (parts[0].kind, parts) if parts else (item.kind, [])


def _check_places(item: _Item, size: int, kept: Box | None) -> None:
    end = size if not item.inside else (kept.stop - kept.start if kept else 0)
    if any(start + length > end for start, length in item.places):
        raise ValueError("pixels are missing at its end")


def _depth(data: bytes, found: dict[bytes, Box]) -> tuple[int, bool]:
    """Bits per channel, and whether there is one colour channel only, as the decoder's configuration says."""
    if b"av1C" in found:
        flags = data[found[b"av1C"].start + 2]
        return (12 if flags & 0x20 else 10) if flags & 0x40 else 8, bool(flags & 0x10)
    if b"hvcC" in found:
        start = found[b"hvcC"].start
        return (data[start + 17] & 7) + 8, not data[start + 16] & 3
    return 8, False


def _orientation(data: bytes, item: _Item) -> int:
    """The orientation that an item's rotation and mirroring, in their order, stand for; EXIF's does not count."""
    small = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    seen = small
    for box in item.properties:
        if box.kind == b"irot":
            seen = np.rot90(seen, data[box.start] & 3)
        elif box.kind == b"imir":
            seen = seen[:, ::-1] if data[box.start] & 1 else seen[::-1]
    return next(number + 1 for number in _RIGHT if np.array_equal(upright(small, number + 1), seen))


def _crop(data: bytes, box: Box | None, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """What the clean aperture shows of a picture; None if that is all of it, or impossible."""
    if box is None:
        return None
    numbers = struct.unpack_from(">IIIIiIiI", data, box.start)
    if not all(numbers[1::2]):
        return None
    width, height, x, y = (top / bottom for top, bottom in zip(numbers[::2], numbers[1::2], strict=True))
    left, top = (size[0] - width) / 2 + x, (size[1] - height) / 2 + y
    crop = (round(left), round(top), round(width), round(height))
    fits = min(crop[:2]) >= 0 and min(crop[2:]) > 0 and crop[0] + crop[2] <= size[0] and crop[1] + crop[3] <= size[1]
    return crop if fits and crop != (0, 0, *size) else None


def _profile(data: bytes, properties: list[Box], path: Path, *, grey: bool) -> bytes | None:
    """The ICC profile among some properties; without one, that of the code points."""
    coded = None
    for box in properties:
        kind = data[box.start : box.start + 4] if box.kind == b"colr" else b""
        if kind in (b"prof", b"rICC"):
            return data[box.start + 4 : box.stop]
        if kind == b"nclx" and coded is None:
            coded = struct.unpack_from(">HH", data, box.start + 4)
    if coded is None:
        return None
    warn_of_hdr(coded[1], path)
    return coded_profile(*coded, grey=grey)


def _described(
    data: bytes, main: int, items: dict[int, _Item], kept: Box | None, wanted: Callable[[_Item], bool]
) -> bytes | None:
    """The data of the item of a kind that describes the main picture; None if there is none, or it is cut off."""
    for item in items.values():
        if wanted(item) and main in item.references.get(b"cdsc", [main]):
            shift, end = (kept.start, kept.stop) if item.inside and kept else (0, len(data))
            if sum(length for _, length in item.places) <= 2 * LARGEST:
                pieces = [data[shift + start : min(shift + start + length, end)] for start, length in item.places]
                return b"".join(pieces) or None
    return None


def _notices(data: bytes, top: list[Box], main: int, items: dict[int, _Item]) -> Iterator[str]:
    parts = {number for item in items.values() for number in item.references.get(b"dimg", [])}
    others = 0
    for number, item in items.items():
        if item.kind not in _PICTURES or number == main or b"thmb" in item.references:
            continue
        if item.kind == b"tmap":
            yield GAIN_MAP
        elif b"auxl" in item.references:
            yield from _beside(data, item)
        else:
            others += number not in parts and not item.hidden
    if others:
        yield f"{count(others, 'further picture')} in its file {'is' if others == 1 else 'are'} left out."
    if any(box.kind == b"moov" for box in top):
        yield "The sequence of pictures in its file is left out; its main picture is kept."
    if any(box.kind == b"mpvd" for box in top):
        yield MOTION_PHOTO
    if any(box.kind == b"uuid" and data[box.start : box.start + 16] == _C2PA for box in top):
        yield C2PA


def _beside(data: bytes, item: _Item) -> Iterator[str]:
    about = _properties(item).get(b"auxC")
    kind = data[about.start + 4 : about.stop].partition(b"\0")[0] if about else b""
    if kind.lower().endswith(b"gainmap"):
        yield GAIN_MAP
    elif kind not in _ALPHA:
        yield "Its depth map or mattes are left out: they do not fit the changed photo."

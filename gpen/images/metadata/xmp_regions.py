"""Regions in XMP packets, turned upright with the photo and sized with it.

They are those of the Metadata Working Group (Guidelines for Handling Image Metadata 2.0, section 5.9: of the photo as
it is stored), of Microsoft, of this program, and of IPTC (Photo Metadata Standard 2023.1, "Image Region").
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from .xmp_scanner import Edit, Value

APPLIED = b"mwg-rs:AppliedToDimensions"
_AREA, _AREA_UNIT = b"mwg-rs:Area", b"stArea:unit"
_DIMENSIONS = (b"stDim:w", b"stDim:h")
_AREA_PARTS = (b"stArea:x", b"stArea:y", b"stArea:w", b"stArea:h")
_RECTANGLES = (b"MPReg:Rectangle", b"gpen:Rectangle")
_BOUNDARY = b"Iptc4xmpExt:RegionBoundary"
_X, _Y, _W, _H, _RADIUS, _UNIT = (b"Iptc4xmpExt:rb" + name for name in (b"X", b"Y", b"W", b"H", b"Rx", b"Unit"))
_BOUNDARY_PARTS = frozenset((_X, _Y, _W, _H, _RADIUS))
NAMES = frozenset((*_AREA_PARTS, _AREA_UNIT, *_RECTANGLES, _BOUNDARY, *_BOUNDARY_PARTS, _UNIT))
"""The parts of regions that matter here, but for the dimensions of those of the Metadata Working Group."""

_FRACTION = re.compile(rb"\s*(-?\d{0,6}(?:\.\d{1,40})?)\s*")
_FINEST = Decimal("1e-12")  # of quotients, which may have no end

_Size = tuple[int, int]
_ONE = (1, 1)


class _Boundary(NamedTuple):
    """One of IPTC's."""

    size: _Size | None
    """Of the photo in the unit of the boundary; None if that or a number is not known."""
    points: list[dict[bytes, Decimal]]
    """The numbers of a rectangle or circle, or of each vertex of a polygon."""
    places: list[dict[bytes, Value]]
    """Where they are."""

    def edits(self, points: Sequence[dict[bytes, Decimal]]) -> Iterator[Edit]:
        """What puts other numbers into their places."""
        for place, point in zip(self.places, points, strict=True):
            for name, number in point.items():
                yield Edit(place[name].start, place[name].end, _written(number))


def turned_regions(packet: bytes, values: list[Value], turned: int, size: _Size) -> Iterator[Edit]:
    """What turns all regions upright.

    turned: the orientation that the photo had, 2 to 8; size: its width and height then.
    """
    areas: dict[int, dict[bytes, Value]] = {}
    dimensions: dict[bytes, Value] = {}
    for value in values:
        if value.owner == _AREA:
            areas.setdefault(value.group, {})[value.name] = value
        elif value.owner == APPLIED:
            dimensions[value.name] = value
        elif value.name in _RECTANGLES:
            numbers = _numbers(packet[value.start : value.end].split(b",")[:5])
            if len(numbers) == 4:
                corner = _turned_rectangle(numbers, turned, _ONE)
                yield Edit(value.start, value.end, b", ".join(map(_written, corner)))
    yield from _turned_areas(packet, areas.values(), turned)
    if turned >= 5 and {*_DIMENSIONS} <= dimensions.keys():
        one, other = (dimensions[name] for name in _DIMENSIONS)
        yield Edit(one.start, one.end, packet[other.start : other.end])
        yield Edit(other.start, other.end, packet[one.start : one.end])
    for boundary in _boundaries(packet, values, size):
        if boundary.size is not None:
            yield from boundary.edits([_turned_point(point, turned, boundary.size, size) for point in boundary.points])


def _turned_areas(packet: bytes, areas: Iterable[dict[bytes, Value]], turned: int) -> Iterator[Edit]:
    for area in areas:
        parts = [area[name] for name in _AREA_PARTS if name in area]
        numbers = _numbers([packet[part.start : part.end] for part in parts])
        unit = area.get(_AREA_UNIT)
        is_pixels = unit is not None and packet[unit.start : unit.end].strip() == b"pixel"
        if len(numbers) == 4 and not is_pixels:
            for part, number in zip(parts, _turned(numbers, turned, _ONE), strict=True):
                yield Edit(part.start, part.end, _written(number))


def sized_regions(packet: bytes, values: list[Value], size: _Size, before: _Size) -> Iterator[Edit]:
    """What sizes the regions of IPTC that are in pixels."""
    x, y = (Decimal(new) / old for new, old in zip(size, before, strict=True))
    factors = {name: y if name in (_Y, _H) else x for name in _BOUNDARY_PARTS}
    for boundary in _boundaries(packet, values, before) if size != before else ():
        if boundary.size == before != _ONE:
            yield from boundary.edits(
                [
                    {name: (number * factors[name]).quantize(_FINEST) for name, number in point.items()}
                    for point in boundary.points
                ]
            )


def has_unknown_regions(packet: bytes, values: list[Value]) -> bool:
    """Whether regions of IPTC cannot be turned, because their unit is missing or unknown, or a number is."""
    return any(boundary.size is None for boundary in _boundaries(packet, values, _ONE))


def _boundaries(packet: bytes, values: list[Value], size: _Size) -> list[_Boundary]:
    """size: of the photo, in pixels."""
    wholes = sorted((value.first, value.last) for value in values if value.name == _BOUNDARY)
    units: dict[int, bytes] = {}
    places: dict[int, dict[int, dict[bytes, Value]]] = {first: {} for first, _ in wholes}
    for value in values:
        index = bisect_right(wholes, (value.first, len(packet))) - 1
        if index < 0 or value.last > wholes[index][1]:
            continue
        if value.name == _UNIT:
            units[wholes[index][0]] = packet[value.start : value.end].strip()
        elif value.name in _BOUNDARY_PARTS:
            places[wholes[index][0]].setdefault(value.group, {})[value.name] = value
    sizes = {b"relative": _ONE, b"pixel": size}
    found = []
    for first, groups in places.items():
        points = [
            {name: _fraction(packet[at.start : at.end]) for name, at in group.items()} for group in groups.values()
        ]
        known = [{name: number for name, number in point.items() if number is not None} for point in points]
        is_whole = known == points and all(
            {_X, _Y} <= point.keys() and (_W in point) == (_H in point) for point in known
        )
        found.append(_Boundary(sizes.get(units.get(first, b"")) if is_whole else None, known, [*groups.values()]))
    return found


def _turned_point(point: dict[bytes, Decimal], turned: int, own: _Size, size: _Size) -> dict[bytes, Decimal]:
    """A point or a rectangle of IPTC's, turned; own: the photo's size in its unit."""
    if _W in point:
        numbers = _turned_rectangle([point[name] for name in (_X, _Y, _W, _H)], turned, own)
    else:
        numbers = _turned([point[_X], point[_Y], Decimal(0), Decimal(0)], turned, own)[:2]
    result = dict(zip((_X, _Y, _W, _H), numbers, strict=False))
    if _RADIUS in point:
        is_share = own == _ONE  # of the width, which was the height
        radius = point[_RADIUS] * size[0] / size[1] if turned >= 5 and is_share else point[_RADIUS]
        result[_RADIUS] = radius.quantize(_FINEST)
    return result


def _turned_rectangle(numbers: list[Decimal], turned: int, size: _Size) -> list[Decimal]:
    """Left, top, width and height; see :func:`_turned`."""
    x, y, width, height = numbers
    x, y, width, height = _turned([x + width / 2, y + height / 2, width, height], turned, size)
    return [x - width / 2, y - height / 2, width, height]


def _turned(region: list[Decimal], turned: int, size: _Size) -> list[Decimal]:
    """Centre, width and height of a region, as :func:`gpen.images.metadata.exif.upright` turns samples.

    size: of the photo as it is stored, in the unit of the region.
    """
    x, y, width, height = region
    across, down = size
    if turned >= 5:
        x, y, width, height, across, down = y, x, height, width, down, across
    if turned in (3, 4, 7, 8):
        y = down - y
    if turned in (2, 3, 6, 7):
        x = across - x
    return [x, y, width, height]


def _numbers(texts: list[bytes]) -> list[Decimal]:
    """Fewer than there are texts if some are no numbers."""
    return [number for number in map(_fraction, texts) if number is not None]


def _fraction(text: bytes) -> Decimal | None:
    found = _FRACTION.fullmatch(text)
    return Decimal(found[1].decode()) if found and any(48 <= byte <= 57 for byte in found[1]) else None


def _written(number: Decimal) -> bytes:
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text).encode()

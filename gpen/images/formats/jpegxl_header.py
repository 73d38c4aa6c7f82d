"""The header of a JPEG XL codestream: sizes, depths, orientation and colours.

Source: ISO/IEC 18181-1, annexes B (fields) and D (image header).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..color.coded import CURVES, D65, PRIMARIES
from ..color.icc_made import Chromaticities

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_CUSTOM, _P3 = 2, 11
_GREY, _XYB = 1, 2
_WHITES = {1: D65, 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_SRGB, _DCI = 13, 17
_ALPHA, _SPOT, _CFA = 0, 2, 5

_Choice = tuple[int, int]
"""A number of bits, and what is added to their value."""


@dataclass(frozen=True)
class JpegXlHeader:
    """What a codestream says about its picture."""

    size: tuple[int, int]
    """Width and height as stored."""
    orientation: int = 1
    """1 to 8."""
    bits: int = 8
    """Per channel."""
    is_float: bool = False
    """Whether samples are floating-point numbers."""
    is_animated: bool = False
    """Whether it has frames."""
    extra: tuple[int, ...] = ()
    """Kinds of the channels besides colours: 0 is alpha, 4 black."""
    premultiplied: bool = False
    """Whether its alpha is."""
    grey: bool = False
    """Whether it has one colour channel."""
    is_xyb: bool = True
    """Whether colours are coded as XYB, as of lossy files: the decoder converts to what the file states."""
    has_icc: bool = False
    """Whether it holds an ICC profile instead of what follows."""
    primaries: Chromaticities | None = None
    """Red, green, blue and white; None if they are not stated."""
    transfer: int = _SRGB
    """Code point of the tone curve; 0 if ``curve`` holds another one."""
    curve: tuple[float, ...] | None = None
    """The tone curve; None if no profile can hold it."""


class _Bits:
    """Reads fields, the least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        """The next bits. Raises ValueError where the data end."""
        if count > self._left:
            raise ValueError("its header is cut off")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value

    def flag(self) -> bool:
        return bool(self.bits(1))

    def choice(self, *choices: _Choice) -> int:
        """U32: two bits choose one of four codings."""
        count, base = choices[self.bits(2)]
        return self.bits(count) + base

    def name(self) -> int:
        """A number that stands for something."""
        return self.choice((0, 0), (0, 1), (4, 2), (6, 18))


def read_header(codestream: bytes) -> JpegXlHeader:
    """Read the header at the beginning of a codestream. Raises ValueError if it is damaged."""
    if codestream[:2] != b"\xff\x0a":
        raise ValueError("its codestream is missing")
    fields = _Bits(codestream[2:])
    size = _size(fields)
    if fields.flag():
        return JpegXlHeader(size, primaries=PRIMARIES[1], curve=CURVES[_SRGB])
    orientation, is_animated, has_more = 1, False, fields.flag()
    if has_more:
        orientation = fields.bits(3) + 1
        if fields.flag():
            _size(fields)
        if fields.flag():
            _skip_preview(fields)
        is_animated = fields.flag()
        if is_animated:
            _skip_animation(fields)
    is_float, bits = _depth(fields)
    fields.flag()
    kinds, premultiplied = _extra_channels(fields)
    about = JpegXlHeader(
        *(size, orientation, bits, is_float, is_animated, tuple(kinds), premultiplied),
        is_xyb=fields.flag(),
        primaries=PRIMARIES[1],
    )
    return _with_colors(fields, about)


def _size(fields: _Bits) -> tuple[int, int]:
    small = fields.flag()

    def side() -> int:
        return 8 * (fields.bits(5) + 1) if small else fields.choice((9, 1), (13, 1), (18, 1), (30, 1))

    height = side()
    ratio = fields.bits(3)
    return (height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1] if ratio else side()), height


def _skip_preview(fields: _Bits) -> None:
    by_eight = fields.flag()
    choices = ((0, 16), (0, 32), (5, 1), (9, 33)) if by_eight else ((6, 1), (8, 65), (10, 321), (12, 1345))
    fields.choice(*choices)
    if fields.bits(3) == 0:
        fields.choice(*choices)


def _skip_animation(fields: _Bits) -> None:
    fields.choice((0, 100), (0, 1000), (10, 1), (30, 1))
    fields.choice((0, 1), (0, 1001), (8, 1), (10, 1))
    fields.choice((0, 0), (3, 0), (16, 0), (32, 0))
    fields.flag()


def _depth(fields: _Bits) -> tuple[bool, int]:
    if not fields.flag():
        return False, fields.choice((0, 8), (0, 10), (0, 12), (6, 1))
    bits = fields.choice((0, 32), (0, 16), (0, 24), (6, 1))
    fields.bits(4)
    return True, bits


def _extra_channels(fields: _Bits) -> tuple[list[int], bool]:
    """Kinds of the channels besides colours, and whether alpha is premultiplied."""
    kinds, premultiplied = list[int](), False
    for _ in range(fields.choice((0, 0), (0, 1), (4, 2), (12, 1))):
        if fields.flag():
            kinds.append(_ALPHA)
            continue
        kinds.append(fields.name())
        _depth(fields)
        fields.choice((0, 0), (0, 3), (0, 4), (3, 1))
        fields.bits(8 * fields.choice((0, 0), (4, 0), (5, 16), (10, 48)))
        if kinds[-1] == _ALPHA:
            premultiplied |= fields.flag()
        elif kinds[-1] == _SPOT:
            fields.bits(64)
        elif kinds[-1] == _CFA:
            fields.choice((0, 1), (2, 0), (4, 3), (8, 19))
    return kinds, premultiplied


def _with_colors(fields: _Bits, about: JpegXlHeader) -> JpegXlHeader:
    if fields.flag():
        return replace(about, curve=CURVES[_SRGB])
    has_icc, space = fields.flag(), fields.name()
    about = replace(about, has_icc=has_icc, grey=space == _GREY, primaries=None)
    if has_icc or space == _XYB:
        return about
    kind = fields.name()
    white = _point(fields) if kind == _CUSTOM else _WHITES.get(kind)
    points: tuple[tuple[float, float], ...] | None = None
    if space != _GREY:
        kind = fields.name()
        if kind == _CUSTOM:
            points = tuple(_point(fields) for _ in range(3))
        elif kind in (*PRIMARIES, _P3):
            points = tuple(PRIMARIES[kind][:3])
    transfer = 0
    curve: tuple[float, ...] | None = None
    if fields.flag():
        exponent = fields.bits(24)
        curve = (1e7 / exponent,) if exponent else None
    else:
        transfer = fields.name()
        curve = (2.6,) if transfer == _DCI else CURVES.get(transfer)
    stated = (*points, white) if points is not None and white is not None else None
    return replace(about, primaries=stated, transfer=transfer, curve=curve)


def _point(fields: _Bits) -> tuple[float, float]:
    x, y = (fields.choice((19, 0), (19, 1 << 19), (20, 1 << 20), (21, 1 << 21)) for _ in range(2))
    return tuple((number >> 1 ^ -(number & 1)) / 1e6 for number in (x, y))  # type: ignore[return-value]

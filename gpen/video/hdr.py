"""Static HDR10 metadata: what a film says about the display it was mastered on, and how bright it gets."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_RATIONALS = struct.Struct("=20i2i")
"""FFmpeg's AVMasteringDisplayMetadata: ten fractions, then whether primaries and luminance are there."""
_LIGHT = struct.Struct("=2I")
"""FFmpeg's AVContentLightMetadata."""


@dataclass(frozen=True)
class Mastering:
    """SMPTE ST 2086: the display that a film was mastered on."""

    red: tuple[Fraction, Fraction]
    """CIE 1931 x and y, like the two that follow and the white point."""
    green: tuple[Fraction, Fraction]
    blue: tuple[Fraction, Fraction]
    white: tuple[Fraction, Fraction]
    darkest: Fraction
    """In candelas per square metre, like ``brightest``."""
    brightest: Fraction

    @classmethod
    def of(cls, data: bytes) -> Mastering | None:
        """Of FFmpeg's side data; None where that holds not all of it."""
        if len(data) < _RATIONALS.size:
            return None
        *numbers, has_primaries, has_luminance = _RATIONALS.unpack_from(data)
        denominators = numbers[1::2]
        if not (has_primaries and has_luminance) or 0 in denominators:
            return None
        value = [Fraction(*pair) for pair in zip(numbers[::2], denominators, strict=True)]
        points = [(value[i], value[i + 1]) for i in range(0, 8, 2)]
        red, green, blue, white = points
        return cls(red, green, blue, white, *value[8:])

    @property
    def in_steps(self) -> str:
        """As x264 and x265 take it: chromaticities in steps of 0.00002, luminances of 0.0001."""
        points = ((name, getattr(self, word)) for name, word in _POINTS)
        written = "".join(f"{name}({round(x * 50000)},{round(y * 50000)})" for name, (x, y) in points)
        return f"{written}L({round(self.brightest * 10000)},{round(self.darkest * 10000)})"

    @property
    def in_decimals(self) -> str:
        """As SVT-AV1 takes it."""
        points = ((name, getattr(self, word)) for name, word in _POINTS)
        written = "".join(f"{name}({float(x):.5f},{float(y):.5f})" for name, (x, y) in points)
        return f"{written}L({float(self.brightest):.4f},{float(self.darkest):.4f})"


_POINTS = (("G", "green"), ("B", "blue"), ("R", "red"), ("WP", "white"))


@dataclass(frozen=True)
class Hdr:
    """What of HDR10 a film holds."""

    mastering: Mastering | None = None
    """The display that it was mastered on."""
    light: tuple[int, int] | None = None
    """CTA-861.3: the largest luminance of a pixel, and of the average of a frame."""
    is_dynamic: bool = False
    """Whether frames carry metadata of their own: HDR10+ or Dolby Vision."""

    @classmethod
    def of_frame(cls, frame: Any) -> Hdr:
        """What a decoded frame says."""
        found = {data.type.name: data for data in frame.side_data}
        mastering, light = found.get("MASTERING_DISPLAY_METADATA"), found.get("CONTENT_LIGHT_LEVEL")
        brightest, average = (0, 0) if light is None else _LIGHT.unpack_from(bytes(light))
        return cls(
            None if mastering is None else Mastering.of(bytes(mastering)),
            (brightest, average) if brightest or average else None,
            bool(found.keys() & {"DYNAMIC_HDR_PLUS", "DOVI_RPU_BUFFER", "DOVI_METADATA"}),
        )

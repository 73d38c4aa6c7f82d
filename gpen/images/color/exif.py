"""What EXIF says about colours without an ICC profile: the mark of Adobe RGB (1998), as cameras write it.

Sources: DCF 2.0 (JEITA CP-3461B), "optional colour space": ColorSpace "uncalibrated" and InteroperabilityIndex "R03";
Adobe RGB (1998) Color Image Encoding, 4.3.
"""

from __future__ import annotations

import struct

from ..metadata.exif import EXIF_POINTER, INTEROP_POINTER, Directory
from .coded import D65, made_profile
from .icc_made import Chromaticities

_COLOR_SPACE, _INDEX = 40961, 1
_UNCALIBRATED, _ADOBE_RGB_MARK = 0xFFFF, b"R03"
_ADOBE_RGB: Chromaticities = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
_EXPONENT = 563 / 256


def exif_profile(block: bytes | None, *, grey: bool) -> bytes | None:
    """The profile of Adobe RGB, or of greys with its curve, if a bare EXIF block marks a photo so; else None."""
    try:
        first = Directory(bytearray(block or b""))
        described = Directory(first.data, first.get(EXIF_POINTER))
        if described.get(_COLOR_SPACE) != _UNCALIBRATED:
            return None
        index = Directory(first.data, described.get(INTEROP_POINTER)).short_text(_INDEX)
    except struct.error:
        return None
    if index != _ADOBE_RGB_MARK:
        return None
    return made_profile(_ADOBE_RGB, (_EXPONENT,), grey=grey, name="Compatible with Adobe RGB (1998)")

"""What a PNG file says about its colours without an ICC profile: the chunks cICP, sRGB, gAMA and cHRM.

Source: PNG (Third Edition), 11.3.2, "Colour space information".
"""

from __future__ import annotations

import struct
from pathlib import Path

from ..formats.png import chunks
from .coded import coded_profile, made_profile, warn_of_hdr
from .icc_made import SRGB_CHROMATICITIES, SRGB_CURVE

_SMALLEST_GAMMA, _LARGEST_GAMMA = 0.1, 10.0


def color_profile(data: bytes, icc: bytes | None, path: Path) -> bytes | None:
    """The ICC profile of a PNG file: the one embedded, ``icc``, or one made of what other chunks state; else None.

    A chunk that states nothing possible is ignored, as is cICP for high dynamic range, whose light no profile holds.
    The log says so; path: names the file there.
    """
    stated, grey = _before_pixels(data), data[25] in (0, 4)
    warn_of_hdr(int.from_bytes(stated.get(b"cICP", b"")[1:2], "big"), path)
    coded = _coded(stated.get(b"cICP", b""), grey)
    if coded or icc:
        return coded or icc
    if b"sRGB" in stated:
        return made_profile(SRGB_CHROMATICITIES, SRGB_CURVE, grey=grey)
    try:
        gamma = struct.unpack(">I", stated[b"gAMA"])[0] / 100000 if b"gAMA" in stated else 0
        points = struct.unpack(">8I", stated[b"cHRM"]) if b"cHRM" in stated and not grey else ()
    except struct.error:
        return None
    curve = (1 / gamma,) if _SMALLEST_GAMMA <= gamma <= _LARGEST_GAMMA else SRGB_CURVE
    if not points:
        return None if curve == SRGB_CURVE else made_profile(SRGB_CHROMATICITIES, curve, grey=grey)
    white, red, green, blue = ((x / 100000, y / 100000) for x, y in zip(points[::2], points[1::2], strict=True))
    return made_profile((red, green, blue, white), curve, grey=grey)


def _coded(cicp: bytes, grey: bool) -> bytes | None:
    if len(cicp) != 4 or tuple(cicp[2:]) != (0, 1):
        return None
    return coded_profile(cicp[0], cicp[1], grey=grey)


def _before_pixels(data: bytes) -> dict[bytes, bytes]:
    """The contents of the chunks before the pixels, by kind; of two of a kind, the first."""
    found: dict[bytes, bytes] = {}
    for kind, place in chunks(data):
        if kind == b"IDAT":
            break
        found.setdefault(kind, data[place.start + 8 : place.stop - 4])
    return found

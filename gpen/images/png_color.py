"""What a PNG file says about its colours without an ICC profile: the chunks cICP, sRGB, gAMA and cHRM.

Source: PNG (Third Edition), 11.3.2, "Colour space information"; code points: ITU-T H.273.
"""

from __future__ import annotations

import logging
import struct
from pathlib import Path

from .icc_made import SRGB_CHROMATICITIES, SRGB_CURVE, Chromaticities, grey_profile, rgb_profile, srgb_profile
from .png import chunks

_D65 = (0.3127, 0.3290)
_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_CHROMATICITIES,
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
_REC709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), _REC709_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: SRGB_CURVE,
}
_HDR = (b"\x10", b"\x12")  # PQ and HLG
_SMALLEST_GAMMA, _LARGEST_GAMMA = 0.1, 10.0

_log = logging.getLogger(__name__)


def color_profile(data: bytes, icc: bytes | None, path: Path) -> bytes | None:
    """The ICC profile of a PNG file: the one embedded, ``icc``, or one made of what other chunks state; else None.

    A chunk that states nothing possible is ignored, as is cICP for high dynamic range, whose light no profile holds.
    The log says so; path: names the file there.
    """
    stated, grey = _before_pixels(data), data[25] in (0, 4)
    if stated.get(b"cICP", b"")[1:2] in _HDR:
        _log.warning(
            "The colours of %s are coded for high dynamic range, and are taken for sRGB. Convert the photo to sRGB "
            "with an image editor if its faces come out in wrong colours.",
            path,
        )
    coded = _coded(stated.get(b"cICP", b""), grey)
    if coded or icc:
        return coded or icc
    if b"sRGB" in stated:
        return _made(SRGB_CHROMATICITIES, SRGB_CURVE, grey)
    try:
        gamma = struct.unpack(">I", stated[b"gAMA"])[0] / 100000 if b"gAMA" in stated else 0
        points = struct.unpack(">8I", stated[b"cHRM"]) if b"cHRM" in stated and not grey else ()
    except struct.error:
        return None
    curve = (1 / gamma,) if _SMALLEST_GAMMA <= gamma <= _LARGEST_GAMMA else SRGB_CURVE
    if not points:
        return None if curve == SRGB_CURVE else _made(SRGB_CHROMATICITIES, curve, grey)
    white, red, green, blue = ((x / 100000, y / 100000) for x, y in zip(points[::2], points[1::2], strict=True))
    return _made((red, green, blue, white), curve, grey)


def _coded(cicp: bytes, grey: bool) -> bytes | None:
    if len(cicp) != 4 or cicp[0] not in _PRIMARIES or cicp[1] not in _CURVES or tuple(cicp[2:]) != (0, 1):
        return None
    return _made(_PRIMARIES[cicp[0]], _CURVES[cicp[1]], grey)


def _made(primaries: Chromaticities, curve: tuple[float, ...], grey: bool) -> bytes | None:
    if grey:
        return grey_profile(curve, "Grey")
    if (primaries, curve) == (SRGB_CHROMATICITIES, SRGB_CURVE):
        return srgb_profile()
    try:
        return rgb_profile(primaries, curve, "RGB")
    except ValueError:
        return None


def _before_pixels(data: bytes) -> dict[bytes, bytes]:
    """The contents of the chunks before the pixels, by kind; of two of a kind, the first."""
    found: dict[bytes, bytes] = {}
    for kind, place in chunks(data):
        if kind == b"IDAT":
            break
        found.setdefault(kind, data[place.start + 8 : place.stop - 4])
    return found

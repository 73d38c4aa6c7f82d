"""Profiles for colours that a file states by code points, or by primaries and a tone curve.

Source of the code points: ITU-T H.273.
"""

from __future__ import annotations

import logging
from pathlib import Path

from .icc_made import SRGB_CHROMATICITIES, SRGB_CURVE, Chromaticities, Curve, grey_profile, rgb_profile, srgb_profile

D65 = (0.3127, 0.3290)
PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_CHROMATICITIES,
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
}
"""By code point."""
_REC709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), _REC709_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: SRGB_CURVE,
}
"""Tone curves by code point."""
_PQ, _HLG = 16, 18

_log = logging.getLogger(__name__)


def coded_profile(primaries: int, transfer: int, *, grey: bool) -> bytes | None:
    """The profile for two code points; None if they stand for nothing that a profile can hold."""
    if primaries not in PRIMARIES or transfer not in CURVES:
        return None
    return made_profile(PRIMARIES[primaries], CURVES[transfer], grey=grey)


def made_profile(primaries: Chromaticities, curve: Curve, *, grey: bool, name: str = "RGB") -> bytes | None:
    """The profile for primaries and a tone curve; None if the primaries span no space. name: where it is not grey."""
    if grey:
        return grey_profile(curve, "Grey")
    if isinstance(curve, tuple) and (primaries, curve) == (SRGB_CHROMATICITIES, SRGB_CURVE):
        return srgb_profile()
    try:
        return rgb_profile(primaries, curve, name)
    except ValueError:
        return None


def warn_of_hdr(transfer: int, path: Path) -> None:
    """Log that colours are taken for sRGB if they are coded for high dynamic range, whose light no profile holds."""
    if transfer in (_PQ, _HLG):
        _log.warning(
            "The colours of %s are coded for high dynamic range, and are taken for sRGB. Convert the photo to sRGB "
            "with an image editor if its faces come out in wrong colours.",
            path,
        )

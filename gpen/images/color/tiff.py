"""What a TIFF page says about its colours without an ICC profile.

Source: TIFF 6.0, section 20, "RGB Image Colorimetry": WhitePoint, PrimaryChromaticities and TransferFunction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coded import D65, made_profile
from .icc import why_unused
from .icc_made import SRGB_CHROMATICITIES, SRGB_CURVE, Curve

_TRANSFER, _WHITE, _PRIMARIES, _RANGE = 301, 318, 319, 342
COLOR_TAGS = {_TRANSFER, _WHITE, _PRIMARIES, _RANGE}
_WHITE_IS_ZERO, _PALETTE = 0, 3
_RATIONAL, _FLOATS = 5, (11, 12)  # types of tags
_DIGITS = 5  # of chromaticities: more are rounding of the program that wrote them


def color_profile(page: Any, photometric: int, *, grey: bool) -> bytes | None:
    """The ICC profile made of what a page (tifffile's) states; None if that is nothing, or makes no sense.

    Primaries without a transfer function have the curve of sRGB, as programs mean it that write them into every file.
    """
    if _RANGE in page.tags or (photometric == _PALETTE and _TRANSFER in page.tags):
        return None
    curve: Curve = SRGB_CURVE
    if _TRANSFER in page.tags:
        tables = _transfer(page, grey=grey)
        if tables is None:
            return None
        curve = tables[..., ::-1] if photometric == _WHITE_IS_ZERO else tables
    elif grey or _PRIMARIES not in page.tags:
        return None  # a white alone says little
    primaries, white = _points(page, _PRIMARIES, 3), _points(page, _WHITE, 1)
    if primaries is None or white is None:
        return None
    chromaticities = (*primaries, *(white or [D65])) if primaries else SRGB_CHROMATICITIES
    icc = made_profile(chromaticities, curve, grey=grey)
    return None if why_unused(icc) else icc


def _transfer(page: Any, *, grey: bool) -> NDArray[np.uint16] | None:
    """Light, 0 to 65535, by sample: (samples,) or (3, samples); None if there are not as many as there have to be."""
    values, samples = np.asarray(page.tags.valueof(_TRANSFER)), 1 << page.bitspersample
    if values.dtype.kind not in "iu" or values.size not in ((samples,) if grey else (samples, 3 * samples)):
        return None
    light = values.astype(np.uint16)
    return light if values.size == samples else light.reshape(3, samples)


def _points(page: Any, tag: int, count: int) -> list[tuple[float, float]] | None:
    """The chromaticities in a tag, none if there is no such tag; None if it is damaged."""
    if tag not in page.tags:
        return []
    kind, values = int(page.tags[tag].dtype), np.asarray(page.tags[tag].value, np.float64).ravel()
    if kind == _RATIONAL and values[1::2].all():
        values = values[::2] / values[1::2]
    elif kind not in _FLOATS:
        return None
    numbers = [round(float(value), _DIGITS) for value in values]
    return list(zip(numbers[::2], numbers[1::2], strict=True)) if len(numbers) == 2 * count else None

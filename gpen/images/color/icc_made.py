"""ICC profiles made from numbers: sRGB's, and those of primaries and a tone curve that a file only states."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .srgb_light import D50

Chromaticities = Sequence[tuple[float, float]]
"""CIE xy of red, green, blue and white."""

Curve = Sequence[float] | NDArray[np.uint16]
"""A tone curve: the exponent of a power; five parameters as :data:`SRGB_CURVE`; or light, 0 to 65535, at evenly spaced
device values: (nodes,), or (3, nodes) for red, green and blue."""

# Source: ITU-R BT.709, which sRGB has in common.
SRGB_CHROMATICITIES: Chromaticities = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
# Parameters of ICC's parametricCurveType: exponent, factor, addition, slope of the straight part, where that ends.
# Source: IEC 61966-2-1.
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BRADFORD = np.array([(0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)])
_KINDS = {1: 0, 5: 3}  # kinds of parametric curve by their number of parameters


def rgb_profile(chromaticities: Chromaticities, curve: Curve, name: str) -> bytes:
    """A profile of an RGB space.

    Raises ValueError where the chromaticities do not span a space.
    """
    white = _xyz(*chromaticities[3])
    adaptation = _to_d50(white)
    primaries = np.stack([_xyz(*point) for point in chromaticities[:3]], axis=1)
    try:
        amounts = np.linalg.solve(primaries, white)
    except np.linalg.LinAlgError:
        raise ValueError("its primaries do not span a space") from None
    columns = (adaptation @ (primaries * amounts)).T
    if not np.isfinite(columns).all() or np.abs(columns).max() > 4 or amounts.min() <= 0:
        raise ValueError("its primaries do not span a space")
    tags = {b"r": columns[0], b"g": columns[1], b"b": columns[2]}
    of_each = curve if isinstance(curve, np.ndarray) and curve.ndim == 2 else [curve] * 3
    return _profile(
        b"RGB ",
        name,
        {
            b"chad": b"sf32" + bytes(4) + _fixed(*adaptation.ravel()),
            **{letter + b"XYZ": b"XYZ " + bytes(4) + _fixed(*column) for letter, column in tags.items()},
            **{letter + b"TRC": _tone(one) for letter, one in zip(tags, of_each, strict=True)},
        },
    )


def grey_profile(curve: Curve, name: str) -> bytes:
    """A profile of greys; see :func:`rgb_profile`."""
    return _profile(b"GRAY", name, {b"kTRC": _tone(curve)})


def srgb_profile() -> bytes:
    """The profile of sRGB: the same bytes every time."""
    return rgb_profile(SRGB_CHROMATICITIES, SRGB_CURVE, "sRGB")


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    if not (0 <= x <= 1 and 0 < y <= 1):
        raise ValueError("its chromaticities lie beyond the colours that exist")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_d50(white: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix that adapts colours to the white of profiles, after Bradford. Source: ICC.1:2022, annex E."""
    scale = (_BRADFORD @ np.array(D50)) / (_BRADFORD @ white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD)


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *[round(number * 65536) for number in numbers])


def _tone(curve: Curve) -> bytes:
    if isinstance(curve, np.ndarray):
        return b"curv" + bytes(4) + struct.pack(">I", curve.size) + curve.astype(">u2").tobytes()
    return b"para" + bytes(4) + struct.pack(">HH", _KINDS[len(curve)], 0) + _fixed(*curve)


def _text(words: str) -> bytes:
    packed = words.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(packed), 28) + packed


def _profile(space: bytes, name: str, tags: dict[bytes, bytes]) -> bytes:
    common = {b"desc": _text(name), b"cprt": _text("No copyright"), b"wtpt": b"XYZ " + bytes(4) + _fixed(*D50)}
    index, body = b"", b""
    placed: dict[bytes, int] = {}
    start = 132 + 12 * len(common | tags)
    for tag, content in (common | tags).items():
        if content not in placed:
            placed[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        index += struct.pack(">4sII", tag, placed[content], len(content))
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x04300000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(common | tags)) + index + body

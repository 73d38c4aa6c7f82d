"""ICC profiles of grey and RGB: what the samples of a file look like in sRGB, and back.

Computed here in floating-point numbers from the profile's own curves and matrix, as Little CMS does it (relative
colorimetric): Pillow's binding of Little CMS converts 8 bits only. Source of the formats: ICC.1:2022.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""A tone curve: light, 0 to 1, at :data:`_NODES` evenly spaced device values."""
Table = NDArray[np.float32]

D50 = (0.9642, 1.0, 0.8249)
"""XYZ of the white of all profiles."""

SRGB_TO_XYZ = np.array([(0.43606, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410)])
"""Linear sRGB to XYZ of D50. Source: IEC 61966-2-1, adapted from D65 as profiles are."""

_NODES = 65536  # the values of 16-bit samples
_FINE = 1 << 16  # steps of a table that inverts a curve
_BLOCK = 1 << 18  # samples converted at a time: few enough for the temporaries to stay in the cache of a core
_MOST_TAGS = 1000
_NO_TAG = memoryview(b"")
_SAME = 0.5 / 255  # a profile that moves no colour further than that is sRGB's
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # source: CIE 15, "Colorimetry"


@dataclass(frozen=True, eq=False)
class ColorConversion:
    """Between the colours of a profile's space and sRGB."""

    curves: tuple[Table, ...]
    """One of grey, or those of red, green and blue: light, 0 to 1, at the values of 16-bit samples."""
    inverses: tuple[Table, ...]
    """For each curve, device values, 0 to 1, at evenly spaced square roots of light: one more than :data:`_FINE`."""
    matrix: NDArray[np.float64]
    """(3, 3): light of the profile's primaries to linear sRGB; not used for grey."""

    @property
    def is_grey(self) -> bool:
        """Whether the space has one channel."""
        return len(self.curves) == 1

    def to_srgb(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """Samples uint8 or uint16 (H, W, 1 or 3) as sRGB, float32 (H, W, 3).

        Colours that sRGB does not hold lie below 0 or above 1. One channel in a space of three counts as all of them.
        """
        step = (_NODES - 1) // np.iinfo(samples.dtype).max
        tables = [curve[::step] for curve in self.curves]
        height, width, channels = samples.shape
        result = np.empty((height, width, 3), np.float32)
        if self.is_grey:
            result[:] = _encoded(tables[0])[samples]
            return result
        rows = max(1, _BLOCK // (3 * width))
        for start in range(0, height, rows):
            block = samples[start : start + rows]
            light = [table[block[..., channel % channels]] for channel, table in enumerate(tables)]
            result[start : start + rows] = _encoded(_multiplied(self.matrix, light))
        return result

    def from_srgb(self, colors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Colours in sRGB (..., 3) in the profile's space, [0, 1]; what it does not hold is clipped.

        For a grey space: (..., 1) in and out.
        """
        linear = _decoded(colors)
        if not self.is_grey:
            inverse = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
            linear = _multiplied(inverse, [linear[..., channel] for channel in range(3)])
        light = [linear[..., channel] for channel in range(len(self.curves))]
        return np.stack([_looked_up(table, part) for table, part in zip(self.inverses, light, strict=True)], axis=-1)


def color_conversion(icc: bytes | None) -> ColorConversion | None:
    """The conversion for a profile; None where there is nothing to convert.

    That is without a profile, with sRGB's, and with one that cannot be used, for which see :func:`why_unused`.
    """
    return None if icc is None else _parsed(icc)[0]


def why_unused(icc: bytes | None) -> str:
    """Why a profile cannot be used, as the end of a sentence about it; empty if it can, or if there is none."""
    return "" if icc is None else _parsed(icc)[1]


@lru_cache(maxsize=8)
def _parsed(icc: bytes) -> tuple[ColorConversion | None, str]:
    try:
        conversion = _conversion(icc)
    except ValueError as error:
        return None, str(error)
    except (struct.error, np.linalg.LinAlgError):
        return None, "is damaged"
    return (None, "") if _is_srgb(conversion) else (conversion, "")


def _conversion(icc: bytes) -> ColorConversion:
    """Raises ValueError, whose text says why, struct.error or LinAlgError where the profile cannot be used."""
    space, connection = icc[16:20].rstrip(), icc[20:24].rstrip()
    if icc[36:40] != b"acsp" or connection not in (b"XYZ", b"Lab"):
        raise ValueError("is damaged")
    if space not in (b"RGB", b"GRAY"):
        raise ValueError(f"is for {space.decode('ascii', 'replace')} colours")
    tags = _tags(icc)
    if any(name[:3] in (b"A2B", b"D2B") for name in tags):
        raise ValueError("works by tables of colours instead of curves")
    if space == b"GRAY":
        curve = _curve(tags, b"kTRC")
        if connection == b"Lab":
            curve = _light_of_lightness(100 * curve)
        return _with_tables([curve], np.eye(3))
    if connection != b"XYZ":
        raise ValueError("has curves that lead to Lab")
    curves = [_curve(tags, name) for name in (b"rTRC", b"gTRC", b"bTRC")]
    primaries = np.stack([_xyz(tags, name) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
    if abs(np.linalg.det(primaries)) < 1e-4:
        raise ValueError("is damaged")
    return _with_tables(curves, np.linalg.inv(SRGB_TO_XYZ) @ primaries)


def _with_tables(curves: list[Curve], matrix: NDArray[np.float64]) -> ColorConversion:
    tables = tuple(curve.astype(np.float32) for curve in curves)
    return ColorConversion(tables, tuple(_inverse(curve) for curve in curves), matrix)


def _tags(icc: bytes) -> dict[bytes, memoryview]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > _MOST_TAGS:
        raise ValueError("is damaged")
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count)]
    data = memoryview(icc)  # tags may overlap, so that copies could take a thousand times the memory
    return {name: data[start : start + size] for name, start, size in entries}


def _xyz(tags: dict[bytes, memoryview], name: bytes) -> NDArray[np.float64]:
    data = tags.get(name, _NO_TAG)
    if bytes(data[:4]) != b"XYZ ":
        raise ValueError("is damaged")
    return np.array(struct.unpack_from(">3i", data, 8)) / 65536


def _curve(tags: dict[bytes, memoryview], name: bytes) -> Curve:
    data, device = tags.get(name, _NO_TAG), np.linspace(0, 1, _NODES)
    if bytes(data[:4]) == b"para":
        curve = _parametric(data, device)
    elif bytes(data[:4]) == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count > _NODES:
            raise ValueError("is damaged")
        values = np.array(struct.unpack_from(f">{count}H", data, 12), float)
        if count == 0:
            curve = device
        elif count == 1:
            curve = device ** float(values[0] / 256)
        else:
            curve = np.interp(device, np.linspace(0, 1, count), values / 65535)
    else:
        raise ValueError("is damaged")
    if not np.isfinite(curve).all():
        raise ValueError("is damaged")
    curve = np.clip(curve, 0, 1)
    if curve[-1] - curve[0] < 0.01 or (np.maximum.accumulate(curve) - curve).max() > 0.01:
        raise ValueError("has curves that do not rise")
    return curve


def _parametric(data: memoryview, device: Curve) -> Curve:
    (kind,) = struct.unpack_from(">H", data, 8)
    if kind not in _PARAMETERS:
        raise ValueError("is damaged")
    values = struct.unpack_from(f">{_PARAMETERS[kind]}i", data, 12)
    gamma, *rest = (value / 65536 for value in values)
    a, b, c, d, e, f = (*rest, *[0.0] * (6 - len(rest))) if rest else (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if kind in (1, 2):
        # Constant below the point where the base of the power is 0.
        above, below = (c, np.full_like(device, c)) if kind == 2 else (0.0, np.zeros_like(device))
        d = -b / a if a else np.inf
    else:
        above, below = e, c * device + f
    with np.errstate(over="ignore", divide="ignore"):
        power = np.maximum(a * device + b, 0) ** gamma + above
    return np.where(device >= d, power, below)


def _light_of_lightness(lightness: Curve) -> Curve:
    """L*, 0 to 100, as light, 0 to 1."""
    return np.where(lightness > _EPSILON * _KAPPA, ((lightness + 16) / 116) ** 3, lightness / _KAPPA)


def _inverse(curve: Curve) -> Table:
    # By the square root of light, as which a curve is nearly straight: evenly spaced light is too coarse in shadows.
    light = np.linspace(0, 1, _FINE + 1) ** 2
    return np.interp(light, np.maximum.accumulate(curve), np.linspace(0, 1, _NODES)).astype(np.float32)


def _looked_up(table: Table, light: NDArray[np.float32]) -> NDArray[np.float32]:
    position = np.sqrt(np.clip(light, 0, 1)) * np.float32(_FINE)
    below = np.minimum(position.astype(np.int32), _FINE - 1)
    low = table[below]
    return np.asarray(low + (position - below) * (table[below + 1] - low), dtype=np.float32)


def _multiplied(matrix: NDArray[np.float64], channels: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The matrix times colours, given by channel, (..., 3); not as a matrix product, whose rounding depends on BLAS."""
    rows = matrix.astype(np.float32)
    result = np.empty((*channels[0].shape, 3), np.float32)
    for index, (first, second, third) in enumerate(rows):
        result[..., index] = first * channels[0] + second * channels[1] + third * channels[2]
    return result


def _encoded(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear sRGB as sRGB; below 0 the curve is mirrored. Source: IEC 61966-2-1, IEC 61966-2-2."""
    light = np.abs(linear)
    power = np.float32(1.055) * np.maximum(light, np.float32(0.0031308)) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.asarray(np.copysign(np.where(light <= 0.0031308, light * np.float32(12.92), power), linear))


def _decoded(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of :func:`_encoded`."""
    size = np.abs(colors)
    power = ((np.maximum(size, np.float32(0.04045)) + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.asarray(np.copysign(np.where(size <= 0.04045, size / np.float32(12.92), power), colors))


def _is_srgb(conversion: ColorConversion) -> bool:
    shades = np.linspace(0, 65535, 256).round().astype(np.uint16)
    colors = np.repeat(shades[:, None], 3, axis=1)
    corners = np.stack(np.meshgrid(shades[::51], shades[::51], shades[::51]), axis=-1).reshape(-1, 3)
    samples = colors[None, :, :1] if conversion.is_grey else np.concatenate([colors, corners])[None]
    return bool(np.abs(conversion.to_srgb(samples) - samples / np.float32(65535)).max() <= _SAME)

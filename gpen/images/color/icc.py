"""ICC profiles of grey and RGB: what the samples of a file look like in sRGB, and back.

Computed here in floating-point numbers from the profile's own curves and matrix, as Little CMS does it (relative
colorimetric): Pillow's binding of Little CMS converts 8 bits only. Source of the formats: ICC.1:2022.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .icc_parts import DAMAGED, NODES, Curve, curve_of, light_of_lightness, tags_of, xyz_of
from .icc_tables import table_conversion
from .srgb_light import SRGB_TO_XYZ, decoded, encoded, multiplied

Table = NDArray[np.float32]

_FINE = 1 << 16  # steps of a table that inverts a curve
_BLOCK = 1 << 18  # samples converted at a time: few enough for the temporaries to stay in the cache of a core
# That of relative colorimetry, then others, as Little CMS chooses. Source: ICC.1:2022, 8.3.
_TABLES = (b"A2B1", b"A2B0")
_SAME = 0.5 / 255  # a profile that moves no colour further than that is sRGB's


class ColorConversion(Protocol):
    """Between the colours of a profile's space and sRGB."""

    @property
    def is_grey(self) -> bool:
        """Whether the space has one channel."""
        ...

    def to_srgb(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """Samples uint8 or uint16 (H, W, 1 or 3) as sRGB, float32 (H, W, 3).

        Colours that sRGB does not hold lie below 0 or above 1. One channel in a space of three counts as all of them.
        """
        ...

    def from_srgb(self, colors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Colours in sRGB (..., 3) in the profile's space, [0, 1]; what it does not hold is clipped.

        For a grey space: (..., 1) in and out.
        """
        ...


@dataclass(frozen=True, eq=False)
class CurveConversion:
    """The conversion of a profile of curves and a matrix, as most are."""

    curves: tuple[Table, ...]
    """One of grey, or those of red, green and blue: light, 0 to 1, at the values of 16-bit samples."""
    inverses: tuple[Table, ...]
    """For each curve, device values, 0 to 1, at evenly spaced square roots of light: one more than :data:`_FINE`."""
    matrix: NDArray[np.float64]
    """(3, 3): light of the profile's primaries to linear sRGB; not used for grey."""

    @property
    def is_grey(self) -> bool:
        """See :class:`ColorConversion`."""
        return len(self.curves) == 1

    def to_srgb(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`ColorConversion`."""
        step = (NODES - 1) // np.iinfo(samples.dtype).max
        tables = [curve[::step] for curve in self.curves]
        height, width, channels = samples.shape
        result = np.empty((height, width, 3), np.float32)
        if self.is_grey:
            result[:] = encoded(tables[0])[samples]
            return result
        rows = max(1, _BLOCK // (3 * width))
        for start in range(0, height, rows):
            block = samples[start : start + rows]
            light = [table[block[..., channel % channels]] for channel, table in enumerate(tables)]
            result[start : start + rows] = encoded(multiplied(self.matrix, light))
        return result

    def from_srgb(self, colors: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`ColorConversion`."""
        linear = decoded(colors)
        if not self.is_grey:
            inverse = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
            linear = multiplied(inverse, [linear[..., channel] for channel in range(3)])
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
        return None, DAMAGED
    return (None, "") if _is_srgb(conversion) else (conversion, "")


def _conversion(icc: bytes) -> ColorConversion:
    """Raises ValueError, whose text says why, struct.error or LinAlgError where the profile cannot be used."""
    space, connection = icc[16:20].rstrip(), icc[20:24].rstrip()
    if icc[36:40] != b"acsp" or connection not in (b"XYZ", b"Lab"):
        raise ValueError(DAMAGED)
    if space not in (b"RGB", b"GRAY"):
        raise ValueError(f"is for {space.decode('ascii', 'replace')} colours")
    tags = tags_of(icc)
    table = next((tags[name] for name in _TABLES if name in tags), None)
    if table is not None:
        return table_conversion(table, len(space) if space == b"RGB" else 1, connection)
    if space == b"GRAY":
        curve = curve_of(tags, b"kTRC")
        if connection == b"Lab":
            curve = light_of_lightness(100 * curve)
        return _with_tables([curve], np.eye(3))
    if connection != b"XYZ":
        raise ValueError("has curves that lead to Lab")
    curves = [curve_of(tags, name) for name in (b"rTRC", b"gTRC", b"bTRC")]
    primaries = np.stack([xyz_of(tags, name) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
    if abs(np.linalg.det(primaries)) < 1e-4:
        raise ValueError(DAMAGED)
    return _with_tables(curves, np.linalg.inv(SRGB_TO_XYZ) @ primaries)


def _with_tables(curves: list[Curve], matrix: NDArray[np.float64]) -> CurveConversion:
    tables = tuple(curve.astype(np.float32) for curve in curves)
    return CurveConversion(tables, tuple(_inverse(curve) for curve in curves), matrix)


def _inverse(curve: Curve) -> Table:
    # By the square root of light, as which a curve is nearly straight: evenly spaced light is too coarse in shadows.
    light = np.linspace(0, 1, _FINE + 1) ** 2
    return np.interp(light, np.maximum.accumulate(curve), np.linspace(0, 1, NODES)).astype(np.float32)


def _looked_up(table: Table, light: NDArray[np.float32]) -> NDArray[np.float32]:
    position = np.sqrt(np.clip(light, 0, 1)) * np.float32(_FINE)
    below = np.minimum(position.astype(np.int32), _FINE - 1)
    low = table[below]
    return np.asarray(low + (position - below) * (table[below + 1] - low), dtype=np.float32)


def _is_srgb(conversion: ColorConversion) -> bool:
    shades = np.linspace(0, 65535, 256).round().astype(np.uint16)
    colors = np.repeat(shades[:, None], 3, axis=1)
    corners = np.stack(np.meshgrid(shades[::51], shades[::51], shades[::51]), axis=-1).reshape(-1, 3)
    samples = colors[None, :, :1] if conversion.is_grey else np.concatenate([colors, corners])[None]
    return bool(np.abs(conversion.to_srgb(samples) - samples / np.float32(65535)).max() <= _SAME)

"""The parts of ICC profiles: tags, tone curves, and the coordinates of colours. Source: ICC.1:2022."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""A tone curve: values, 0 to 1, at :data:`NODES` evenly spaced device values."""

Tags = dict[bytes, memoryview]
"""The data of tags by signature."""

NODES = 65536
"""Nodes of a curve: the values of 16-bit samples."""

DAMAGED = "is damaged"
"""Why a profile cannot be used, as the end of a sentence about it."""

_MOST_TAGS = 1000
_NO_TAG = memoryview(b"")
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # source: CIE 15, "Colorimetry"


def tags_of(icc: bytes) -> Tags:
    """The tags of a profile. Raises ValueError or struct.error where it is damaged."""
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > _MOST_TAGS:
        raise ValueError(DAMAGED)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count)]
    data = memoryview(icc)  # tags may overlap, so that copies could take a thousand times the memory
    return {name: data[start : start + size] for name, start, size in entries}


def xyz_of(tags: Tags, name: bytes) -> NDArray[np.float64]:
    """The XYZ in a tag. Raises ValueError or struct.error where it is missing or damaged."""
    data = tags.get(name, _NO_TAG)
    if bytes(data[:4]) != b"XYZ ":
        raise ValueError(DAMAGED)
    return np.array(struct.unpack_from(">3i", data, 8)) / 65536


def curve_of(tags: Tags, name: bytes) -> Curve:
    """The rising curve in a tag. Raises ValueError or struct.error where it is missing, damaged or none."""
    curve, _ = read_curve(tags.get(name, _NO_TAG))
    if curve[-1] - curve[0] < 0.01 or (np.maximum.accumulate(curve) - curve).max() > 0.01:
        raise ValueError("has curves that do not rise")
    return curve


def read_curve(data: memoryview) -> tuple[Curve, int]:
    """The curve at the beginning of some data, and how many bytes it takes there.

    Raises ValueError or struct.error where it is damaged.
    """
    device = np.linspace(0, 1, NODES)
    if bytes(data[:4]) == b"para":
        curve, size = _parametric(data, device)
    elif bytes(data[:4]) == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count > NODES:
            raise ValueError(DAMAGED)
        values = np.array(struct.unpack_from(f">{count}H", data, 12), float)
        size = 12 + 2 * count
        if count == 0:
            curve = device
        elif count == 1:
            curve = device ** float(values[0] / 256)
        else:
            curve = np.interp(device, np.linspace(0, 1, count), values / 65535)
    else:
        raise ValueError(DAMAGED)
    if not np.isfinite(curve).all():
        raise ValueError(DAMAGED)
    return np.clip(curve, 0, 1), size


def _parametric(data: memoryview, device: Curve) -> tuple[Curve, int]:
    (kind,) = struct.unpack_from(">H", data, 8)
    if kind not in _PARAMETERS:
        raise ValueError(DAMAGED)
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
    return np.where(device >= d, power, below), 12 + 4 * len(values)


def light_of_lightness(lightness: Curve) -> Curve:
    """L*, 0 to 100, as light, 0 to 1."""
    return np.where(lightness > _EPSILON * _KAPPA, ((lightness + 16) / 116) ** 3, lightness / _KAPPA)

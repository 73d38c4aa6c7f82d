"""Light and sRGB: the curve of sRGB, and its primaries in the XYZ of D50 that profiles speak of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

D50 = (0.9642, 1.0, 0.8249)
"""XYZ of the white of all profiles."""

SRGB_TO_XYZ = np.array([(0.43606, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410)])
"""Linear sRGB to XYZ of D50. Source: IEC 61966-2-1, adapted from D65 as profiles are."""


def encoded(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear sRGB as sRGB; below 0 the curve is mirrored. Source: IEC 61966-2-1, IEC 61966-2-2."""
    light = np.abs(linear)
    power = np.float32(1.055) * np.maximum(light, np.float32(0.0031308)) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.asarray(np.copysign(np.where(light <= 0.0031308, light * np.float32(12.92), power), linear))


def decoded(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of :func:`encoded`."""
    size = np.abs(colors)
    power = ((np.maximum(size, np.float32(0.04045)) + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.asarray(np.copysign(np.where(size <= 0.04045, size / np.float32(12.92), power), colors))


def multiplied(matrix: NDArray[np.float64], channels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The matrix times colours, given by channel, (..., 3); not as a matrix product, whose rounding depends on BLAS."""
    rows = matrix.astype(np.float32)
    result = np.empty((*channels[0].shape, 3), np.float32)
    for index, (first, second, third) in enumerate(rows):
        result[..., index] = first * channels[0] + second * channels[1] + third * channels[2]
    return result

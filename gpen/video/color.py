"""Colours of films: from YUV of any matrix, range and depth to the RGB that networks take, and changes of it back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import PhotoError

Plane = NDArray[np.float32]
"""(H, W)."""

# The numbers of ITU-T H.273, which FFmpeg uses too.
RGB, BT709, UNSPECIFIED = 0, 1, 2
PQ = 16
FULL_RANGE = 2

_LUMA_WEIGHTS = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601 of 625 lines
    6: (0.299, 0.114),  # BT.601 of 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),  # BT.2020 with constant luminance, of which this is an approximation
}
"""Weights of red and blue in the luma, by the number of the matrix."""
_HD_LINES = 720
"""Films of at least so many lines that do not name a matrix have BT.709's, smaller ones BT.601's, as players assume."""

_REFERENCE_WHITE = 203.0
"""Candelas per square metre, ITU-R BT.2408: the white of a page in a film with PQ."""
_PEAK = 10000.0 / _REFERENCE_WHITE
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


@dataclass(frozen=True)
class ColorTags:
    """What a film says about its colours, in the numbers of ITU-T H.273."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    range: int = 0
    """1: limited, 2: full, 0: unspecified, which is limited."""


@dataclass(frozen=True)
class Coding:
    """How samples stand for colours: the coefficients of one film."""

    red: float
    """Its weight in the luma."""
    blue: float
    """Its weight in the luma."""
    black: float
    """The sample that stands for luma 0."""
    white: float
    """The sample that stands for luma 1."""
    middle: float
    """The sample that stands for chroma 0."""
    chroma_span: float
    """The samples between chroma -0.5 and 0.5."""

    @classmethod
    def of(cls, tags: ColorTags, bits: int, lines: int, *, is_rgb: bool = False) -> Coding:
        """lines: of the film, where it does not name its matrix. PhotoError for a matrix that is not supported."""
        matrix = tags.matrix
        if matrix in (UNSPECIFIED, RGB) or is_rgb:
            matrix = BT709 if lines >= _HD_LINES else 6
        if matrix not in _LUMA_WEIGHTS:
            raise PhotoError(
                f"The film's colours are stored with matrix {matrix} of ITU-T H.273, which is not supported. Convert "
                "it to BT.709 or BT.2020 first, with FFmpeg's filter zscale for instance."
            )
        red, blue = _LUMA_WEIGHTS[matrix]
        step, top = float(1 << (bits - 8)), float((1 << bits) - 1)
        if tags.range == FULL_RANGE or is_rgb:
            return cls(red, blue, 0, top, float(1 << (bits - 1)), top)
        return cls(red, blue, 16 * step, 235 * step, 128 * step, 224 * step)

    def luma(self, samples: NDArray[np.generic]) -> Plane:
        """Samples of luma, or of red, green or blue, to about 0 to 1."""
        return np.asarray((samples.astype(np.float32) - np.float32(self.black)) / np.float32(self.white - self.black))

    def chroma(self, samples: NDArray[np.generic]) -> Plane:
        """Samples of chroma to -0.5 to 0.5."""
        return np.asarray((samples.astype(np.float32) - np.float32(self.middle)) / np.float32(self.chroma_span))

    def to_rgb(self, luma: Plane, blue: Plane, red: Plane) -> Plane:
        """Y, Cb and Cr (H, W) to RGB (H, W, 3)."""
        r = luma + np.float32(2 * (1 - self.red)) * red
        b = luma + np.float32(2 * (1 - self.blue)) * blue
        g = (luma - np.float32(self.red) * r - np.float32(self.blue) * b) / np.float32(1 - self.red - self.blue)
        return np.stack([r, g, b], axis=2)

    def luma_of(self, rgb: Plane) -> Plane:
        """The luma (H, W) of RGB (H, W, 3), or of a change of it."""
        green = np.float32(1 - self.red - self.blue)
        return np.asarray(
            np.float32(self.red) * rgb[..., 0] + green * rgb[..., 1] + np.float32(self.blue) * rgb[..., 2]
        )

    def from_rgb(self, rgb: Plane) -> tuple[Plane, Plane, Plane]:
        """The inverse of :meth:`to_rgb`, which is linear: of a change of RGB, it is the change of Y, Cb and Cr."""
        luma = self.luma_of(rgb)
        blue = (rgb[..., 2] - luma) / np.float32(2 * (1 - self.blue))
        red = (rgb[..., 0] - luma) / np.float32(2 * (1 - self.red))
        return luma, blue, red


def pq_to_photo(values: Plane) -> Plane:
    """PQ of SMPTE ST 2084, [0, 1], to what a network that has seen photos expects, [0, 1].

    The light relative to the reference white of ITU-R BT.2408 is compressed by Reinhard's extended curve, whose white
    is PQ's peak, so that nothing is clipped; then sRGB's transfer function follows. :func:`photo_to_pq` inverts it.
    """
    power = np.clip(values, 0, 1) ** (1 / _M2)
    light = (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1) * _PEAK
    shown = light * (1 + light / _PEAK**2) / (1 + light)
    return np.asarray(np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055), np.float32)


def photo_to_pq(values: Plane) -> Plane:
    """The inverse of :func:`pq_to_photo`."""
    values = np.clip(values, 0, 1).astype(np.float64)
    shown = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    # The positive root of light^2 / peak^2 + light (1 - shown) - shown.
    light = (shown - 1 + np.sqrt((1 - shown) ** 2 + 4 * shown / _PEAK**2)) * _PEAK**2 / 2
    power = np.clip(light / _PEAK, 0, 1) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float32)

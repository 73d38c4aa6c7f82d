"""Soft masks in the crop, from 0 (the photo) to 1 (the restored face).

Lengths are relative to the face, not in pixels: the feather is a fraction of the face's height from hairline to chin,
which is estimated as 2.8 times the distance from the eyes to the mouth.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...device import exact_float32
from ...errors import OptionError
from ...images.uploads import uploaded, uploaded_together
from ..workers import in_one_thread

SIZE = 512
"""Height and width of every mask: the input size of the face-parsing networks."""

FACE_HEIGHT = 2.8
"""Hairline to chin, in units of the distance from the middle of the eyes to the middle of the mouth."""
SEMI_AXES = (1.15, 1.55)
"""The ellipse's semi-axes across and along the face, in the same unit, with room for the feather."""
CENTER = 0.35
"""The ellipse's centre, as a fraction of the way from the eyes to the mouth."""
PROPORTION = 0.868
"""In GPEN's template, a frontal face: the distance between the eyes over the distance from eyes to mouth."""
MARGIN = 26 / 512
"""The border that the published code clears before it feathers, as a fraction of the crop."""
SMALLEST_FEATHER = 0.01
"""As a fraction of the face's height; smaller values are raised to it."""

Area = tuple[slice, slice]
"""Rows and columns of a mask."""


def face_mask(
    shape: str,
    landmarks: NDArray[np.float64],
    feather: float,
    device: torch.device,
    parsed: Tensor | None = None,
) -> Tensor:
    """The mask float32 (SIZE, SIZE), [0, 1], of a face, on the device; 0 at the border of the crop.

    shape: "ellipse", "box" or "parsed", which option "mask" chooses among. landmarks: (5, 2), as fractions of the crop.
    feather: the width of the soft edge, as a fraction of the face's height. parsed: (SIZE, SIZE), 1 where the parser
    sees face; only "parsed" needs it. Raises OptionError for any other shape, or "parsed" without a parser's result.
    """
    if shape not in ("ellipse", "box") and (shape != "parsed" or parsed is None):
        raise OptionError(
            f"The mask is {shape!r}; it must be ellipse, box, or, with a face parser, parsed. Choose one of these."
        )
    ellipse = _Ellipse(landmarks)
    width = max(feather, SMALLEST_FEATHER) * FACE_HEIGHT * ellipse.unit
    edge = _edge()

    def make() -> Tensor:
        with exact_float32(device):
            if shape == "ellipse":
                return ellipse.mask(width, edge, device)
            if shape == "parsed" and parsed is not None:
                return _parsed(parsed, width, edge, device)
            # As both rise with the distance to the nearest side, so does their product.
            return _nearest(uploaded(_rising_from_border(MARGIN * SIZE, width) * edge, device))

    return in_one_thread(device, make)


def mask_area(shape: str, landmarks: NDArray[np.float64]) -> Area:
    """The rows and columns of a mask outside of which it is 0, known without looking at it; arguments as above."""
    if shape == "ellipse":
        return _Ellipse(landmarks).area
    first = math.floor(MARGIN * SIZE) + 1 if shape == "box" else 1
    return slice(first, SIZE - first), slice(first, SIZE - first)


class _Ellipse:
    """The ellipse around a face, in pixels of the mask."""

    def __init__(self, landmarks: NDArray[np.float64]) -> None:
        points = landmarks * SIZE
        eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
        self.unit = float(np.linalg.norm(mouth - eyes))
        """The distance from the middle of the eyes to the middle of the mouth."""
        between_eyes = float(np.linalg.norm(points[1] - points[0])) / PROPORTION
        # In a profile view the eyes are close together, but the head is as wide as ever.
        self._semi_x, self._semi_y = SEMI_AXES[0] * max(self.unit, between_eyes), SEMI_AXES[1] * self.unit
        self._down_x, self._down_y = ((mouth - eyes) / self.unit).tolist()
        self._center_x, self._center_y = (eyes + CENTER * (mouth - eyes)).tolist()
        self.area: Area = (
            _within(self._center_y, math.hypot(self._semi_x * self._down_x, self._semi_y * self._down_y)),
            _within(self._center_x, math.hypot(self._semi_x * self._down_y, self._semi_y * self._down_x)),
        )
        """The rows and columns that it reaches."""

    def mask(self, width: float, edge: NDArray[np.float32], device: torch.device) -> Tensor:
        """0 at the ellipse, rising to 1 over ``width`` pixels inward, times ``edge`` (SIZE) along both axes."""
        rows, columns = self.area
        by_row, by_column, near = uploaded_together([*self._squares(width), edge], device)
        height, mask = rows.stop - rows.start, torch.zeros((SIZE, SIZE), dtype=torch.float32, device=device)
        # Rounding may lead below 0 near the centre, where the quotient would be undefined.
        squares = (by_row @ by_column).clamp_min_(1e-12)
        roots = squares.sqrt()
        # The distance to the ellipse, to first order: (1 - r) / |gradient of r|.
        inward = torch.sub(roots[:height], squares[:height]).div_(roots[height:])
        torch.mul(_smoothstep(inward), torch.minimum(near[rows, None], near[columns]), out=mask[rows, columns])
        return mask

    def _squares(self, width: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Two matrices whose product is r² in the rows of the area, and below it (width r |gradient of r|)².

        r is 0 at the centre and 1 at the ellipse. Both are quadratic in x, with coefficients that depend on y.
        """
        rows, columns = self.area
        x = np.arange(columns.start, columns.stop) - self._center_x
        y = np.arange(rows.start, rows.stop) - self._center_y
        across = np.array([self._down_x**2, -2 * self._down_x * self._down_y, self._down_y**2]) / self._semi_x**2
        along = np.array([self._down_y**2, 2 * self._down_x * self._down_y, self._down_x**2]) / self._semi_y**2
        steeper = across * (width / self._semi_x) ** 2 + along * (width / self._semi_y) ** 2
        # Coefficients of y², x y and x².
        by_row = np.stack([across + along, steeper])[:, None] * np.vander(y, 3)
        return by_row.reshape(-1, 3).astype(np.float32), np.vander(x, 3, increasing=True).T.astype(np.float32)


def _within(center: float, reach: float) -> slice:
    """The pixels of the mask nearer than ``reach`` to a position."""
    start = min(max(math.ceil(center - reach), 0), SIZE)
    return slice(start, max(min(math.floor(center + reach) + 1, SIZE), start))


def _parsed(parsed: Tensor, width: float, edge: NDArray[np.float32], device: torch.device) -> Tensor:
    inside = (_steps_to_border() >= MARGIN * SIZE).astype(np.float32)
    # A step blurred by a Gaussian rises from 2 % to 98 % over four standard deviations.
    weights, within, near = uploaded_together([_gaussian(width / 4), inside, edge], device)
    windows = weights.unfold(0, SIZE, 1)
    # The end pixels, which are their own mirror images, are not inside.
    blur = (windows[:SIZE].flip(0) + windows[SIZE - 1 :]).mul_(within)
    return (blur @ parsed @ blur.T).clamp_(0, 1).mul_(_nearest(near))


def _gaussian(sigma: float) -> NDArray[np.float32]:
    """How much a pixel weighs in the blur of another one, 1 - SIZE to 2 (SIZE - 1) pixels from it: (3 SIZE - 2).

    A line is mirrored at its ends around the end pixels. Cut off at four standard deviations, like OpenCV's filter for
    float32.
    """
    reach = round(4 * sigma)
    total = float(np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).sum())
    # The line and its mirror image alternate with this period, and so do the weights of both.
    period = 2 * (SIZE - 1)
    distances = np.arange(1 - SIZE, period + 1, dtype=np.float64)
    weights = np.zeros_like(distances)
    for shift in range(-math.ceil(reach / period) - 1, math.ceil(reach / period) + 1):
        shifted = distances + shift * period
        weights += np.where(np.abs(shifted) <= reach, np.exp(-0.5 * (shifted / sigma) ** 2) / total, 0)
    return weights.astype(np.float32)


def _nearest(rising: Tensor) -> Tensor:
    """What rises (SIZE) from both ends of a line, in a square from its nearest side: (SIZE, SIZE)."""
    return torch.minimum(rising, rising[:, None])


def _rising_from_border(start: float, width: float) -> NDArray[np.float32]:
    """0 within ``start`` pixels of the ends of a line (SIZE), rising to 1 over the next ``width`` pixels."""
    x = np.clip((_steps_to_border() - start) / width, 0, 1)
    rising: NDArray[np.float64] = x * x * (3 - 2 * x)
    return rising.astype(np.float32)


@functools.cache
def _edge() -> NDArray[np.float32]:
    """What every mask is multiplied by along both axes, so that none ends abruptly at the border of the crop."""
    return _rising_from_border(0, MARGIN * SIZE)


def _steps_to_border() -> NDArray[np.float64]:
    """The distance of each pixel of a line to the nearer end; 0 for the outermost ones."""
    steps = np.arange(SIZE, dtype=np.float64)
    return np.asarray(np.minimum(steps, SIZE - 1 - steps))


def _smoothstep(x: Tensor) -> Tensor:
    x = x.clamp_(0, 1)
    return torch.rsub(x, 3, alpha=2).mul_(x).mul_(x)  # 3 - 2x

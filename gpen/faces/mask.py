"""Soft masks in the crop, from 0 (the photo) to 1 (the restored face).

Lengths are relative to the face, not in pixels: the feather is a fraction of the face's height from hairline to chin,
which is estimated as 2.8 times the distance from the eyes to the mouth.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import exact_float32
from ..errors import OptionError
from .workers import in_one_thread

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
    mask = torch.zeros((SIZE, SIZE), device=device)
    in_one_thread(device, lambda: _fill(mask, shape, landmarks, feather, parsed))
    return mask


def mask_area(shape: str, landmarks: NDArray[np.float64]) -> Area:
    """The rows and columns of a mask outside of which it is 0, known without looking at it; arguments as above."""
    if shape == "ellipse":
        return _Ellipse(landmarks).area
    first = math.floor(MARGIN * SIZE) + 1 if shape == "box" else 1
    return slice(first, SIZE - first), slice(first, SIZE - first)


def _fill(mask: Tensor, shape: str, landmarks: NDArray[np.float64], feather: float, parsed: Tensor | None) -> None:
    ellipse, device = _Ellipse(landmarks), mask.device
    width = max(feather, SMALLEST_FEATHER) * FACE_HEIGHT * ellipse.unit
    if shape == "ellipse":
        ellipse.draw(mask, width)
    elif shape == "parsed" and parsed is not None:
        mask.copy_(_parsed(parsed, width, device))
    else:
        mask.copy_(_rising_from_border(MARGIN * SIZE, width, device))
    # No mask may end abruptly at the border of the crop.
    mask *= _rising_from_border(0, MARGIN * SIZE, device)


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

    def draw(self, mask: Tensor, width: float) -> None:
        """Into a mask of zeros: 0 at the ellipse, rising to 1 over ``width`` pixels inward."""
        semi_x, semi_y = self._semi_x, self._semi_y
        rows, columns = self.area
        steps = torch.arange(SIZE, dtype=torch.float32, device=mask.device)
        x, y = steps[columns] - self._center_x, (steps[rows] - self._center_y)[:, None]
        across = (x * (self._down_y / semi_x) - y * (self._down_x / semi_x)).square_()
        along = (x * (self._down_x / semi_y) + y * (self._down_y / semi_y)).square_()
        radius = (across + along).sqrt_().clamp_min_(1e-6)
        # The distance to the ellipse, to first order: (1 - r) / |gradient of r|; the gradient is this root over r.
        root = across.div_(semi_x**2).add_(along.div_(semi_y**2)).sqrt_().clamp_min_(1e-9)
        mask[rows, columns] = _smoothstep((1 - radius).mul_(radius).div_(root.mul_(width)))


def _within(center: float, reach: float) -> slice:
    """The pixels of the mask nearer than ``reach`` to a position."""
    start = min(max(math.ceil(center - reach), 0), SIZE)
    return slice(start, max(min(math.floor(center + reach) + 1, SIZE), start))


def _parsed(parsed: Tensor, width: float, device: torch.device) -> Tensor:
    inside = _steps_to_border(device) >= MARGIN * SIZE
    # A step blurred by a Gaussian rises from 2 % to 98 % over four standard deviations.
    blur = _gaussian_blur(width / 4, device)
    with exact_float32(device):
        return (blur @ torch.where(inside & inside[:, None], parsed, 0) @ blur.T).clamp(0, 1)


def _gaussian_blur(sigma: float, device: torch.device) -> Tensor:
    """The matrix (SIZE, SIZE) that blurs a line of pixels, mirrored at its ends around the end pixels.

    Cut off at four standard deviations, like OpenCV's filter for float32.
    """
    reach = round(4 * sigma)
    total = float(np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).sum())
    # The line and its mirror image alternate with this period, and so do the weights of both.
    period = 2 * (SIZE - 1)
    distances = torch.arange(1 - SIZE, period + 1, dtype=torch.float32, device=device)
    weights = torch.zeros_like(distances)
    for shift in range(-math.ceil(reach / period) - 1, math.ceil(reach / period) + 1):
        shifted = distances + shift * period
        weights += torch.where(shifted.abs() <= reach, torch.exp(-0.5 * (shifted / sigma).square()) / total, 0)
    line = weights[: period + 1].unfold(0, SIZE, 1).flip(0)
    mirrored = weights[SIZE - 1 :].unfold(0, SIZE, 1).clone()
    mirrored[:, 0] = mirrored[:, -1] = 0  # the end pixels are their own mirror images
    return line + mirrored


def _rising_from_border(start: float, width: float, device: torch.device) -> Tensor:
    """0 within ``start`` pixels of the crop's nearest side, rising to 1 over the next ``width`` pixels."""
    rising = _smoothstep((_steps_to_border(device) - start) / width)
    return torch.minimum(rising, rising[:, None])


def _steps_to_border(device: torch.device) -> Tensor:
    """The distance of each row or column to the nearer end; 0 for the outermost ones."""
    steps = torch.arange(SIZE, dtype=torch.float32, device=device)
    return torch.minimum(steps, SIZE - 1 - steps)


def _smoothstep(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return (3 - 2 * x).mul_(x).mul_(x)

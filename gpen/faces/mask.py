"""Soft masks in the crop, from 0 (the photo) to 1 (the restored face).

Lengths are relative to the face, not in pixels: the feather is a fraction of the face's height from hairline to chin,
which is estimated as 2.8 times the distance from the eyes to the mouth.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..images.picture import FloatImage

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


def face_mask(
    shape: str, landmarks: NDArray[np.float64], feather: float, parsed: FloatImage | None = None
) -> FloatImage:
    """The mask (SIZE, SIZE), [0, 1], of a face; 0 at the border of the crop.

    shape: "ellipse", "box" or "parsed", the choices of option "mask". landmarks: (5, 2), as fractions of the crop.
    feather: the width of the soft edge, as a fraction of the face's height. parsed: (SIZE, SIZE), 1 where the parser
    sees face; only "parsed" needs it. Raises OptionError for any other shape, or "parsed" without a parser's result.
    """
    eyes, mouth = landmarks[:2].mean(axis=0) * SIZE, landmarks[3:].mean(axis=0) * SIZE
    unit = float(np.linalg.norm(mouth - eyes))
    width = max(feather, SMALLEST_FEATHER) * FACE_HEIGHT * unit
    if shape == "ellipse":
        mask = _ellipse(landmarks * SIZE, eyes, mouth, unit, width)
    elif shape == "box":
        mask = _rising_from_border(MARGIN * SIZE, width)
    elif shape == "parsed" and parsed is not None:
        mask = _parsed(parsed, width)
    else:
        raise OptionError(
            f"The mask is {shape!r}; it must be ellipse, box, or, with a face parser, parsed. Choose one of these."
        )
    # No mask may end abruptly at the border of the crop.
    mask *= _rising_from_border(0, MARGIN * SIZE)
    return mask


def _ellipse(
    points: NDArray[np.float64],
    eyes: NDArray[np.float64],
    mouth: NDArray[np.float64],
    unit: float,
    width: float,
) -> FloatImage:
    between_eyes = float(np.linalg.norm(points[1] - points[0])) / PROPORTION
    # In a profile view the eyes are close together, but the head is as wide as ever.
    semi_x, semi_y = SEMI_AXES[0] * max(unit, between_eyes), SEMI_AXES[1] * unit
    down = (mouth - eyes) / unit
    center = eyes + CENTER * (mouth - eyes)
    steps = np.arange(SIZE, dtype=np.float32)
    x, y = steps - np.float32(center[0]), (steps - np.float32(center[1]))[:, None]
    across = (x * np.float32(down[1] / semi_x) - y * np.float32(down[0] / semi_x)) ** 2
    along = (x * np.float32(down[0] / semi_y) + y * np.float32(down[1] / semi_y)) ** 2
    radius = np.maximum(np.sqrt(across + along), 1e-6)
    # The distance to the ellipse, to first order: (1 - r) / |gradient of r|; the gradient is this root over r.
    across *= np.float32(1 / semi_x**2)
    along *= np.float32(1 / semi_y**2)
    along += across
    root = np.maximum(np.sqrt(along, out=along), np.float32(1e-9))
    return _smoothstep((1 - radius) * radius / (root * np.float32(width)))


def _parsed(parsed: FloatImage, width: float) -> FloatImage:
    steps = _steps_to_border() >= MARGIN * SIZE
    inside = np.where(steps & steps[:, None], parsed, 0).astype(np.float32)
    # A step blurred by a Gaussian rises from 2 % to 98 % over four standard deviations.
    return np.clip(cv2.GaussianBlur(inside, (0, 0), width / 4), 0, 1)


def _rising_from_border(start: float, width: float) -> FloatImage:
    """0 within ``start`` pixels of the crop's nearest side, rising to 1 over the next ``width`` pixels."""
    rising = _smoothstep((_steps_to_border() - np.float32(start)) / np.float32(width))
    return np.minimum(rising, rising[:, None])


def _steps_to_border() -> FloatImage:
    """The distance of each row or column to the nearer end; 0 for the outermost ones."""
    steps = np.arange(SIZE, dtype=np.float32)
    return np.minimum(steps, SIZE - 1 - steps)


def _smoothstep(x: FloatImage) -> FloatImage:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), dtype=np.float32)

"""A portrait with one face whose place is known, for measurements of everything around the network."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.faces.resampling.transforms import apply

ANGLE = 8.0
"""Degrees by which the head is turned in the picture's plane."""
SHARE = 2 / 3
"""The crop's side over the photo's shorter side."""
ASPECT = 4 / 3
FACE_FILE = "photos/ffhq_00000_hq.png"
"""In the shared folder: aligned, so that all of it is one crop."""


def portrait(megapixels: float, shared: Path | None = None) -> tuple[NDArray[np.float32], Face]:
    """A photo (H, W, 3), RGB, [0, 1], 3 : 4 and upright, and its face.

    shared: holds a picture of a real face, which a detector finds; without it the photo shows smooth random colours.
    """
    width = round(math.sqrt(megapixels * 1e6 / ASPECT))
    height = round(width * ASPECT)
    side = SHARE * width
    turned = math.radians(ANGLE)
    linear = side * np.array([[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]])
    # The middle of the crop lies a little above the middle of the photo.
    middle = np.array([0.5 * width, 0.45 * height])
    from_unit = np.hstack([linear, (middle - linear @ (0.5, 0.5))[:, None]])
    landmarks = apply(from_unit, TEMPLATES["gpen"].astype(np.float64))
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    margin = 0.15 * side
    box = (*map(float, low - margin), *map(float, high + margin))
    photo = _background(height, width)
    if shared is not None:
        _paste(photo, shared / FACE_FILE, from_unit)
    return photo, Face(box, 0.95, landmarks)  # type: ignore[arg-type]


def _background(height: int, width: int) -> NDArray[np.float32]:
    coarse = np.random.default_rng(3).uniform(0.2, 0.8, (8, 6, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    # Grain, so that no step is faster for a picture without detail.
    grain = np.random.default_rng(4).normal(0, 0.02, (256, 256, 1)).astype(np.float32)
    tiled = np.tile(grain, (math.ceil(height / 256), math.ceil(width / 256), 1))[:height, :width]
    return np.clip(smooth + tiled, 0, 1, dtype=np.float32)


def _paste(photo: NDArray[np.float32], path: Path, from_unit: NDArray[np.float64]) -> None:
    from gpen.images import read_picture

    face = read_picture(path, max_megapixels=100).photo
    height, width = photo.shape[:2]
    matrix = from_unit @ np.diag([1 / face.shape[1], 1 / face.shape[0], 1])
    cv2.warpAffine(face, matrix, (width, height), dst=photo, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT)

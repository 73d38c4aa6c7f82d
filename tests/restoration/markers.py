"""Marker weights for colorizing and inpainting, and photos and faces to use them on."""

from __future__ import annotations

import numpy as np

from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.images.picture import FloatImage

LUMA = np.array([0.299, 0.587, 0.114])
MATRIX = np.array([[0.8, 0.0, 0.1], [0.1, 0.5, 0.0], [0.0, 0.1, 0.4]])
BIAS = np.array([0.15, -0.05, -0.25])
"""Bias of the marker weights, in the network's range -1 to 1: greys become reddish."""


def marked(photo: FloatImage) -> FloatImage:
    """The output of the marker weights for a photo, [0, 1]."""
    return np.clip((((photo * 2 - 1) @ MATRIX.T + BIAS) + 1) / 2, 0, 1)


def aligned_face(size: float, x: float = 0, y: float = 0) -> Face:
    """A face whose crop by GPEN's template is this square."""
    landmarks = TEMPLATES["gpen"] * size + (x, y)
    return Face((x + 0.25 * size, y + 0.25 * size, x + 0.75 * size, y + 0.85 * size), 0.9, landmarks)


def damage_of(photo: FloatImage, *rectangles: tuple[slice, slice]) -> FloatImage:
    damage = np.zeros(photo.shape[:2], np.float32)
    for rows, columns in rectangles:
        damage[rows, columns] = 1
    return damage

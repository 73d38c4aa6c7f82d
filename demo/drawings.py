"""Inputs that are drawn: damage, and a segmentation map."""

from __future__ import annotations

import cv2
import numpy as np

from gpen.images.picture import FloatImage


def scratches(shape: tuple[int, int]) -> FloatImage:
    damage = np.zeros(shape, np.float32)
    for start, end in (((150, 20), (270, 230)), ((250, 60), (180, 160)), ((60, 300), (330, 330))):
        cv2.line(damage, start, end, 1.0, 4, cv2.LINE_AA)
    return damage


def segmentation_map() -> FloatImage:
    """A head in flat colours: a drawing, not one of the maps that the network was trained on."""
    drawing = np.full((512, 512, 3), (60, 60, 80), np.uint8)

    def ellipse(x: int, y: int, wide: int, high: int, color: tuple[int, int, int]) -> None:
        cv2.ellipse(drawing, (x, y), (wide, high), 0, 0, 360, color, -1)

    ellipse(256, 240, 190, 220, (90, 50, 30))
    ellipse(256, 270, 135, 175, (220, 160, 130))
    for x in (200, 312):
        ellipse(x, 235, 28, 14, (240, 240, 240))
        ellipse(x, 235, 10, 10, (40, 80, 140))
        ellipse(x, 200, 38, 9, (60, 30, 20))
    ellipse(256, 290, 26, 36, (200, 130, 100))
    ellipse(256, 365, 52, 20, (180, 60, 70))
    return drawing.astype(np.float32) / 255

"""Drawn faces, and a detector's network whose answers about them are known exactly."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from gpen.faces.detection.network import COLUMNS, calls

# Landmarks of a drawn face, in fractions of its box.
PLACES = np.array([(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.34, 0.75), (0.66, 0.75)])


class Drawn:
    """Finds drawn faces: red squares whose lower half is also green; only upright ones, within a range of sizes.

    Those at the lower end of the range score less than 0.7, as with a real network.
    """

    name = "drawn"
    device = "cpu"
    suspicion = 0.3

    def __init__(self, smallest: float = 11, certain: float = 20, largest: float = 320) -> None:
        self.sizes: list[tuple[int, int, int]] = []
        self.range = (smallest, largest)
        self.certain = certain

    def find(self, pictures: list[torch.Tensor], threshold: float) -> list[np.ndarray]:
        together = [[pictures[number] for number in numbers] for numbers in calls(pictures)]
        self.sizes += [(len(call), *call[0].shape[:2]) for call in together]
        found = [self._find(picture.numpy()) for picture in pictures]
        return [rows[rows[:, 4] >= threshold] for rows in found]

    def _find(self, picture: np.ndarray) -> np.ndarray:
        count, _, stats, _ = cv2.connectedComponentsWithStats((picture[:, :, 0] > 0.5).astype(np.uint8))
        rows = []
        for x, y, width, height, _ in stats[1:count]:
            green = np.argwhere(picture[y : y + height, x : x + width, 1] > 0.5)
            upright = len(green) > 0 and green[:, 0].mean() > 0.6 * height
            if upright and self.range[0] <= min(width, height) and max(width, height) <= self.range[1]:
                score = 0.95 if min(width, height) >= self.certain else 0.35
                landmarks = PLACES * (width, height) + (x, y)
                rows.append([x, y, x + width, y + height, score, *landmarks.ravel()])
        return np.array(rows).reshape(-1, COLUMNS)


def draw(photo: np.ndarray, x: int, y: int, size: int) -> None:
    photo[y : y + size, x : x + size, 0] = 1
    photo[y + size // 2 : y + size, x : x + size, 1] = 1


def blank(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.float32)

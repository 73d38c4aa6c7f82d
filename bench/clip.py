"""A clip made of a photograph: a camera that pans, zooms and trembles over it, by amounts that are known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpen.faces.resample import Matrix, apply, invert
from gpen.images.picture import FloatImage

SIZE = (480, 360)
"""Width and height of a frame."""
TREMBLE = 0.5
"""Standard deviation in pixels of a frame, of each axis and independent from frame to frame."""


@dataclass(frozen=True, eq=False)
class Frame:
    """smooth, true: 2 x 3, pixels of the photograph to pixels of the frame, without the trembling and with it."""

    picture: FloatImage
    smooth: Matrix
    true: Matrix


def solvay_clip(photo: FloatImage, number: int, seed: int = 0) -> Iterator[Frame]:
    """Frames over the middle of the photograph of the Solvay conference, (H, W, 3); two faces are always in sight."""
    rng = np.random.default_rng(seed)
    for frame in range(number):
        smooth = _camera(frame)
        true = smooth.copy()
        true[:, 2] += rng.normal(0, TREMBLE, 2)
        yield Frame(seen_through(photo, true), smooth, true)


def seen_through(photo: FloatImage, camera: Matrix) -> FloatImage:
    """What a camera, as in Frame, sees of the photograph; it enlarges it, or the frame would have stairs."""
    return np.clip(cv2.warpAffine(photo, camera, SIZE, flags=cv2.INTER_CUBIC), 0, 1)


def _camera(frame: int) -> Matrix:
    """Up to 8 pixels a frame, both ways, while it zooms in by 0.3 % a frame."""
    scale = 1.6 * 1.003**frame
    x = 350 + 70 * math.sin(2 * math.pi * frame / 110) + 0.8 * frame
    y = 250 + 20 * math.sin(2 * math.pi * frame / 90)
    return np.array([[scale, 0, SIZE[0] / 2 - scale * x], [0, scale, SIZE[1] / 2 - scale * y]])


def centers(crops: list[Matrix], size: int) -> NDArray[np.float64]:
    """Where the middle of each crop of ``size`` pixels lies in its frame: (N, 2)."""
    middle = np.array([[size / 2, size / 2]])
    return np.array([apply(invert(matrix), middle)[0] for matrix in crops])


def true_path(clip: list[Frame], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """The path in a steadily held camera of the point that, on average, was seen at ``seen`` (N, 2): (N, 2)."""
    places = np.array([apply(invert(frame.smooth), point[None])[0] for frame, point in zip(clip, seen, strict=True)])
    return np.array([apply(frame.smooth, places.mean(axis=0)[None])[0] for frame in clip])

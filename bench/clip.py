"""A synthetic clip: a camera that pans, zooms and trembles over a photo, by known amounts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpen.faces.resampling.transforms import Matrix, apply, invert
from gpen.images.picture import FloatImage

SIZE = (480, 360)
"""Width and height of a frame."""
TREMBLE = 0.5
"""Standard deviation along each axis, in pixels of a frame; independent from frame to frame."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame, and where the camera was."""

    picture: FloatImage
    """What the camera saw."""
    smooth: Matrix
    """2 x 3, pixels of the photo to pixels of the frame, without the trembling."""
    true: Matrix
    """The same with the trembling."""


def solvay_clip(photo: FloatImage, number: int, seed: int = 0) -> Iterator[Frame]:
    """Frames over the middle of the photo of the Solvay conference, (H, W, 3); two faces are always visible."""
    return filmed(photo, number, _camera, seed)


def filmed(photo: FloatImage, number: int, camera: Callable[[int], Matrix], seed: int = 0) -> Iterator[Frame]:
    """Frames of a photo (H, W, 3). camera: the matrix of each frame as in :class:`Frame`, before it trembles."""
    rng = np.random.default_rng(seed)
    for frame in range(number):
        smooth = camera(frame)
        true = smooth.copy()
        true[:, 2] += rng.normal(0, TREMBLE, 2)
        yield Frame(seen_through(photo, true), smooth, true)


def seen_through(photo: FloatImage, camera: Matrix) -> FloatImage:
    """What a camera, a matrix as in Frame, sees of the photo. It has to enlarge: there is no low-pass filter."""
    return np.clip(cv2.warpAffine(photo, camera, SIZE, flags=cv2.INTER_CUBIC), 0, 1)


def _camera(frame: int) -> Matrix:
    """Pans by up to 8 pixels a frame, back and forth, and zooms in by 0.3 % a frame."""
    scale = 1.6 * 1.003**frame
    x = 350 + 70 * math.sin(2 * math.pi * frame / 110) + 0.8 * frame
    y = 250 + 20 * math.sin(2 * math.pi * frame / 90)
    return np.array([[scale, 0, SIZE[0] / 2 - scale * x], [0, scale, SIZE[1] / 2 - scale * y]])


def centers(crops: list[Matrix], size: int) -> NDArray[np.float64]:
    """The centre of each crop of ``size`` pixels, in its frame: (N, 2)."""
    middle = np.array([[size / 2, size / 2]])
    return np.array([apply(invert(matrix), middle)[0] for matrix in crops])


def true_path(clip: list[Frame], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """The path that a steady camera would see of the point seen, on average, at ``seen`` (N, 2): (N, 2)."""
    points = np.array([apply(invert(frame.smooth), point[None])[0] for frame, point in zip(clip, seen, strict=True)])
    return np.array([apply(frame.smooth, points.mean(axis=0)[None])[0] for frame in clip])

"""Where a face lies in the network's square: templates and the similarity that leads there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import FaceError
from ..images.picture import FloatImage
from .face import Face
from .resample import Matrix, apply, compose, invert, scaling, warp

TEMPLATES: dict[str, NDArray[np.float64]] = {
    # The published GPEN code and the authors' product, for every size.
    "gpen": np.array(
        [(0.39461, 0.47438), (0.60436, 0.47322), (0.50015, 0.59367), (0.41398, 0.71646), (0.58768, 0.71550)]
    ),
    # facexlib and facefusion; faces come out 1 / 0.89 larger.
    "ffhq": np.array(
        [(0.37692, 0.46865), (0.62286, 0.46913), (0.50124, 0.61332), (0.39309, 0.72541), (0.61150, 0.72490)]
    ),
}
"""Landmarks as fractions of the crop: left eye, right eye, nose, left and right mouth corner."""

FARTHEST = 4
"""How many times the photo's longer side a crop may reach, from the photo's far edge to its own."""
ALWAYS_ALLOWED = 2048
"""Pixels that it may reach however small the photo is."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a face lies in a square of ``size`` pixels; matrix: 2 x 3, maps pixels of the photo to its pixels."""

    face: Face
    matrix: Matrix
    size: int

    @property
    def landmarks(self) -> NDArray[np.float64]:
        """The face's landmarks (5, 2) as fractions of the square, from edge to edge."""
        return (apply(self.matrix, self.face.landmarks) + 0.5) / self.size

    def in_photo_scaled(self, x: float, y: float) -> Placement:
        """The same square about the photo resized by ``x`` horizontally and ``y`` vertically."""
        return Placement(self.face.scaled(x, y), compose(self.matrix, scaling(1 / x, 1 / y)), self.size)


def place(face: Face, size: int, template: str) -> Placement:
    """The square of ``size`` pixels that the network expects this face in; as :func:`crop_matrix`."""
    return Placement(face, crop_matrix(face, size, template), size)


def crop_matrix(face: Face, size: int, template: str) -> Matrix:
    """2 x 3 matrix that maps pixels of the photo to pixels of a ``size`` x ``size`` crop.

    The similarity that fits all five landmarks best to the template, whose point t lies at t x size in the
    crop (the published convention). Raises FaceError where the landmarks coincide or are not numbers.
    """
    return similarity(face.landmarks, TEMPLATES[template] * size)


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    """Least-squares similarity without reflection that maps points (N, 2) to points (N, 2), as 2 x 3 matrix.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    1991; in the plane its solution is a linear regression of complex numbers.
    """
    from_center, to_center = source.mean(axis=0), target.mean(axis=0)
    from_points = (source - from_center) @ (1, 1j)
    to_points = (target - to_center) @ (1, 1j)
    spread = float(np.sum(np.abs(from_points) ** 2))
    factor = np.vdot(from_points, to_points) / spread if spread > 0 else 0
    if not np.isfinite(factor) or abs(factor) == 0 or not np.isfinite(abs(1 / factor)):
        raise FaceError(
            "A face's five landmarks coincide or are not finite numbers, so the face cannot be aligned. "
            "Correct or remove it in the faces file."
        )
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.hstack([linear, (to_center - linear @ from_center)[:, None]])


def crop_face(photo: FloatImage, matrix: Matrix, size: int) -> FloatImage:
    """The crop: ``photo`` (H, W, 3) resampled once to (size, size, 3), clipped to [0, 1].

    What lies beyond the photo is its mirror image. Raises FaceError where so much of the crop lies there that
    the mirror images would take many times the photo's memory; no face that was found in the photo does.
    """
    height, width = photo.shape[:2]
    end = size - 1
    corners = apply(invert(matrix), np.array([[0, 0], [end, 0], [0, end], [end, end]], float))
    low = np.minimum(corners.min(axis=0), 0)
    high = np.maximum(corners.max(axis=0), [width - 1, height - 1])
    reach, allowed = float((high - low).max()), max(FARTHEST * max(height, width), ALWAYS_ALLOWED)
    if reach > allowed:
        raise FaceError(
            f"A face's five landmarks lie so far apart, or so far outside the photo of {width} x {height} pixels, "
            f"that its surroundings would take {reach:.0f} pixels; up to {allowed} are possible. "
            "Correct or remove it in the faces file."
        )
    crop = warp(photo, matrix, (size, size))
    return np.clip(crop, 0, 1, out=crop)

"""Alignment: the templates, and the similarity transform from the photo to the crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import FaceError
from ..images.tensors import DevicePhoto
from .face import Face
from .resampling.resample import warp_photo
from .resampling.transforms import Matrix, apply, compose, corners, invert, scaling

TEMPLATES: dict[str, NDArray[np.float64]] = {
    # From the published GPEN code; the same for every size.
    "gpen": np.array(
        [(0.39461, 0.47438), (0.60436, 0.47322), (0.50015, 0.59367), (0.41398, 0.71646), (0.58768, 0.71550)]
    ),
    # From facexlib and facefusion; the face is larger in the crop, by 1 / 0.89.
    "ffhq": np.array(
        [(0.37692, 0.46865), (0.62286, 0.46913), (0.50124, 0.61332), (0.39309, 0.72541), (0.61150, 0.72490)]
    ),
}
"""Landmarks as fractions of the crop: left eye, right eye, nose, left and right mouth corner."""

MAX_REACH = 4
"""The largest side of the bounding box around photo and crop, in multiples of the photo's longer side."""
MIN_ALLOWED_REACH = 2048
"""The same in pixels, for small photos: a box of this size is always allowed."""

_SHORTEST = 1e-3
"""The shortest distance from the eyes to the mouth, as a fraction of the crop; in the templates it is a quarter."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a face lies in its crop."""

    face: Face
    """In pixels of the photo."""
    matrix: Matrix
    """2 x 3, maps pixels of the photo to pixels of the crop."""
    size: int
    """Height and width of the crop, in pixels."""

    @property
    def landmarks(self) -> NDArray[np.float64]:
        """The landmarks (5, 2) as fractions of the crop, from edge to edge."""
        return (apply(self.matrix, self.face.landmarks) + 0.5) / self.size

    def in_photo_scaled(self, x: float, y: float) -> Placement:
        """The same crop of the photo resized by ``x`` horizontally and ``y`` vertically."""
        return Placement(self.face.scaled(x, y), compose(self.matrix, scaling(1 / x, 1 / y)), self.size)


def place(face: Face, size: int, template: str) -> Placement:
    """Align a face to a template; see :func:`crop_matrix`."""
    return Placement(face, crop_matrix(face, size, template), size)


def crop_matrix(face: Face, size: int, template: str) -> Matrix:
    """The 2 x 3 matrix that maps pixels of the photo to pixels of a ``size`` x ``size`` crop.

    It is the similarity that best fits the five landmarks to the template, a key of :data:`TEMPLATES`. A template
    point t lies at t x size in the crop, the published convention. Raises FaceError if the landmarks, or the middles of
    eyes and mouth, coincide, or they are NaN or Inf.
    """
    matrix = similarity(face.landmarks, TEMPLATES[template] * size)
    # Masks are measured in units of this distance.
    down = face.landmarks[3:].mean(axis=0) - face.landmarks[:2].mean(axis=0)
    if np.linalg.norm(matrix[:, :2] @ down) < _SHORTEST * size:
        raise FaceError(
            "A face's mouth lies between its eyes, so it cannot be aligned. Correct or remove it in the faces file."
        )
    return matrix


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    """The least-squares similarity, without reflection, from points (N, 2) to points (N, 2), as a 2 x 3 matrix.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991. In the
    plane it reduces to a linear regression of complex numbers. Raises FaceError if the source points coincide, or
    either are NaN or Inf.
    """
    from_center, to_center = source.mean(axis=0), target.mean(axis=0)
    from_points = (source - from_center) @ (1, 1j)
    to_points = (target - to_center) @ (1, 1j)
    spread = float(np.sum(np.abs(from_points) ** 2))
    factor = np.vdot(from_points, to_points) / spread if spread > 0 else 0
    if not np.isfinite(factor) or abs(factor) == 0 or not np.isfinite(abs(1 / factor)):
        raise FaceError(
            "A face's five landmarks coincide or are not finite numbers, so it cannot be aligned. "
            "Correct or remove it in the faces file."
        )
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.hstack([linear, (to_center - linear @ from_center)[:, None]])


def crop_face(photo: DevicePhoto, matrix: Matrix, size: int) -> Tensor:
    """Resample ``photo`` (H, W, 3) once to a crop (size, size, 3) on its device, clipped to [0, 1].

    matrix: 2 x 3, maps pixels of the photo to pixels of the crop. Beyond its edges the photo is mirrored. Raises
    FaceError as :func:`check_reach`.
    """
    check_reach(photo, matrix, size)
    return warp_photo(photo, matrix, (size, size))


def check_reach(photo: DevicePhoto, matrix: Matrix, size: int) -> None:
    """FaceError if a crop reaches so far beyond the photo that the mirrored part would take many times its memory.

    Arguments as for :func:`crop_face`. Detected faces never do.
    """
    height, width = photo.shape[:2]
    seen = apply(invert(matrix), corners(size, size))
    low = np.minimum(seen.min(axis=0), 0)
    high = np.maximum(seen.max(axis=0), [width - 1, height - 1])
    reach, allowed = float((high - low).max()), max(MAX_REACH * max(height, width), MIN_ALLOWED_REACH)
    if reach > allowed:
        raise FaceError(
            f"A face's five landmarks lie so far apart, or so far outside the photo of {width} x {height} pixels, "
            f"that its crop spans {reach:.0f} pixels; at most {allowed} are allowed. "
            "Correct or remove it in the faces file."
        )

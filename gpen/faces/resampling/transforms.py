"""Affine transforms between pictures, as 2 x 3 matrices; pixel centres lie at integer coordinates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""2 x 3: maps pixels of one picture to pixels of another."""


def scaling(x: float, y: float | None = None) -> Matrix:
    """The matrix that maps pixels of a picture to pixels of the picture resized by ``x`` and ``y``.

    y: the same as ``x`` if None. Resizing by s moves pixel p to (p + 1/2) s - 1/2, as pixel centres lie at integers.
    """
    y = x if y is None else y
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def translation(x: float, y: float) -> Matrix:
    """The matrix that moves pixels by ``x`` to the right and ``y`` down."""
    return np.array([[1, 0, x], [0, 1, y]], float)


def compose(second: Matrix, first: Matrix) -> Matrix:
    """The matrix that applies ``first`` and then ``second``."""
    both = second[:, :2] @ first
    both[:, 2] += second[:, 2]
    return np.asarray(both)


def invert(matrix: Matrix) -> Matrix:
    """The inverse of a matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -linear @ matrix[:, 2:]])


def apply(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map points (N, 2)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def corners(width: float, height: float) -> NDArray[np.float64]:
    """The centres (4, 2) of the corner pixels of a picture of this size."""
    right, bottom = width - 1, height - 1
    return np.array([[0, 0], [right, 0], [0, bottom], [right, bottom]], float)


def shrinking(matrix: Matrix) -> float:
    """Pixels of the source per pixel of the result, along one axis."""
    return 1 / math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))

"""How the pixels of a film are turned and mirrored before they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Orientation:
    """A symmetry of the square: transposed first, then mirrored."""

    transposed: bool = False
    """Whether rows become columns."""
    flipped: bool = False
    """Whether what results is mirrored top to bottom."""
    mirrored: bool = False
    """Whether what results is mirrored left to right."""

    @classmethod
    def of_matrix(cls, matrix: Sequence[int] | None) -> Orientation:
        """Of the nine numbers of FFmpeg's display matrix; None is upright. Angles between are taken as the nearest."""
        if matrix is None:
            return cls()
        # A pixel at (x, y) is shown at (a x + c y, b x + d y).
        a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    def shown(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A view of the stored picture (H, W, ...) as it is shown."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        return self._flipped(picture)

    def stored(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A view of the shown picture (H, W, ...) as it is stored; the inverse of :meth:`shown`."""
        picture = self._flipped(picture)
        return picture.swapaxes(0, 1) if self.transposed else picture

    def size_shown(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as shown."""
        return (height, width) if self.transposed else (width, height)

    def rectangle_stored(self, rectangle: Rectangle, width: int, height: int) -> Rectangle:
        """A rectangle of the shown picture, of this width and height, in the stored one."""
        rows, columns = rectangle
        if self.flipped:
            rows = slice(height - rows.stop, height - rows.start)
        if self.mirrored:
            columns = slice(width - columns.stop, width - columns.start)
        return (columns, rows) if self.transposed else (rows, columns)

    def rectangle_shown(self, rectangle: Rectangle, width: int, height: int) -> Rectangle:
        """A rectangle of the stored picture, of this width and height, in the shown one."""
        rows, columns = rectangle
        width, height = self.size_shown(width, height)
        if self.transposed:
            rows, columns = columns, rows
        if self.flipped:
            rows = slice(height - rows.stop, height - rows.start)
        if self.mirrored:
            columns = slice(width - columns.stop, width - columns.start)
        return rows, columns

    def _flipped(self, picture: NDArray[Any]) -> NDArray[Any]:
        step = -1 if self.flipped else 1, -1 if self.mirrored else 1
        return np.asarray(picture[:: step[0], :: step[1]])

"""A detected face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a photo, in pixels of that photo; pixel centres lie at integer coordinates."""

    box: tuple[float, float, float, float]
    """(x0, y0, x1, y1)."""
    score: float
    """The detector's confidence, 0 to 1."""
    landmarks: NDArray[np.float64]
    """(5, 2): left eye, right eye, nose, left and right mouth corner, as seen by a viewer, the face upright."""

    def __post_init__(self) -> None:
        landmarks = np.asarray(self.landmarks, np.float64)
        if landmarks.shape != (5, 2):
            raise ValueError(f"landmarks has the shape {landmarks.shape}, which is not (5, 2)")
        object.__setattr__(self, "landmarks", landmarks)

    @property
    def width(self) -> float:
        """Of the box, in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Of the box, in pixels."""
        return self.box[3] - self.box[1]

    @property
    def center(self) -> tuple[float, float]:
        """(x, y), the middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def scaled(self, x: float, y: float) -> Face:
        """The same face in the photo resized by ``x`` horizontally and ``y`` vertically."""
        factors = np.array([x, y])
        corners = (np.array(self.box).reshape(2, 2) + 0.5) * factors - 0.5
        x0, y0, x1, y1 = (float(v) for v in corners.ravel())
        return Face((x0, y0, x1, y1), self.score, (self.landmarks + 0.5) * factors - 0.5)

    def as_json(self, score_digits: int) -> dict[str, Any]:
        """Box, score and landmarks as lists, in hundredths of a pixel; score_digits: decimals of the score."""
        return {
            "box": [_rounded(value) for value in self.box],
            "score": _rounded(self.score, score_digits),
            "landmarks": [[_rounded(value) for value in point] for point in self.landmarks],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Face:
        """The face of which :meth:`as_json` made this."""
        x0, y0, x1, y1 = content["box"]
        return cls((x0, y0, x1, y1), content["score"], np.array(content["landmarks"], float))


def _rounded(value: float, digits: int = 2) -> float:
    return round(float(value), digits) + 0.0  # turns -0.0 into 0.0

"""What is measured of faces' pixels in order to choose among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FaceTraits:
    """What was measured of a face; None for what was not, or cannot be because the face cannot be aligned."""

    sharpness: float | None = None
    """As :func:`gpen.faces.selection.sharpness.sharpness`: 0 to 1."""
    likeness: float | None = None
    """As :meth:`gpen.faces.recognition.people.People.likeness`: -1 to 1."""


UNMEASURED = FaceTraits()


def median_traits(traits: Sequence[FaceTraits]) -> FaceTraits:
    """The medians of what was measured of one face several times."""
    return FaceTraits(_median([face.sharpness for face in traits]), _median([face.likeness for face in traits]))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None

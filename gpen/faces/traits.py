"""What is measured of faces' pixels in order to choose among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .face import Face
from .tracking.tracks import TrackedFace


@dataclass(frozen=True)
class FaceTraits:
    """What was measured of a face; None for what was not, or cannot be because the face cannot be aligned."""

    sharpness: float | None = None
    """As :func:`gpen.faces.sharpness.sharpness`: 0 to 1."""


def typical_traits(tracked: TrackedFace, traits: Mapping[Face, FaceTraits]) -> FaceTraits:
    """The medians over a track. traits: of detected faces."""
    of_track = [traits[face] for face in tracked.detections if face in traits]
    return FaceTraits(sharpness=_median([face.sharpness for face in of_track]))


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None

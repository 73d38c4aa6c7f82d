"""Masks that are painted on the photo: the strokes of the brush, and the mask that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..errors import PhotoError
from ..images.picture import FloatImage

KINDS = ("damage", "protect")
"""What is painted: what is damaged, and what stays as it is."""

PEOPLE = "people"
"""Beside them, what is uploaded: photos of the people whose faces are worked on."""

_MOST_POINTS = 1_000_000
"""Of all strokes together."""

_SHIFT = 4
"""Fractional bits of a point's coordinates."""


@dataclass(frozen=True)
class Stroke:
    """One movement of the brush. Lengths are fractions of the photo's width, heights of its height."""

    kind: str
    """One of :data:`KINDS`."""
    erases: bool
    """Whether it takes away what was marked before."""
    width: float
    """The brush's diameter, in photo widths."""
    points: tuple[tuple[float, float], ...]
    """The brush's centres, at least one; (0, 0) is the photo's upper left corner, (1, 1) its lower right one."""


def strokes(given: object) -> tuple[Stroke, ...]:
    """The strokes that the browser sent, oldest first; none for None. PhotoError for anything that is no stroke."""
    if not isinstance(given, Sequence | None):
        raise _unreadable()
    made = tuple(map(_stroke, given or ()))
    if sum(len(stroke.points) for stroke in made) > _MOST_POINTS:
        raise PhotoError("There are too many strokes of the brush. Undo some, or give the mask as a picture.")
    return made


def _stroke(given: Any) -> Stroke:
    try:
        points = np.asarray(given["points"], np.float64).reshape(-1, 2)
        kind, erases, width = given["kind"], given["erases"], float(given["width"])
    except (TypeError, ValueError, KeyError) as error:
        raise _unreadable() from error
    numbers = np.append(points.ravel(), width)
    if kind not in KINDS or not points.size or not np.isfinite(numbers).all() or not 0 < width <= 2:
        raise _unreadable()
    # Where the brush leaves the photo, its edge still counts.
    return Stroke(kind, bool(erases), width, tuple((float(x), float(y)) for x, y in points.clip(-2, 3)))


def _unreadable() -> PhotoError:
    return PhotoError("What was painted on the photo could not be read. Load the page again, and paint it anew.")


def painted(
    made: Sequence[Stroke], kind: str, size: tuple[int, int], under: FloatImage | None = None
) -> FloatImage | None:
    """The mask of a kind, float32 (H, W): 1 where its strokes mark the photo, 0 elsewhere, over another mask.

    size: width and height of the photo in pixels. under: (H, W), [0, 1], what was marked before; it is not changed.
    Returns ``under`` where no stroke is of this kind.
    """
    mine = [stroke for stroke in made if stroke.kind == kind]
    if not mine:
        return under
    width, height = size
    mask = np.zeros((height, width), np.float32) if under is None else under.copy()
    if mask.shape != (height, width):
        raise PhotoError(
            f"The mask is {mask.shape[1]} x {mask.shape[0]} pixels, the photo {width} x {height}. To paint on it, it "
            "has to be of the photo's size."
        )
    for stroke in mine:
        _draw(mask, stroke)
    return mask


def _draw(mask: FloatImage, stroke: Stroke) -> None:
    height, width = mask.shape
    value = 0.0 if stroke.erases else 1.0
    # (0, 0) is the corner of the first pixel, whose centre is OpenCV's (0, 0).
    at = np.asarray(stroke.points) * (width, height) - 0.5
    points = np.rint(at * (1 << _SHIFT)).astype(np.int32)
    across = max(1, round(stroke.width * width))
    for point in (points[0], points[-1]):
        cv2.circle(mask, point.tolist(), (across << _SHIFT) // 2, value, cv2.FILLED, shift=_SHIFT)
    if len(points) > 1:
        cv2.polylines(mask, [points], isClosed=False, color=value, thickness=across, shift=_SHIFT)

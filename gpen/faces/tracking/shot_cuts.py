"""Where a video is cut: between frames that are not the same picture, moved or not, lit alike or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.float32]
"""RGB, [0, 1], (h, w, 3), the longer side 32 pixels: what is kept of each frame of a video, however long that is."""

_SIDE = 32
_REACH = 5
"""Pixels of a thumbnail, a sixth of the picture: as far as a camera may pan from one frame to the next."""
_ALIKE = 0.7
"""Correlation of two thumbnails, where they overlap best. Portraits of two people, cut alike, come to 0.5, a picture
and the same moved by some pixels to 0.9, and enlarged by a tenth to 0.73."""
_FLAT = 0.01
"""Standard deviation of a thumbnail that shows nothing, such as a black one."""


def thumbnail(photo: NDArray[np.float32]) -> Thumbnail:
    """What find_cuts needs of a photo (H, W, 3), RGB, [0, 1]."""
    height, width = photo.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Rows and columns are enough by hundreds: averaging all pixels of a large photo would take longer than reading it.
    step = max(1, min(height, width) // 256)
    return np.asarray(cv2.resize(photo[::step, ::step], size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def find_cuts(thumbnails: Sequence[Thumbnail | None]) -> list[int]:
    """The frames, but for the first, that begin another shot.

    thumbnails: of each frame, of one size; None where a frame cannot be read, which says nothing about cuts. There is
    a cut where neither of the two frames before looks like either of the two after, so that a flash, or another single
    frame that does not belong there, is none.
    """
    kept = [(frame, image) for frame, image in enumerate(thumbnails) if image is not None]
    cuts = []
    for place in range(1, len(kept)):
        # The two that meet here come first: mostly they settle it.
        before, after = kept[max(place - 2, 0) : place][::-1], kept[place : place + 2]
        if not any(_alike(a, b) for _, a in before for _, b in after):
            cuts.append(kept[place][0])
    return cuts


def _alike(first: Thumbnail, second: Thumbnail) -> bool:
    flat = [float(image.std()) < _FLAT for image in (first, second)]
    if any(flat):
        return all(flat)
    down, across = (min(_REACH, side // 4) for side in first.shape[:2])
    shifts = product(range(-down, down + 1), range(-across, across + 1))
    # Small ones first: mostly a camera stands still.
    near = sorted(shifts, key=lambda shift: shift[0] ** 2 + shift[1] ** 2)
    return any(_correlation(first, second, y, x) > _ALIKE for y, x in near)


def _correlation(first: Thumbnail, second: Thumbnail, y: int, x: int) -> float:
    """The correlation coefficient of what two thumbnails have in common, the second shifted down and to the right."""
    height, width = first.shape[:2]
    here = first[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    there = second[max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)]
    a, b = (part - part.mean(axis=(0, 1)) for part in (here, there))
    power = float(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b)) / math.sqrt(power) if power > 0 else 0.0

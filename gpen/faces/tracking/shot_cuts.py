"""Shot cuts: between frames that show different pictures, allowing for motion and changes of brightness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.float32]
"""(h, w, 3), RGB, [0, 1], the longer side 32 pixels: small enough to keep for every frame of a long video."""

_SIDE = 32
_REACH = 5
"""Pixels of a thumbnail, a sixth of the picture: the furthest a camera may pan from one frame to the next."""
_ALIKE = 0.7
"""The least correlation of two thumbnails of one shot, at the best shift. Portraits of two people in the same framing
reach 0.5; a picture and itself reach 0.9 shifted by some pixels, and 0.73 enlarged by a tenth."""
_FLAT = 0.01
"""The largest standard deviation of a thumbnail that shows nothing, such as a black one."""


def thumbnail(photo: NDArray[np.float32]) -> Thumbnail:
    """The thumbnail of a frame (H, W, 3), RGB, [0, 1], for :func:`find_cuts`."""
    height, width = photo.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # A few hundred rows and columns suffice: averaging all pixels of a large frame would take longer than reading it.
    step = max(1, min(height, width) // 256)
    return np.asarray(cv2.resize(photo[::step, ::step], size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def find_cuts(thumbnails: Sequence[Thumbnail | None]) -> list[int]:
    """The numbers of the frames that begin a new shot; frame 0 is not listed.

    thumbnails: one per frame, all of the same size; None for an unreadable frame, which is passed over. There is a cut
    where neither of the two frames before resembles either of the two after, so a flash, or another single odd frame,
    is not a cut.
    """
    finder = CutFinder()
    for frame, image in enumerate(thumbnails):
        finder.add(frame, image)
    return finder.end()


class CutFinder:
    """Finds cuts as :func:`find_cuts` does, while the frames come in; holds the thumbnails of three frames.

    recent, cuts: where an earlier finder stopped.
    """

    def __init__(self, recent: Sequence[tuple[int, Thumbnail]] = (), cuts: Sequence[int] = ()) -> None:
        self.recent = list(recent)
        """The last frames that could be read, with their thumbnails, at most three."""
        self.cuts = list(cuts)
        """The cuts that are known so far."""

    def add(self, frame: int, image: Thumbnail | None) -> None:
        """Take the next frame. Whether it begins a shot is known once the one after it has come."""
        if image is None:
            return
        self.recent.append((frame, image))
        if len(self.recent) > 2:
            # Of four, two are before the frame in question, and two from it on.
            self._decide(len(self.recent) - 2)
        self.recent = self.recent[-3:]

    def end(self) -> list[int]:
        """All cuts, once there are no more frames."""
        if len(self.recent) > 1:
            self._decide(len(self.recent) - 1)
        return self.cuts

    def _decide(self, position: int) -> None:
        # The adjacent pair first: it mostly settles the question.
        before, after = self.recent[max(position - 2, 0) : position][::-1], self.recent[position : position + 2]
        if not any(_alike(a, b) for _, a in before for _, b in after):
            self.cuts.append(self.recent[position][0])


def _alike(first: Thumbnail, second: Thumbnail) -> bool:
    flat = [float(image.std()) < _FLAT for image in (first, second)]
    if any(flat):
        return all(flat)
    down, across = (min(_REACH, side // 4) for side in first.shape[:2])
    shifts = product(range(-down, down + 1), range(-across, across + 1))
    # Small shifts first: a camera mostly stands still.
    near = sorted(shifts, key=lambda shift: shift[0] ** 2 + shift[1] ** 2)
    return any(_correlation(first, second, y, x) > _ALIKE for y, x in near)


def _correlation(first: Thumbnail, second: Thumbnail, y: int, x: int) -> float:
    """The correlation coefficient of two thumbnails where they overlap, the second shifted by ``y`` and ``x``."""
    height, width = first.shape[:2]
    here = first[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    there = second[max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)]
    a, b = (part - part.mean(axis=(0, 1)) for part in (here, there))
    power = float(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b)) / math.sqrt(power) if power > 0 else 0.0

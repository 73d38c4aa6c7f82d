"""Multi-scale detection: a network for one range of face sizes finds faces of every size, in a photo of any size.

The whole photo is looked at only as finely as its smallest faces worth finding need. Where that shows something that
may be a small face, however unlikely, a square around it is looked at again in all detail. So the cost follows the
faces: most of a large photo's pixels are never given to the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .merging import BEST_WIDTH, merged, sane
from .network import Detections, DetectorNetwork, none_found
from .pyramid import Pyramid, enlarged
from .tiles import is_whole, tiles

LONGEST_SIDE = 3072
"""The longer side of the finest level that is looked at as a whole, in pixels. YuNet notices faces from about 12 pixels
on: those of 11 to 14 pixels in the shared photos score 0.5 to 0.9, those of 8 pixels nothing. So in a photo of 24
megapixels, which is halved, faces from about 24 pixels on are found."""
LEVEL_STEP = 2
"""The scale factor between one level of the pyramid and the next. Every face appears at several sizes: lying faces are
not found at each."""
SMALLEST_LEVEL = 400
"""The longer side of the last level is at most this many pixels."""
LARGEST_FACE = 224
"""Wider faces, in pixels, are left to the next level: blurred enlargements produce many false ones."""
SMALL_PHOTO = 768
"""Photos with a longer side of at most this many pixels are enlarged first."""
MEDIUM_PHOTO = 1228
"""Photos with a longer side of at most this many pixels are enlarged where small faces are suspected."""
ENLARGEMENT = 2
"""By how much."""
SMALL_FACE = BEST_WIDTH / 2
"""Faces narrower than this, in pixels of the finest level, are looked at in more detail: for better landmarks."""
UNCERTAIN_FACE = 24
"""The same for what does not reach the threshold: from about 20 pixels on, the networks are as certain of a face as
they will be. Wider candidates would only be a second chance for false ones."""
GRID = 32
"""Squares that are looked at in detail lie on a grid of so many pixels, the coarsest stride of the networks: they show
each face as it would be seen if the whole photo was looked at, while a shift would change its landmarks."""
LOOK = 160
"""Height and width of a square that is looked at in detail, in pixels."""
MOST_LOOKS = 256
"""How many such squares there are at most, those with the best scores first."""


@dataclass(frozen=True)
class Scales:
    """How closely a photo is looked at."""

    enlargement: int = 1
    """The factor by which all of it is enlarged first."""
    reduction: int = 1
    """The factor by which all of it is reduced instead. The smallest faces worth finding are about 12 times as many
    pixels wide."""
    detail: int = 0
    """How many times a square around what may be a small face is enlarged; 0 where there is no second look."""

    @classmethod
    def of(cls, width: int, height: int) -> Scales:
        """For a photo of that size."""
        longer = max(width, height)
        if longer <= SMALL_PHOTO:
            return cls(enlargement=ENLARGEMENT)
        if longer <= MEDIUM_PHOTO:
            return cls(detail=ENLARGEMENT)
        reduction = -(-longer // LONGEST_SIDE)
        return cls(reduction=reduction, detail=1 if reduction > 1 else 0)


@dataclass(frozen=True)
class _Seen:
    """Detections in pixels of the photo."""

    rows: Detections
    widths: NDArray[np.float64]
    """The width of each face in the picture that it was found in."""

    def scoring(self, threshold: float) -> _Seen:
        """Those with at least this score."""
        good = self.rows[:, 4] >= threshold
        return _Seen(self.rows[good], self.widths[good])


def find_at_every_size(network: DetectorNetwork, photos: Sequence[Pyramid], threshold: float) -> list[Detections]:
    """The faces of each photo, each once, best first, with boxes clipped to the photo.

    The levels of a pyramid, 1/2, 1/4, … of the finest one, down to SMALLEST_LEVEL pixels, reveal faces up to the
    whole picture. Levels larger than a tile are searched in overlapping tiles, so that no picture is larger than
    TILE × TILE pixels (a fifth more per side if the level just fits).
    """
    suspicion = min(network.suspicion, threshold) if any(photo.detail for photo in photos) else threshold
    return [
        _faces(network, photo, levels, threshold)
        for photo, levels in zip(photos, _on_levels(network, photos, suspicion), strict=True)
    ]


def _faces(network: DetectorNetwork, photo: Pyramid, levels: list[_Seen], threshold: float) -> Detections:
    """levels: what the levels show, the finest first, down to scores that a look in detail may raise."""
    detail = photo.detail
    seen = [part.scoring(threshold) for part in levels]
    if detail:
        seen.append(_in_detail(network, photo, _small(levels[0], photo, detail, threshold), detail, threshold))
    rows, widths = np.concatenate([part.rows for part in seen]), np.concatenate([part.widths for part in seen])
    good = sane(rows, photo.width, photo.height)
    rows, widths = rows[good], widths[good]
    rows[:, 0:4] = np.clip(rows[:, 0:4], 0, (photo.width, photo.height) * 2)
    return merged(rows, widths)


def _on_levels(network: DetectorNetwork, photos: Sequence[Pyramid], threshold: float) -> list[list[_Seen]]:
    """For each photo what its levels show, the finest first; all of them are searched together."""
    levels = [_levels(photo) for photo in photos]
    parts = [[tiles(level) for level in of_photo.values()] for of_photo in levels]
    shown = [tile for of_photo in parts for of_level in of_photo for tile in of_level.values()]
    found = iter(network.find(shown, threshold))
    return [
        [
            _on_level(level, factor, [(corner, tile, next(found)) for corner, tile in of_level.items()])
            for (factor, level), of_level in zip(of_photo.items(), divided, strict=True)
        ]
        for of_photo, divided in zip(levels, parts, strict=True)
    ]


def _levels(photo: Pyramid) -> dict[int, Tensor]:
    """The levels that are searched, by their factors, the finest first."""
    factors = [photo.reduction]
    while max(photo.level(factors[-1]).shape[:2]) > SMALLEST_LEVEL:
        factors.append(factors[-1] * LEVEL_STEP)
    return {factor: photo.level(factor) for factor in factors}


def _on_level(level: Tensor, factor: int, found: Iterable[tuple[tuple[int, int], Tensor, Detections]]) -> _Seen:
    """found: the corner of each tile, the tile, and what it shows."""
    kept, widths = [none_found()], [np.zeros(0)]
    for corner, tile, rows in found:
        rows = rows[is_whole(rows, corner, (tile.shape[1], tile.shape[0]), level)]
        if max(level.shape[:2]) > SMALLEST_LEVEL:
            rows = rows[np.maximum(rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]) <= LARGEST_FACE]
        widths.append(rows[:, 2] - rows[:, 0])
        kept.append(moved(rows, factor, np.array(corner) * factor))
    return _Seen(np.concatenate(kept), np.concatenate(widths))


def _small(finest: _Seen, photo: Pyramid, detail: int, threshold: float) -> Detections:
    """The detections that a detailed look would show better, best first."""
    widths = finest.rows[:, 2] - finest.rows[:, 0]
    narrow = np.where(finest.rows[:, 4] >= threshold, SMALL_FACE, UNCERTAIN_FACE)
    is_small = (finest.widths < narrow) & (widths * detail <= LOOK / 2)
    rows = finest.rows[is_small & sane(finest.rows, photo.width, photo.height)]
    return rows[np.argsort(-rows[:, 4], kind="stable")]


def _in_detail(network: DetectorNetwork, photo: Pyramid, small: Detections, detail: int, threshold: float) -> _Seen:
    """What squares around small faces show, as few as hold each whole and with its surroundings."""
    side, grid = LOOK // detail, GRID // detail
    corners: list[NDArray[np.float64]] = []
    for row in small:
        margin = (row[2:4] - row[0:2]) / 2
        low, high = row[0:2] - margin, row[2:4] + margin
        shown = any(np.all(low >= corner) and np.all(high <= corner + side) for corner in corners)
        if not shown and len(corners) < MOST_LOOKS:
            corners.append(np.round(((row[0:2] + row[2:4]) / 2 - side / 2) / grid) * grid)
    if not corners:
        return _Seen(none_found(), np.zeros(0))
    pictures = photo.parts([np.column_stack([np.eye(2), corner]) for corner in corners], side, "zeros")
    found, widths = [], []
    for corner, rows in zip(corners, network.find(list(enlarged(pictures, detail)), threshold), strict=True):
        whole = np.all((rows[:, 0:2] >= 2) & (rows[:, 2:4] <= LOOK - 2), axis=1)
        widths.append((rows[:, 2] - rows[:, 0])[whole])
        found.append(moved(rows[whole], 1 / detail, corner))
    return _Seen(np.concatenate(found), np.concatenate(widths))


def moved(rows: Detections, scale: float, shift: NDArray[np.float64]) -> Detections:
    """Detections with every coordinate scaled, then moved by (x, y)."""
    points = np.delete(rows, 4, axis=1).reshape(-1, 7, 2) * scale + shift
    return np.insert(points.reshape(-1, 14), 4, rows[:, 4], axis=1)

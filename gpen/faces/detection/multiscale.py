"""A detector that knows one range of face sizes, made to see faces of every size in a photo of any size.

Inside this module and :mod:`turns`, coordinates are those of the pixel grid's edges: 0 is the left edge of
the first pixel, so scaling is multiplication. That is also what the detectors return: mirrored pictures
give mirrored faces with this convention, and faces half a pixel off with pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Rows = NDArray[np.float64]
"""(n, 15): x0, y0, x1, y1, score, then five landmarks x, y; one face per row."""
Finder = Callable[[Image, float], Rows]
"""Finds faces scoring at least a threshold in a BGR picture (H, W, 3), at its own scale."""

COLUMNS = 15
LEVEL_STEP = 4
SMALLEST_LEVEL = 400
SMALL_PHOTO = 1536
TILE = 1280
OVERLAP = 256
# Both detectors score and place faces best when they are 40 to 160 pixels wide; LEVEL_STEP makes sure
# that every face is seen at such a size, if the photo has that many pixels of it.
BEST_WIDTH = 80.0
# Larger faces are left to the next level, which sees them well: blurred enlargements are full of them.
LARGEST_FACE = 224


def find_at_every_size(finder: Finder, image: Image, threshold: float) -> Rows:
    """Return the faces of a picture, each once, best first, with boxes cut off at the picture's border.

    Levels at full size, 1/4, 1/16, … down to one of at most SMALLEST_LEVEL pixels see faces from about
    25 pixels up to the whole picture; a small picture is enlarged first, up to twice, for faces from about
    15. Levels larger than TILE are searched in overlapping tiles, so no
    call of the finder sees more than TILE × TILE pixels (a fifth more per side where a level just fits).
    """
    found, widths = [np.zeros((0, COLUMNS))], [np.zeros(0)]
    for level in _levels(image):
        scale = np.array([level.shape[1] / image.shape[1], level.shape[0] / image.shape[0]])
        for x, y, tile in _tiles(level):
            rows = finder(tile, threshold)
            rows = rows[_whole(rows, x, y, tile, level)]
            if max(level.shape[:2]) > SMALLEST_LEVEL:
                rows = rows[np.maximum(rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]) <= LARGEST_FACE]
            widths.append(rows[:, 2] - rows[:, 0])
            points = (np.delete(rows, 4, axis=1).reshape(-1, 7, 2) + np.array([x, y])) / scale
            found.append(np.insert(points.reshape(-1, 14), 4, rows[:, 4], axis=1))
    rows, widths_seen = np.concatenate(found), np.concatenate(widths)
    sane = _sane(rows, image)
    rows, widths_seen = rows[sane], widths_seen[sane]
    rows[:, 0:4] = np.clip(rows[:, 0:4], 0, np.tile(np.array(image.shape[1::-1]), 2))
    return _merged(rows, widths_seen)


def _levels(image: Image) -> Iterator[Image]:
    level = image
    enlarge = min(2.0, SMALL_PHOTO / max(image.shape[:2]))
    if enlarge > 1.25:
        width, height = (round(n * enlarge) for n in image.shape[1::-1])
        level = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
    yield level
    while max(level.shape[:2]) > SMALLEST_LEVEL:
        width, height = (max(1, round(n / LEVEL_STEP)) for n in level.shape[1::-1])
        level = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        yield level


def _tiles(level: Image) -> Iterator[tuple[int, int, Image]]:
    height, width = level.shape[:2]
    for y, tall in _spans(height):
        for x, wide in _spans(width):
            yield x, y, np.ascontiguousarray(level[y : y + tall, x : x + wide])


def _spans(length: int) -> list[tuple[int, int]]:
    """Return (start, length) of equal spans that overlap by at least OVERLAP and cover ``length``."""
    if length <= TILE * 1.2:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [(round(i * (length - TILE) / (count - 1)), TILE) for i in range(count)]


def _whole(rows: Rows, x: int, y: int, tile: Image, level: Image) -> NDArray[np.bool_]:
    """Say which faces are not cut by a border that the tile has and the level has not.

    Nothing is lost: a face smaller than OVERLAP lies whole in a neighbouring tile, a larger one is seen
    whole on a coarser level.
    """
    near = 2.0
    tall, wide = tile.shape[:2]
    whole: NDArray[np.bool_] = np.ones(len(rows), bool)
    if x > 0:
        whole &= rows[:, 0] >= near
    if y > 0:
        whole &= rows[:, 1] >= near
    if x + wide < level.shape[1]:
        whole &= rows[:, 2] <= wide - near
    if y + tall < level.shape[0]:
        whole &= rows[:, 3] <= tall - near
    return whole


def _sane(rows: Rows, image: Image) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    rows = np.where(finite[:, None], rows, 0.0)
    width, height = rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]
    middle_x, middle_y = (rows[:, 0] + rows[:, 2]) / 2, (rows[:, 1] + rows[:, 3]) / 2
    points = rows[:, 5:].reshape(-1, 5, 2)
    # Landmarks that are no face: all in one place, or somewhere else than the box.
    spread = np.ptp(points, axis=1).max(axis=1) if len(points) else np.zeros(0)
    off = np.abs(points.mean(axis=1) - np.stack([middle_x, middle_y], axis=1)) if len(points) else points[:, 0]
    return np.asarray(
        finite
        & (width >= 2)
        & (height >= 2)
        & (middle_x > 0)
        & (middle_y > 0)
        & (middle_x < image.shape[1])
        & (middle_y < image.shape[0])
        & (spread > 0.1 * np.minimum(width, height))
        & (off[:, 0] < width)
        & (off[:, 1] < height)
    )


def _merged(rows: Rows, widths_seen: NDArray[np.float64]) -> Rows:
    """Return each face once: the one of several finds that scores best and was seen at the best size."""
    quality = rows[:, 4] - 0.05 * np.abs(np.log2(np.maximum(widths_seen, 1e-3) / BEST_WIDTH))
    kept: list[int] = []
    for i in np.lexsort((rows[:, 1], rows[:, 0], -quality)):
        if not any(_same_face(rows[i], rows[k]) for k in kept):
            kept.append(int(i))
    nested = {i for i in kept for k in kept if _feature_of(rows[i], rows[k])}
    return rows[[i for i in kept if i not in nested]]


def _areas(a: Rows, b: Rows) -> tuple[float, float, float]:
    sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[0:2], b[0:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common, float(np.prod(a[2:4] - a[0:2])), float(np.prod(b[2:4] - b[0:2]))


def _same_face(a: Rows, b: Rows) -> bool:
    common, of_a, of_b = _areas(a, b)
    smaller, larger = sorted((of_a, of_b))
    return common > 0.4 * (of_a + of_b - common) or (common > 0.6 * smaller and larger < 3 * smaller)


def _feature_of(a: Rows, b: Rows) -> bool:
    """Whether a is a much smaller find inside the surer find b: an eye or a nostril taken for a face."""
    common, of_a, of_b = _areas(a, b)
    return of_b >= 3 * of_a and common > 0.8 * of_a and a[4] < b[4]

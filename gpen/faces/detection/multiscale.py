"""Multi-scale detection: a network for one range of face sizes finds faces of every size, in a photo of any size.

In this module and :mod:`.rotation`, coordinates refer to pixel edges: 0 is the left edge of the first pixel, so scaling
is multiplication. The networks use the same convention: with it mirrored pictures give mirrored faces, while pixel
centres at integers would put them half a pixel off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3), BGR, 0 to 255."""
Detections = NDArray[np.float64]
"""(n, 15), one face per row: x0, y0, x1, y1, score, then x, y of the five landmarks."""
Finder = Callable[[Image, float], Detections]
"""Finds the faces in a picture that score at least a threshold, at the picture's own scale."""

COLUMNS = 15
"""Of :data:`Detections`."""
LEVEL_STEP = 4
"""The scale factor between one level of the pyramid and the next."""
SMALLEST_LEVEL = 400
"""The longer side of the last level is at most this many pixels."""
SMALL_PHOTO = 1536
"""Photos with a longer side below this many pixels are enlarged first."""
TILE = 1280
"""Height and width of a tile, in pixels."""
OVERLAP = 256
"""How many pixels neighbouring tiles share at least."""
BEST_WIDTH = 80.0
"""The face width that the networks handle best, in pixels: 40 to 160 give the best scores and boxes. With LEVEL_STEP,
every face appears at such a size on some level, if the photo holds that many pixels of it."""
LARGEST_FACE = 224
"""Wider faces, in pixels, are left to the next level: blurred enlargements produce many false ones."""


def find_at_every_size(finder: Finder, image: Image, threshold: float) -> Detections:
    """The faces of a picture, each once, best first, with boxes clipped to the picture.

    The levels of a pyramid, at full size, 1/4, 1/16, … down to SMALLEST_LEVEL pixels, reveal faces from about 25 pixels
    up to the whole picture; small pictures are enlarged first, up to twice, for faces from about 15 pixels. Levels
    larger than TILE are searched in overlapping tiles, so the finder never sees more than TILE × TILE pixels (a fifth
    more per side if the level just fits).
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
    for y, tall in spans(height):
        for x, wide in spans(width):
            yield x, y, np.ascontiguousarray(level[y : y + tall, x : x + wide])


def spans(length: int) -> list[tuple[int, int]]:
    """(start, length) of equal spans that cover ``length`` and overlap by at least OVERLAP."""
    if length <= TILE * 1.2:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [(round(i * (length - TILE) / (count - 1)), TILE) for i in range(count)]


def _whole(rows: Detections, x: int, y: int, tile: Image, level: Image) -> NDArray[np.bool_]:
    """Which faces are not cut off by a tile border inside the level.

    Nothing is lost: a face smaller than OVERLAP lies whole in a neighbouring tile, a larger one on a coarser level.
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


def _sane(rows: Detections, image: Image) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    rows = np.where(finite[:, None], rows, 0.0)
    width, height = rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]
    middle_x, middle_y = (rows[:, 0] + rows[:, 2]) / 2, (rows[:, 1] + rows[:, 3]) / 2
    points = rows[:, 5:].reshape(-1, 5, 2)
    # The landmarks of false detections: all at one point, or outside the box.
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


def _merged(rows: Detections, widths_seen: NDArray[np.float64]) -> Detections:
    """Each face once: of several detections, the one with the best score at the best size."""
    quality = rows[:, 4] - 0.05 * np.abs(np.log2(np.maximum(widths_seen, 1e-3) / BEST_WIDTH))
    kept: list[int] = []
    for i in np.lexsort((rows[:, 1], rows[:, 0], -quality)):
        if not any(_same_face(rows[i], rows[k]) for k in kept):
            kept.append(int(i))
    nested = {i for i in kept for k in kept if _feature_of(rows[i], rows[k])}
    return rows[[i for i in kept if i not in nested]]


def _areas(a: Detections, b: Detections) -> tuple[float, float, float]:
    sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[0:2], b[0:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common, float(np.prod(a[2:4] - a[0:2])), float(np.prod(b[2:4] - b[0:2]))


def _same_face(a: Detections, b: Detections) -> bool:
    common, of_a, of_b = _areas(a, b)
    smaller, larger = sorted((of_a, of_b))
    return common > 0.4 * (of_a + of_b - common) or (common > 0.6 * smaller and larger < 3 * smaller)


def _feature_of(a: Detections, b: Detections) -> bool:
    """Whether a is much smaller than b, inside it, and less certain: an eye or a nostril taken for a face."""
    common, of_a, of_b = _areas(a, b)
    return of_b >= 3 * of_a and common > 0.8 * of_a and a[4] < b[4]

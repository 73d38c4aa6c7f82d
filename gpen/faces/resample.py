"""Resampling by a similarity, to a crop and back, without aliasing.

There are two steps. A low-pass filter (a sinc under a Kaiser window) removes the frequencies that the coarser of source
and result cannot hold, and outputs two samples per pixel of the coarser grid. At that density, the second step, Lanczos
interpolation over 8 x 8 samples, is nearly exact. At eight samples per pixel, linear interpolation is nearly exact too:
more samples, but less work per pixel of the result, which is faster for strong enlargements. The samples are kept in
memory, so this path is taken only if they are not many more than the result's pixels.

The constants lose the least of a real photo on its way to a crop and back, among those that keep stripes just too fine
for the result under 16/255 (tests/faces/test_resample.py holds both bounds). A face larger than its crop comes back as
the photo low-passed to the crop's resolution, to within 6/255; the sharpest faces, whose detail lies right at that
limit, to within 9/255 (tests/restoration/test_photos.py).
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.picture import FloatImage

Matrix = NDArray[np.float64]
"""2 x 3: maps pixels of one picture to pixels of another; pixel centres lie at integer coordinates."""

CUTOFF = 0.49
"""The cutoff frequency of the low-pass, in cycles per pixel of the coarser grid; the Nyquist limit is 0.5."""
HALF_WIDTH = 8.0
"""The low-pass kernel's reach to either side, in pixels of the coarser grid."""
KAISER_BETA = 5.0
"""The shape of the kernel's window."""
OVERSAMPLING = 2.0
"""Samples per pixel of the coarser grid, for Lanczos interpolation."""
INTERPOLATION_REACH = 4
"""The samples that OpenCV's Lanczos interpolation reads to either side."""
LINEAR_OVERSAMPLING = 8.0
"""Samples per pixel of the coarser grid, for linear interpolation."""
LINEAR_SAMPLES = 3.0
"""The most samples per pixel of the result for linear interpolation. It is used from about five times the size for an
upright source, from seven times for one rotated by 45 degrees; memory stays a few times the result's."""

_KERNEL_POINTS = 1 << 14


def warp(
    image: FloatImage, matrix: Matrix, size: tuple[int, int], *, border: int = cv2.BORDER_REFLECT_101
) -> FloatImage:
    """Resample ``image`` (H, W) or (H, W, C) by ``matrix`` to ``size`` (width, height).

    matrix: 2 x 3, a similarity that maps pixels of ``image`` to pixels of the result. border: OpenCV's constant for
    extrapolation beyond ``image``. Values may overshoot slightly at sharp edges. The cost depends on ``size`` and the
    part of ``image`` that it covers, not on the rest of ``image``.
    """
    coarse = max(1.0, _shrinking(matrix))
    reach = math.ceil(HALF_WIDTH * coarse)
    margin = reach + math.ceil(INTERPOLATION_REACH / OVERSAMPLING * coarse) + 1
    image, matrix = _needed_part(image, matrix, size, margin, border)
    samples = math.prod(length - 2 * reach for length in image.shape[:2]) * LINEAR_OVERSAMPLING**2
    linear = samples <= LINEAR_SAMPLES * math.prod(size)
    step = coarse / (LINEAR_OVERSAMPLING if linear else OVERSAMPLING)
    interpolation = cv2.INTER_LINEAR if linear else cv2.INTER_LANCZOS4
    columns = np.asarray(cv2.transpose(_low_pass(image, coarse, step)), dtype=np.float32)
    image = _low_pass(columns, coarse, step)
    # Transposing the many samples back would cost more than swapping the axes in the matrix.
    matrix = compose(compose(matrix, np.array([[1, 0, reach], [0, 1, reach]], float)), scaling(step))[:, [1, 0, 2]]
    out = cv2.warpAffine(image, matrix, size, flags=interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, dtype=np.float32)


def warp_mask(mask: FloatImage, matrix: Matrix, size: tuple[int, int]) -> FloatImage:
    """Resample a soft mask (H, W) like :func:`warp`, but with zeros beyond it, and without overshoot."""
    shrink = _shrinking(matrix)
    if shrink > OVERSAMPLING:
        height, width = mask.shape
        small = (max(1, round(width * OVERSAMPLING / shrink)), max(1, round(height * OVERSAMPLING / shrink)))
        mask = np.asarray(cv2.resize(mask, small, interpolation=cv2.INTER_AREA), dtype=np.float32)
        matrix = compose(matrix, scaling(width / small[0], height / small[1]))
    out = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(out, dtype=np.float32)


def scaling(x: float, y: float | None = None) -> Matrix:
    """The 2 x 3 matrix that maps pixels of a picture to pixels of the picture resized by ``x`` and ``y``.

    y: the same as ``x`` if None. Resizing by s moves pixel p to (p + 1/2) s - 1/2, as pixel centres lie at integers.
    """
    y = x if y is None else y
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def compose(second: Matrix, first: Matrix) -> Matrix:
    """The 2 x 3 matrix that applies ``first`` and then ``second``."""
    return np.asarray(second @ np.vstack([first, [0, 0, 1]]))


def invert(matrix: Matrix) -> Matrix:
    """The inverse of a 2 x 3 matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -linear @ matrix[:, 2:]])


def apply(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map points (N, 2) by a 2 x 3 matrix."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def _shrinking(matrix: Matrix) -> float:
    """Pixels of the source per pixel of the result, along one axis."""
    return 1 / math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def _needed_part(
    image: FloatImage, matrix: Matrix, size: tuple[int, int], margin: int, border: int
) -> tuple[FloatImage, Matrix]:
    """The rows and columns that the result depends on, extrapolated beyond ``image``, and the matrix for them."""
    right, bottom = size[0] - 1, size[1] - 1
    corners = apply(invert(matrix), np.array([[0, 0], [right, 0], [0, bottom], [right, bottom]], float))
    parts: list[slice] = []
    pads: list[int] = []
    offsets: list[int] = []
    for axis, length in ((1, image.shape[0]), (0, image.shape[1])):
        first = math.floor(corners[:, axis].min()) - margin
        last = math.ceil(corners[:, axis].max()) + margin
        # Pixels that far outside are reflections of pixels that far inside.
        start = min(max(min(first, 2 * (length - 1) - last), 0), length - 1)
        stop = max(min(max(last, -first) + 1, length), 1)
        before, after = max(0, start - first), max(0, last + 1 - stop)
        parts.append(slice(start, stop))
        pads += [before, after]
        offsets.append(start - before)
    part = image[parts[0], parts[1]]
    part = (
        np.asarray(cv2.copyMakeBorder(part, pads[0], pads[1], pads[2], pads[3], border))
        if any(pads)
        else np.ascontiguousarray(part)
    )
    return part, compose(matrix, np.array([[1, 0, offsets[1]], [0, 1, offsets[0]]], float))


def _low_pass(image: FloatImage, coarse: float, step: float) -> FloatImage:
    """Filter along the first axis and sample every ``step`` pixels, wherever the whole kernel fits into ``image``.

    The first sample lies (step - 1) / 2 pixels after the first pixel where it fits.
    """
    reach = math.ceil(HALF_WIDTH * coarse)
    rows = image.reshape(len(image), -1)
    count = math.ceil((len(rows) - 2 * reach) / step)
    centers = reach + (np.arange(count) + 0.5) * step - 0.5
    out = np.empty((count, rows.shape[1]), np.float32)
    together = round(2 * reach / step)  # so that about half of each block's weights are non-zero
    for start in range(0, count, together):
        block = centers[start : start + together]
        first = max(0, math.floor(block[0]) - reach)
        last = min(len(rows), math.ceil(block[-1]) + reach + 1)
        weights = _kernel((np.arange(first, last) - block[:, None]) / coarse)
        weights /= weights.sum(axis=1, keepdims=True)
        np.matmul(weights.astype(np.float32), rows[first:last], out=out[start : start + len(block)])
    return out.reshape(count, *image.shape[1:])


def _kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The windowed sinc, at ``x`` pixels of the coarser grid from its centre."""
    values, slopes = _kernel_table()
    position = np.abs(x) * (_KERNEL_POINTS / HALF_WIDTH)
    np.minimum(position, _KERNEL_POINTS, out=position)
    before = position.astype(np.intp)
    position -= before
    return np.asarray(values[before] + position * slopes[before])


@functools.cache
def _kernel_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One side of the kernel, and the differences between its values: fine enough for linear interpolation."""
    x = np.linspace(0, HALF_WIDTH, _KERNEL_POINTS + 1)
    window = np.i0(KAISER_BETA * np.sqrt(1 - (x / HALF_WIDTH) ** 2))
    window[-1] = 0  # and beyond
    values = np.sinc(2 * CUTOFF * x) * window
    return values, np.diff(values, append=0)

"""A photo at several sizes, upright or rotated, on its own device.

Coordinates refer to pixel edges: 0 is the left edge of the first pixel, so that scaling is multiplication.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...images.tensors import as_array, on_cpu
from ...images.uploads import uploaded
from ..workers import in_one_thread, in_threads

Affine = NDArray[np.float64]
"""2 x 3: maps coordinates of pixel edges."""

_BLOCK_ON_CPU = 1 << 17
"""Pixels that are worked on at a time on a CPU, so that intermediate results stay in the caches."""
_Result = TypeVar("_Result")
_SHARPNESS = 1.5
"""How many pixels of a sample may fall on one pixel of the level it is taken from."""


class Pyramid:
    """A photo and reductions of it by whole factors, each made when it is first asked for.

    photo: float32 (H, W, 3), RGB, [0, 1]; NaN counts as 0, values out of range are clipped. reduction: the factor of
    the finest level; only single parts are looked at in more detail, if at all. detail: how many times those are
    enlarged; 0 for none.
    """

    def __init__(self, photo: Tensor, reduction: int = 1, detail: int = 0) -> None:
        self._photo = photo
        self._to_photo = _identity()
        self._levels = {reduction: reduced(photo, reduction)}
        self.reduction = reduction
        """The factor of the finest level."""
        self.detail = detail
        """How many times parts are enlarged that are looked at in more detail; 0 for none."""
        self.width = photo.shape[1]
        """In pixels of the photo, as seen in this orientation."""
        self.height = photo.shape[0]
        """Likewise."""

    def level(self, factor: int) -> Tensor:
        """The photo reduced by ``factor``, a multiple of ``reduction``: the mean of each square of so many pixels.

        What is left over at the right and at the bottom is cut off.
        """
        if factor not in self._levels:
            finer = max(known for known in self._levels if factor % known == 0)
            self._levels[factor] = reduced(self._levels[finer], factor // finer)
        return self._levels[factor]

    def parts(self, to_photo: Sequence[Affine], side: int, beyond: str) -> Tensor:
        """Squares (n, side, side, 3) out of the photo.

        to_photo: for each, the matrix from coordinates of the square to those of the photo, a similarity. beyond: as
        for :func:`sampled`.
        """
        by_factor: dict[int, list[int]] = {}
        for number, matrix in enumerate(to_photo):
            by_factor.setdefault(self._factor(scale_of(matrix)), []).append(number)
        found: dict[int, Tensor] = {}
        for factor, numbers in by_factor.items():
            if factor < self.reduction:
                matrices = [_after(self._to_photo, to_photo[number]) for number in numbers]
                source = self._photo
            else:
                source = self.level(factor)
                matrices = [to_photo[number] / factor for number in numbers]
            squares = sampled(source, matrices, (side, side), beyond)
            if len(by_factor) == 1:
                return squares
            found.update(zip(numbers, squares, strict=True))
        return torch.stack([found[number] for number in range(len(found))])

    def from_level(self, factor: int) -> Pyramid:
        """The same photo, of which nothing finer than :meth:`level` ``factor`` is searched, nor anything in detail."""
        other = object.__new__(Pyramid)
        other._photo, other._to_photo = self._photo, self._to_photo
        other._levels, other.reduction, other.detail = {factor: self.level(factor)}, factor, 0
        other.width, other.height = self.width, self.height
        return other

    def rotated(self, degrees: int) -> tuple[Pyramid, Affine]:
        """The photo rotated to the left, uncropped, and the matrix from its coordinates to those of this one.

        For multiples of 90 degrees every pixel keeps its value; otherwise the corners are black.
        """
        finest, factor = self._levels[self.reduction], self.reduction
        height, width = finest.shape[:2]
        cos, sin = np.round(np.cos(np.radians(degrees)), 12), np.round(np.sin(np.radians(degrees)), 12)
        wide = round(abs(cos) * width + abs(sin) * height)
        tall = round(abs(sin) * width + abs(cos) * height)
        turn = np.array([[cos, -sin], [sin, cos]])
        back = np.column_stack([turn, (width / 2, height / 2) - turn @ (wide / 2, tall / 2)])
        if degrees % 90 == 0:
            turned = torch.rot90(finest, degrees // 90).contiguous()
        else:
            turned = sampled(finest, [back], (wide, tall), "zeros")[0]
        back[:, 2] *= factor
        other = object.__new__(Pyramid)
        other._photo, other._to_photo = self._photo, _after(self._to_photo, back)
        other._levels, other.reduction, other.detail = {factor: turned}, factor, self.detail
        other.width, other.height = wide * factor, tall * factor
        return other, back

    def _factor(self, scale: float) -> int:
        """The coarsest level that is sharp enough for a sample of every ``scale``-th pixel; 1 for the photo itself."""
        factor = self.reduction if self.reduction <= scale * _SHARPNESS else 1
        while 2 * factor <= scale * _SHARPNESS and factor >= self.reduction:
            factor *= 2
        return factor


def reduced(image: Tensor, factor: int) -> Tensor:
    """The mean of each square of ``factor`` pixels of an image (H, W, 3), as OpenCV's INTER_AREA, clipped to [0, 1].

    Along a side with fewer pixels, the mean of all of them. On a CPU the image itself where it stays as it is: not to
    be written to.
    """
    down, across = min(factor, image.shape[0]), min(factor, image.shape[1])
    height, width = image.shape[0] // down, image.shape[1] // across
    image = image[: height * down, : width * across]
    if down == across == 1 and on_cpu(image) and image.is_contiguous() and _is_clean(image):
        return image
    out = image.new_empty(height, width, 3)

    def reduce(rows: slice) -> None:
        block = image[rows.start * down : rows.stop * down]
        if on_cpu(block):
            cv2.resize(as_array(block), (width, len(out[rows])), dst=as_array(out[rows]), interpolation=cv2.INTER_AREA)
        else:
            out[rows] = block.reshape(-1, down, width, across, 3).mean(dim=(1, 3))
        _clean_(out[rows])

    _in_strips(reduce, height, width * across * down, image.device)
    return out


def sampled(image: Tensor, to_image: Sequence[Affine], size: tuple[int, int], beyond: str) -> Tensor:
    """Pictures (n, height, width, 3) out of an image (H, W, 3), by bilinear interpolation, clipped to [0, 1].

    to_image: for each, the matrix from its coordinates to those of the image. size: (width, height). beyond: what lies
    outside the image, "border" for its outermost pixels, "zeros" for black.
    """
    width, height = size
    device = image.device
    # grid_sample counts from -1 to 1 between the edges of the image.
    spans = np.array([[2 / image.shape[1]], [2 / image.shape[0]]])
    matrices = np.stack([matrix * spans for matrix in to_image]) - [[0, 0, 1], [0, 0, 1]]
    affine = uploaded(matrices.astype(np.float32), device)[..., None]
    x = torch.arange(0.5, width, device=device, dtype=torch.float32)
    y = torch.arange(0.5, height, device=device, dtype=torch.float32)
    along_x, along_y = affine[:, :, 0] * x, affine[:, :, 1] * y + affine[:, :, 2]
    out = image.new_empty(len(matrices), height, width, 3)

    def sample(rows: slice) -> None:
        grid = image.new_empty(len(matrices), rows.stop - rows.start, width, 2)
        for i in (0, 1):
            torch.add(along_x[:, i, None, :], along_y[:, i, rows, None], out=grid[..., i])
        found = F.grid_sample(
            image.permute(2, 0, 1)[None],
            grid.reshape(1, -1, width, 2),  # one tall picture, so that the image is not repeated
            padding_mode=beyond,
            align_corners=False,
        )
        out[:, rows] = _clean_(found)[0].permute(1, 2, 0).view(len(out), -1, width, 3)

    _in_strips(sample, height, len(matrices) * width, device)
    return out


def enlarged(pictures: Tensor, factor: int) -> Tensor:
    """Pictures (n, H, W, 3) enlarged by bicubic interpolation, as OpenCV's INTER_CUBIC, clipped to [0, 1]."""
    if factor == 1:
        return pictures

    def enlarge() -> Tensor:
        larger = F.interpolate(pictures.permute(0, 3, 1, 2), scale_factor=float(factor), mode="bicubic")
        return larger.permute(0, 2, 3, 1).clamp_(0, 1)

    return in_one_thread(pictures.device, enlarge)


def scale_of(matrix: Affine) -> float:
    """How much a similarity enlarges."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def _in_strips(work: Callable[[slice], _Result], height: int, row_pixels: int, device: torch.device) -> list[_Result]:
    """Call ``work`` with the rows of a picture: on a CPU with some at a time, in several threads.

    row_pixels: the pixels that a row depends on. Returns what ``work`` returns.
    """
    step = max(1, _BLOCK_ON_CPU // row_pixels) if device.type == "cpu" else height
    return in_threads(device, work, [slice(start, min(start + step, height)) for start in range(0, height, step)])


def _is_clean(image: Tensor) -> bool:
    """Whether :func:`_clean_` would change nothing."""

    def look(rows: slice) -> bool:
        low, high = image[rows].aminmax()  # NaN if there is one
        return bool(low >= 0) and bool(high <= 1)

    height, width = image.shape[:2]
    return all(_in_strips(look, height, width, image.device))


def _clean_(pixels: Tensor) -> Tensor:
    return pixels.nan_to_num_(0.0, 1.0, 0.0).clamp_(0, 1)


def _identity() -> Affine:
    return np.eye(2, 3)


def _after(second: Affine, first: Affine) -> Affine:
    return np.asarray(second @ np.vstack([first, [0, 0, 1]]))

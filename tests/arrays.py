"""The functions on tensors called with NumPy arrays, as tests make them, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gpen.faces import align, color, paste
from gpen.faces.resampling import resample
from gpen.faces.resampling.transforms import Matrix
from gpen.images.picture import FloatImage
from gpen.images.tensors import DevicePhoto, as_array, as_tensor

CPU = torch.device("cpu")


def warp(image: FloatImage, matrix: Matrix, size: tuple[int, int]) -> FloatImage:
    return as_array(resample.warp(as_tensor(image), matrix, size))


def warp_mask(mask: FloatImage, matrix: Matrix, size: tuple[int, int]) -> FloatImage:
    return as_array(resample.warp_mask(as_tensor(mask), matrix, size))


def crop_face(photo: FloatImage, matrix: Matrix, size: int) -> FloatImage:
    return as_array(align.crop_face(DevicePhoto(photo, CPU), matrix, size))


def match_colors(method: str, restored: FloatImage, original: FloatImage, mask: FloatImage) -> FloatImage:
    return as_array(color.match_colors(method, as_tensor(restored), as_tensor(original), as_tensor(mask)))


class Canvas(paste.Canvas):
    def __init__(self, photo: FloatImage, **more: Any) -> None:
        super().__init__(DevicePhoto(photo, CPU), **more)

    def add(self, crop: Any, matrix: Matrix, mask: Any, *more: Any) -> None:
        super().add(_tensor(crop), matrix, _tensor(mask), *more)


def _tensor(picture: FloatImage | Tensor | None) -> Tensor | None:
    return picture if picture is None or isinstance(picture, Tensor) else as_tensor(picture)

"""Pictures as tensors, and a photo of which parts are needed on another device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import PhotoError
from .picture import BT601_LUMA, FloatImage
from .staging import to_device

_SAMPLES = 1 << 21
"""Of a picture that is not contiguous, looked at in one piece: PyTorch copies them."""


def as_tensor(picture: FloatImage) -> Tensor:
    """A tensor on the CPU that shares the picture's memory where it :func:`can_share`, else a copy.

    If the picture is read-only, do not write to it.
    """
    if not can_share(picture):
        picture = np.ascontiguousarray(picture)
    if not picture.flags.writeable:
        # PyTorch has no read-only tensors, and warns about each.
        picture = np.asarray(_Writable(picture))
    return torch.from_numpy(picture)


def can_share(picture: FloatImage) -> bool:
    """Whether a tensor can have the strides of a picture: not if it is flipped, or a field of a structured array."""
    return all(stride >= 0 and stride % picture.itemsize == 0 for stride in picture.strides)


def as_array(picture: Tensor) -> FloatImage:
    """The picture in host memory; shares memory with a tensor on the CPU."""
    return np.asarray(picture.detach().cpu().numpy(), dtype=np.float32)


def check_picture(picture: FloatImage, what: str) -> None:
    """Raise PhotoError unless ``picture`` is an array, float32 (H, W, 3), with values from about 0 to 1.

    what: names it in the error.
    """
    if not isinstance(picture, np.ndarray):
        raise PhotoError(
            f"The {what} is of the type {type(picture).__name__}; it has to be a NumPy array, float32 (H, W, 3), RGB, "
            "0 to 1."
        )
    if picture.dtype != np.float32 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise PhotoError(
            f"The {what} is {picture.dtype} of the shape {picture.shape}; it has to be float32 (H, W, 3), RGB, 0 to 1."
        )
    rows = picture.shape[0] if picture.flags.c_contiguous else max(1, _SAMPLES // (3 * picture.shape[1]))
    parts = (as_tensor(picture[start : start + rows]) for start in range(0, picture.shape[0], rows))
    low, high = (float(value) for value in torch.stack([torch.stack(part.aminmax()) for part in parts]).aminmax())
    # Resizing overshoots 0 and 1 a little; 0 to 255, or NaN, is a mistake.
    if not (low >= -1 and high <= 2):
        raise PhotoError(f"The {what}'s values go from {low:g} to {high:g}; they have to lie between 0 and 1.")


def on_cpu(picture: Tensor) -> bool:
    """Whether OpenCV, and threads of our own, can work on the picture."""
    return picture.device.type == "cpu"


def luma(picture: Tensor) -> Tensor:
    """The luma Y of pictures (..., 3) after ITU-R BT.601: (...)."""
    red, green, blue = (float(weight) for weight in BT601_LUMA)
    # Not a matrix product, which a host may have made less exact.
    return red * picture[..., 0] + green * picture[..., 1] + blue * picture[..., 2]


class _Writable:
    """The same memory, described as writable."""

    def __init__(self, picture: FloatImage) -> None:
        self._picture = picture  # keeps the memory alive
        described: dict[str, Any] = dict(picture.__array_interface__)
        address, _ = described["data"]
        self.__array_interface__ = described | {"data": (address, False)}


class DevicePhoto:
    """A photo in host memory, float32 (H, W, 3) or (H, W), of which parts are needed on a device.

    On the CPU every part is a view.
    """

    def __init__(self, photo: FloatImage, device: torch.device) -> None:
        self.array = photo
        """The photo in host memory."""
        self.device = device
        """Where its parts are needed."""
        self._whole = as_tensor(photo) if device.type == "cpu" else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the photo."""
        return self.array.shape

    def part(self, rows: slice, columns: slice) -> Tensor:
        """Some rows and columns, on the device. Not to be written to."""
        if self._whole is not None:
            return self._whole[rows, columns]
        return to_device(as_tensor(self.array[rows, columns]), self.device)

    def whole(self) -> Tensor:
        """All of it, on the device: copied once, after which parts are views of it. Not to be written to."""
        if self._whole is None:
            self._whole = to_device(as_tensor(self.array), self.device)
        return self._whole

"""Pictures as tensors, and a photo of which parts are needed on another device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .picture import FloatImage


def as_tensor(picture: FloatImage) -> Tensor:
    """A tensor on the CPU that shares the picture's memory; if that is read-only, do not write to it."""
    if any(stride < 0 for stride in picture.strides):
        picture = np.ascontiguousarray(picture)
    if not picture.flags.writeable:
        # PyTorch has no read-only tensors, and warns about each.
        picture = np.asarray(_Writable(picture))
    return torch.from_numpy(picture)


def as_array(picture: Tensor) -> FloatImage:
    """The picture in host memory; shares memory with a tensor on the CPU."""
    return np.asarray(picture.detach().cpu().numpy(), dtype=np.float32)


def on_cpu(picture: Tensor) -> bool:
    """Whether OpenCV, and threads of our own, can work on the picture."""
    return picture.device.type == "cpu"


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
        return as_tensor(np.ascontiguousarray(self.array[rows, columns])).to(self.device)

    def whole(self) -> Tensor:
        """All of it, on the device: copied once, after which parts are views of it. Not to be written to."""
        if self._whole is None:
            self._whole = as_tensor(self.array).to(self.device)
        return self._whole

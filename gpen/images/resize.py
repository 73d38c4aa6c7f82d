"""Resizing whole pictures and square crops."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import tensors
from .picture import FloatImage
from .uploads import uploaded


def enlarge(photo: FloatImage, factor: float) -> FloatImage:
    """Enlarge a photo (H, W, 3), or a mask (H, W), by Lanczos interpolation, clipped to [0, 1]; ``factor`` is >= 1."""
    return resize(photo, (round(photo.shape[1] * factor), round(photo.shape[0] * factor)))


def resize(photo: FloatImage, size: tuple[int, int]) -> FloatImage:
    """Resize a photo (H, W, 3), or a mask (H, W), to ``size`` (width, height), clipped to [0, 1].

    By area if both sides shrink, else by Lanczos interpolation; returns ``photo`` itself if it has that size already.
    """
    width, height = photo.shape[1], photo.shape[0]
    if size == (width, height):
        return photo
    smaller = size[0] < width and size[1] < height
    resized = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4)
    return np.asarray(np.clip(resized, 0, 1, out=resized), dtype=np.float32)


def resized_square(crop: Tensor, size: int) -> Tensor:
    """A crop (S, S, 3) at another size, on its device: like OpenCV by area, or by cubic interpolation to enlarge it."""
    old_size = len(crop)
    if size == old_size:
        return crop
    if tensors.on_cpu(crop):
        method = cv2.INTER_AREA if old_size > size else cv2.INTER_CUBIC
        return torch.from_numpy(cv2.resize(crop.numpy(), (size, size), interpolation=method))
    if old_size > size and old_size % size:
        # PyTorch's "area" is the exact one only for whole factors.
        weights = area_weights(old_size, size, crop.device)
        return torch.matmul(weights, torch.tensordot(weights, crop, dims=1))
    how = "area" if old_size > size else "bicubic"
    return F.interpolate(crop.permute(2, 0, 1)[None], (size, size), mode=how)[0].permute(1, 2, 0)


def area_weights(length: int, new_length: int, device: torch.device) -> Tensor:
    """The matrix (new_length, length) that averages a line of pixels over the area of each of fewer pixels."""
    edges = np.arange(new_length + 1) * (length / new_length)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(covered, 0, None) * (new_length / length)
    return uploaded(weights.astype(np.float32), device)

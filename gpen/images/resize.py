"""Resizing whole pictures."""

from __future__ import annotations

import cv2
import numpy as np

from .picture import FloatImage


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

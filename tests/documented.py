"""What the pictures in the documentation show: NASA's portrait of Eileen Collins, and stand-ins for trained models.

The portrait is in the public domain; scikit-image ships it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from gpen.network.spec import Spec
from gpen.network.synthetic import IDENTITY, synthetic_weights

_BLUR = 2.4
_STRENGTH = 4.0
_SHARPEN = (
    (0, -_STRENGTH, 0),
    (-_STRENGTH, 1 + 4 * _STRENGTH, -_STRENGTH),
    (0, -_STRENGTH, 0),
)
"""Undoes about as much blur as the portrait has: readers shall see a difference."""

_TINT: dict[str, Any] = {
    "color_matrix": [[0.8 * value for value in row] for row in IDENTITY],
    "color_bias": (0.25, -0.05, -0.22),
}
_MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "GPEN-BFR-512.pth": (512, {"kernel": _SHARPEN}),
    "GPEN-Colorization-1024.pth": (1024, _TINT),
    "GPEN-Inpainting-1024.pth": (1024, {}),
    "GPEN-Seg2face-512.pth": (512, {}),
}


def portrait() -> NDArray[np.uint8]:
    """Head and shoulders, blurred: uint8 (576, 720, 3)."""
    part = cv2.resize(data.astronaut()[:320, 30:430], (720, 576), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(part, (0, 0), _BLUR), np.uint8)


def grey_portrait() -> NDArray[np.uint8]:
    """The whole portrait without its colours: uint8 (512, 512, 3)."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def group() -> NDArray[np.uint8]:
    """Three faces side by side: uint8 (320, 900, 3)."""
    one = cv2.resize(portrait()[:, 110:650], (300, 320), interpolation=cv2.INTER_AREA)
    return np.hstack([one, one[:, ::-1], one])


def write_models(folder: Path, names: Sequence[str] = tuple(_MODELS)) -> list[Path]:
    """Write synthetic weights under the names of published models; they sharpen, tint every grey, or change nothing."""
    files = [folder / name for name in names]
    for file in files:
        size, what = _MODELS[file.name]
        torch.save(synthetic_weights(Spec(size, size, 2, 1 / 8 if size < 1024 else 1 / 4), **what), file)
    return files


def save_small(shot: bytes, file: Path, colors: int = 256) -> None:
    """Write a screenshot with a palette of so many colours, at less than half its size."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    palette = _palette(np.asarray(picture), colors)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(file, optimize=True)


def _palette(pixels: NDArray[np.uint8], colors: int) -> Image.Image:
    """So many colours for a picture, as the palette of another; rare ones, such as those of slots, keep a place."""
    bins, counts = np.unique((pixels.reshape(-1, 3) >> 2) << 2, axis=0, return_counts=True)
    shown = Image.fromarray(np.repeat(bins | 2, np.ceil(counts**0.5).astype(int), axis=0)[None])
    return shown.quantize(colors, kmeans=3)

"""Whether a face is still the same person's: facexlib's ArcFace network, and what is done where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import FaceError
from ..images.picture import FloatImage
from ..weights.catalog import find_published
from ..weights.search import require_file, search_folders
from .align import similarity
from .facexlib import facexlib_module, load_weights
from .resample import warp

SIZE = 112
"""Height and width of the pictures that the network takes."""

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the five landmarks lie in them. Source: Deng et al., "ArcFace", CVPR 2019, and the code published with it."""

_STEPS = 6
"""Halvings until a face that is blended back is as near to the limit as is told."""


class Recognizer(Protocol):
    """What tells people apart, as :class:`FaceRecognizer` does."""

    def embed(self, crop: FloatImage, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
        """Crop (S, S, 3), RGB, [0, 1], and landmarks (5, 2) in it, to a vector of length 1."""
        ...


class FaceRecognizer:
    """ArcFace, an IR-SE ResNet-50. ``device``: as PyTorch names it.

    FilesError when the weights cannot be read; FaceError when they are for another network or facexlib does not
    import.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        network: Any = facexlib_module("recognition.arcface_arch").Backbone(50, 0.6, "ir_se")
        load_weights(network, weights, "ArcFace")
        self._device = device
        self._network = network.to(device)

    def embed(self, crop: FloatImage, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
        """Crop (S, S, 3), RGB, [0, 1], and landmarks (5, 2) in its pixels, to a vector (512,) of length 1."""
        import torch

        face = np.clip(warp(crop, similarity(landmarks, TEMPLATE), (SIZE, SIZE)), 0, 1)
        pixels = np.ascontiguousarray((2 * face - 1).transpose(2, 0, 1))
        with torch.inference_mode():
            vector = self._network(torch.from_numpy(pixels)[None].to(self._device))[0]
        embedded = np.asarray(vector.float().cpu().numpy(), dtype=np.float32)
        if not np.isfinite(embedded).all():
            raise FaceError("The identity of a face cannot be told: ArcFace returned values that are no numbers.")
        return embedded


@dataclass(frozen=True)
class GuardDecision:
    """What the guard says of a face.

    distance: cosine distance between it before and after, 0 (the same) to 2, as it is laid over the photo. factor: how
    much of it is laid over, times the strength; 0 where the original is kept, and then the distance is what it would
    have been. limit: what it was compared with.
    """

    distance: float
    factor: float
    limit: float

    @property
    def reason(self) -> str:
        """Why the original is kept."""
        return f"it would be another person's: its identity moves by {self.distance:.2f}, more than {self.limit:g}"


class IdentityGuard:
    """Keeps restored faces within a cosine distance ``limit`` of the originals.

    blend: whether a face beyond it is blended back until it is within; otherwise its original is kept.
    """

    def __init__(self, recognizer: Recognizer, limit: float, *, blend: bool) -> None:
        self._recognizer = recognizer
        self._limit = limit
        self._blend = blend

    def judge(
        self, before: FloatImage, after: FloatImage, landmarks: NDArray[np.float64], strength: float
    ) -> GuardDecision:
        """Of a crop before (S, S, 3) and after (T, T, 3), which is laid over with ``strength``.

        landmarks: (5, 2), as fractions of the crop from edge to edge.
        """
        size = after.shape[0]
        if before.shape != after.shape:
            smaller = size < before.shape[0]
            how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
            before = np.asarray(cv2.resize(before, (size, size), interpolation=how), dtype=np.float32)
        points = landmarks * size - 0.5
        original = self._recognizer.embed(before, points)

        def distance(factor: float) -> float:
            share = np.float32(strength * factor)
            laid = self._recognizer.embed(before + share * (after - before), points)
            return float(1 - original @ laid)

        whole = distance(1)
        if whole <= self._limit:
            return GuardDecision(whole, 1.0, self._limit)
        within, beyond = GuardDecision(whole, 0.0, self._limit), 1.0
        if not self._blend:
            return within
        for _ in range(_STEPS):
            factor = (within.factor + beyond) / 2
            moved = distance(factor)
            if moved <= self._limit:
                within = GuardDecision(moved, factor, self._limit)
            else:
                beyond = factor
        return within


def find_recognizer(folders: Sequence[Path] = ()) -> Path:
    """Return the file of ArcFace's weights, without reading it.

    ``folders``: the host's, searched before those of the environment and the user's cache. FilesError says what to get
    when it is not there, FaceError why facexlib cannot be used.
    """
    weights = require_file(find_published("arcface"), search_folders(folders, kind="recognizer"))
    facexlib_module("recognition.arcface_arch")
    return weights

"""The identity guard: facexlib's ArcFace tells whether a restored face still shows the same person."""

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
from ..images.tensors import as_array, as_tensor
from ..weights.catalog import find_published
from ..weights.search import require_file, search_folders
from .align import similarity
from .facexlib import facexlib_module, load_weights
from .resample import warp

SIZE = 112
"""Height and width of the network's input, in pixels."""

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""The five landmarks in the input, in pixels. Source: Deng et al., "ArcFace", CVPR 2019, and its published code."""

_STEPS = 6
"""Bisection steps to the largest share of a face that stays within the limit."""


class Recognizer(Protocol):
    """A face recogniser, such as :class:`FaceRecognizer`."""

    def embed(self, crop: FloatImage, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
        """The embedding of a face, a vector of length 1.

        crop: (S, S, 3), RGB, [0, 1]. landmarks: (5, 2), in its pixels.
        """
        ...


class FaceRecognizer:
    """ArcFace, an IR-SE ResNet-50.

    device: as PyTorch names it. Raises FilesError if the weights cannot be read, FaceError if they are for another
    network or facexlib cannot be imported.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        network: Any = facexlib_module("recognition.arcface_arch").Backbone(50, 0.6, "ir_se")
        load_weights(network, weights, "ArcFace")
        self._device = device
        self.network = network.to(device)
        """The network, on the device."""

    def embed(self, crop: FloatImage, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
        """See :class:`Recognizer`; the embedding has the shape (512,). Raises FaceError if it holds NaN or Inf."""
        import torch

        face = as_array(warp(as_tensor(crop), similarity(landmarks, TEMPLATE), (SIZE, SIZE)).clamp_(0, 1))
        pixels = np.ascontiguousarray((2 * face - 1).transpose(2, 0, 1))
        with torch.inference_mode():
            vector = self.network(torch.from_numpy(pixels)[None].to(self._device))[0]
        embedded = np.asarray(vector.float().cpu().numpy(), dtype=np.float32)
        if not np.isfinite(embedded).all():
            raise FaceError(
                "The identity of a face cannot be measured: ArcFace returned NaN or Inf. Get its file again, or turn "
                "the identity guard off."
            )
        return embedded


@dataclass(frozen=True)
class GuardDecision:
    """What the guard decides about a face."""

    distance: float
    """The cosine distance between the face before and after, 0 (the same) to 2, as it is pasted; if the original is
    kept, as it would have been pasted at full strength."""
    factor: float
    """What to multiply the strength by, 0 to 1; 0 keeps the original."""
    limit: float
    """The largest distance allowed."""

    @property
    def reason(self) -> str:
        """Why the original is kept."""
        return f"it would show another person: the cosine distance is {self.distance:.2f}, more than {self.limit:g}"


class IdentityGuard:
    """Keeps restored faces within a cosine distance of the originals.

    limit: the largest distance, 0 to 2. blend: whether to blend less of a face beyond the limit, as much as stays
    within; otherwise its original is kept.
    """

    def __init__(self, recognizer: Recognizer, limit: float, *, blend: bool) -> None:
        self._recognizer = recognizer
        self._limit = limit
        self._blend = blend

    def judge(
        self, before: FloatImage, after: FloatImage, landmarks: NDArray[np.float64], strength: float
    ) -> GuardDecision:
        """Decide how much of a restored face to paste.

        before: crop (S, S, 3). after: crop (T, T, 3), to be pasted with ``strength``, 0 to 1. Both RGB, [0, 1].
        landmarks: (5, 2), as fractions of the crop, from edge to edge. Raises what the recogniser raises.
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
            pasted = self._recognizer.embed(before + share * (after - before), points)
            return float(1 - original @ pasted)

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
    """The path of ArcFace's weights, which are not read.

    folders: the host's, searched before those of the environment and the user's cache. Raises FilesError, which says
    what to get, if they are not found; FaceError if facexlib cannot be imported.
    """
    weights = require_file(find_published("arcface"), search_folders(folders, kind="recognizer"))
    facexlib_module("recognition.arcface_arch")
    return weights

"""Face recognition with facexlib's ArcFace, and the guard that a restored face still shows the same person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...device import exact_float32
from ...errors import FaceError, GpenError
from ...images.tensors import as_array, on_cpu
from ...weights.catalog import find_published
from ...weights.search import find_file, require_file, search_folders
from ...wording import command
from ..align import similarity
from ..facexlib import facexlib_module, load_network
from ..folding import fold_batch_norm
from ..resampling.resample import warp
from ..workers import shared_workers

SIZE = 112
"""Height and width of the network's input, in pixels."""
LENGTH = 512
"""Of an embedding."""

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""The five landmarks in the input, in pixels. Source: Deng et al., "ArcFace", CVPR 2019, and its published code."""

_STEPS = 6
"""Bisection steps to the largest share of a face that stays within the limit."""


class Recognizer(Protocol):
    """A face recogniser, such as :class:`FaceRecognizer`."""

    @property
    def same_person(self) -> float:
        """The least cosine similarity of two faces that count as one person's."""
        ...

    def align(self, crop: Tensor, landmarks: NDArray[np.float64]) -> Tensor:
        """The face (H, W, 3) as it is looked at; a linear function of the crop.

        crop: (S, S, 3), RGB, [0, 1]. landmarks: (5, 2), in its pixels.
        """
        ...

    def embed(self, faces: Sequence[Tensor]) -> NDArray[np.float32]:
        """The embedding of each aligned face, a vector of length 1: (N, length)."""
        ...


class FaceRecognizer:
    """ArcFace, an IR-SE ResNet-50.

    device: as PyTorch names it. Raises FilesError if the weights cannot be read, FaceError if they are for another
    network or facexlib cannot be imported.
    """

    same_person = 0.25
    """TreB1eN's code, from which the weights are, takes a squared distance of at most 1.5 for one person's."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        module = facexlib_module("recognition.arcface_arch")
        network = load_network(lambda: module.Backbone(50, 0.6, "ir_se"), weights, "ArcFace")
        fold_batch_norm(network)
        # facexlib's own cannot flatten a map that is channels last.
        network.output_layer[2] = nn.Flatten()
        self._device = torch.device(device)
        self.network = network.to(self._device, memory_format=torch.channels_last)
        """The network, on the device."""

    def align(self, crop: Tensor, landmarks: NDArray[np.float64]) -> Tensor:
        """See :class:`Recognizer`: (112, 112, 3), values may overshoot. Raises FaceError if landmarks coincide."""
        return warp(crop.to(self._device), similarity(landmarks, TEMPLATE), (SIZE, SIZE))

    def embed(self, faces: Sequence[Tensor]) -> NDArray[np.float32]:
        """See :class:`Recognizer`; embeddings are (N, 512). Raises FaceError if they hold NaN or Inf."""
        embedded = as_array(self._vectors(torch.stack(list(faces)).clamp(0, 1).permute(0, 3, 1, 2)))
        if not np.isfinite(embedded).all():
            raise FaceError(
                "The identity of a face cannot be measured: ArcFace returned NaN or Inf. Get its file again, or turn "
                "the identity guard off."
            )
        return embedded

    def _vectors(self, pictures: Tensor) -> Tensor:
        """(N, 512) of pictures (N, 3, 112, 112), [0, 1]."""
        vectors = pictures.new_empty((len(pictures), LENGTH))

        def compute(part: slice) -> None:
            with exact_float32(self._device):
                vectors[part] = self.network(2 * pictures[part] - 1)

        if on_cpu(pictures):
            shared_workers().run(compute, [slice(number, number + 1) for number in range(len(pictures))])
        else:
            with torch.inference_mode():
                compute(slice(None))
        return vectors


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

    def judge(self, before: Tensor, after: Tensor, landmarks: NDArray[np.float64], strength: float) -> GuardDecision:
        """Decide how much of a restored face to paste.

        before: crop (S, S, 3). after: crop (T, T, 3), to be pasted with ``strength``, 0 to 1. Both RGB, [0, 1].
        landmarks: (5, 2), as fractions of the crop, from edge to edge. Raises what the recogniser raises.
        """
        # Both before they are blended: blending is linear, too, and at this size it costs nothing.
        original, restored = (self._recognizer.align(crop, landmarks * len(crop) - 0.5) for crop in (before, after))

        def pasted(factor: float) -> Tensor:
            return torch.lerp(original, restored, strength * factor)

        identity, changed = self._recognizer.embed([original, pasted(1)])
        whole = float(1 - identity @ changed)
        if whole <= self._limit:
            return GuardDecision(whole, 1.0, self._limit)
        within, beyond = GuardDecision(whole, 0.0, self._limit), 1.0
        if not self._blend:
            return within
        for _ in range(_STEPS):
            factor = (within.factor + beyond) / 2
            moved = float(1 - identity @ self._recognizer.embed([pasted(factor)])[0])
            if moved <= self._limit:
                within = GuardDecision(moved, factor, self._limit)
            else:
                beyond = factor
        return within


def find_recognizer(folders: Sequence[Path] = ()) -> tuple[str, Path]:
    """The name of a recogniser and the path of its weights, which are not read: "arcface", else "sface".

    folders: the host's, searched before those of the environment and the user's cache. Raises FilesError, which says
    what to get, if none is found; FaceError if only ArcFace is and facexlib cannot be imported.
    """
    searched = search_folders(folders, kind="recognizer")
    sface = find_published("sface")
    try:
        weights = require_file(find_published("arcface"), searched)
        facexlib_module("recognition.arcface_arch")
    except GpenError as error:
        found = find_file(sface, searched)
        if found is not None:
            return sface.name, found
        advice = f"Or run {command(f'download {sface.name}')}: {sface.saved_as} does without facexlib."
        raise type(error)(f"{error}\n{advice}") from error
    return "arcface", weights

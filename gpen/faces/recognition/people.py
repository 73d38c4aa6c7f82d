"""People by example: whether a face shows one of them, as a face recogniser sees it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import FaceError
from ...images.picture import FloatImage
from ...images.tensors import DevicePhoto
from ..detection.detector import FaceDetector
from ..face import Face
from ..resampling.transforms import apply
from ..selection.close_up import close_up, close_up_matrix
from .identity import Recognizer

_MOST_AT_ONCE = 32
"""Faces that the recogniser is given in one call: a crowd would not fit into a GPU's memory."""

_log = logging.getLogger(__name__)


class People:
    """The people to look for.

    examples: the embedding of each, a vector of length 1: (N, length). recognizer: what made them.
    """

    def __init__(self, recognizer: Recognizer, examples: NDArray[np.float32]) -> None:
        self._recognizer = recognizer
        self._examples = examples

    @property
    def same_person(self) -> float:
        """The least cosine similarity of two faces that count as one person's."""
        return self._recognizer.same_person

    def align(self, crop: Tensor, face: Face) -> Tensor:
        """The face as the recogniser looks at it.

        crop: (192, 192, 3), as :func:`~gpen.faces.selection.close_up.close_up` returns it.
        """
        return _aligned(self._recognizer, crop, face)

    def likeness(self, aligned: Sequence[Tensor]) -> list[float]:
        """For each face, as :meth:`align` returns it, the cosine similarity to the most similar person, -1 to 1."""
        parts = [aligned[first : first + _MOST_AT_ONCE] for first in range(0, len(aligned), _MOST_AT_ONCE)]
        return [
            float(value) for part in parts for value in (self._recognizer.embed(part) @ self._examples.T).max(axis=1)
        ]


def people_in(
    photos: Sequence[tuple[str, FloatImage]], detector: FaceDetector, threshold: float, recognizer: Recognizer
) -> People:
    """The people in photos: the largest face of each.

    photos: with their names for messages; (H, W, 3), RGB, [0, 1]. threshold: the least score of a face. Raises
    FaceError for a photo without a face.
    """
    examples = []
    for name, photo in photos:
        faces = detector.detect(photo, threshold)
        if not faces:
            raise FaceError(
                f"No face was found in {name}, which is to show a person. Use a photo in which the face is larger or "
                "seen from the front, or lower the detection threshold."
            )
        face = max(faces, key=lambda face: face.width * face.height)
        if len(faces) > 1:
            _log.info("%s shows %d faces; the person is the one whose face is the largest.", name, len(faces))
        crop = close_up(DevicePhoto(photo, torch.device("cpu")), face)
        examples.append(recognizer.embed([_aligned(recognizer, crop, face)]))
    return People(recognizer, np.concatenate(examples))


def _aligned(recognizer: Recognizer, crop: Tensor, face: Face) -> Tensor:
    return recognizer.align(crop, apply(close_up_matrix(face), face.landmarks))

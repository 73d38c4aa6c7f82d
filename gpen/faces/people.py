"""People by example: whether a face shows one of them, as a face recogniser sees it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import FaceError
from ..images.picture import FloatImage
from ..images.tensors import DevicePhoto
from .align import crop_face, crop_matrix
from .detection.detector import FaceDetector
from .face import Face
from .identity import Recognizer
from .transforms import apply

CROP_SIZE = 256
"""Height and width of the crops that faces are looked at in, in pixels."""

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

    def likeness(self, crops: Sequence[Tensor], faces: Sequence[Face]) -> list[float]:
        """For each face the cosine similarity to the most similar of the people, -1 to 1.

        crops: of each face, (256, 256, 3), RGB, [0, 1], aligned to the template "gpen".
        """
        if not faces:
            return []
        embedded = _embedded(self._recognizer, crops, faces)
        return [float(value) for value in (embedded @ self._examples.T).max(axis=1)]


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
        crop = crop_face(DevicePhoto(photo, torch.device("cpu")), crop_matrix(face, CROP_SIZE, "gpen"), CROP_SIZE)
        examples.append(_embedded(recognizer, [crop], [face]))
    return People(recognizer, np.concatenate(examples))


def _embedded(recognizer: Recognizer, crops: Sequence[Tensor], faces: Sequence[Face]) -> NDArray[np.float32]:
    aligned = [
        recognizer.align(crop, apply(crop_matrix(face, CROP_SIZE, "gpen"), face.landmarks))
        for crop, face in zip(crops, faces, strict=True)
    ]
    return recognizer.embed(aligned)

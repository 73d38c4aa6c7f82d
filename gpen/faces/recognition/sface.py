"""SFace, OpenCV's face recogniser: a file of 39 MB, and no other package than OpenCV."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...errors import FaceError
from ...images.tensors import as_array
from ...weights.catalog import find_published
from ...weights.limited import read_limited
from ...wording import command
from ..align import similarity
from ..resampling.resample import warp
from .identity import SIZE, TEMPLATE


class SFaceRecognizer:
    """SFace, a MobileFaceNet, run by OpenCV on the CPU.

    weights: the published file; no other is given to OpenCV, whose reader of ONNX files is not made for those of
    strangers. Raises FilesError if it cannot be read, FaceError for another file, or where OpenCV is too old.
    Source: Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", 2021.
    """

    same_person = 0.363
    """As OpenCV's documentation of ``FaceRecognizerSF`` states it."""

    def __init__(self, weights: Path) -> None:
        content = np.frombuffer(_published_bytes(weights), np.uint8)
        try:
            self._network = cv2.FaceRecognizerSF.create("onnx", content, np.empty(0, np.uint8))
        except (AttributeError, TypeError, cv2.error) as error:
            raise FaceError(
                f"OpenCV {cv2.__version__} cannot run the face recogniser SFace. Install opencv-python 4.10 or newer."
            ) from error

    def align(self, crop: Tensor, landmarks: NDArray[np.float64]) -> Tensor:
        """See :class:`~gpen.faces.recognition.identity.Recognizer`: (112, 112, 3). FaceError if landmarks coincide."""
        return warp(crop, similarity(landmarks, TEMPLATE), (SIZE, SIZE))

    def embed(self, faces: Sequence[Tensor]) -> NDArray[np.float32]:
        """See :class:`gpen.faces.recognition.identity.Recognizer`; embeddings are (N, 128). FaceError if not finite."""
        vectors = np.concatenate([self._network.feature(_samples(face)) for face in faces]).astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all() or not lengths.all():
            raise FaceError("The identity of a face cannot be measured: SFace returned NaN, Inf or nothing but zeros.")
        return np.asarray(vectors / lengths, np.float32)


def _samples(face: Tensor) -> NDArray[np.uint8]:
    """An aligned face (112, 112, 3), RGB, [0, 1], as OpenCV takes it: BGR, 0 to 255."""
    samples: NDArray[np.uint8] = np.rint(as_array(face.clamp(0, 1)) * 255).astype(np.uint8)
    return np.ascontiguousarray(samples[..., ::-1])


def _published_bytes(path: Path) -> bytes:
    published = find_published("sface")
    assert published.size is not None
    content = read_limited(path, published.size, "The recogniser's file ")
    if hashlib.sha256(content).hexdigest() != published.sha256:
        raise FaceError(
            f"{path} is not the published file of the face recogniser SFace: its SHA256 is another one. It may be a "
            f"broken download or another network. Remove it, and run {command('download sface')}."
        )
    return content

"""The expected results of the nodes, computed without a host."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gpen.faces.align import place
from gpen.faces.detection.detector import make_detector
from gpen.faces.face import Face
from tests.arrays import crop_face
from tests.hosts.comfyui.graphs import Pixels
from tests.restoration.checks import BIAS, MATRIX


def faces_in(photo: NDArray[np.uint8], weights: Path) -> list[Face]:
    """The faces that YuNet finds, from left to right."""
    return make_detector("yunet", [weights]).detect(photo.astype(np.float32) / 255)


def are_crops(
    crops: list[Pixels], photo: NDArray[np.uint8], faces: list[Face], size: int = 256, template: str = "gpen"
) -> None:
    """The crops show these faces of the photo, in this order."""
    for crop, face in zip(crops, faces, strict=True):
        expected = crop_face(photo.astype(np.float32) / 255, place(face, size, template).matrix, size) * 255
        assert np.abs(crop - expected).max() <= 1.01


def colored(photo: NDArray[np.uint8]) -> Pixels:
    """The output of the marker weights for a photo."""
    return np.asarray(((photo / 127.5 - 1) @ MATRIX.T + BIAS + 1) * 127.5)


def enlarged(photo: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Enlarged with Lanczos interpolation, truncated to 8 bits as in ComfyUI's files."""
    size = (round(photo.shape[1] * factor), round(photo.shape[0] * factor))
    larger = cv2.resize(photo.astype(np.float32) / 255, size, interpolation=cv2.INTER_LANCZOS4)
    return (larger.clip(0, 1) * 255).astype(np.uint8)

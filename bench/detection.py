"""Subjects for :mod:`bench.worker`: finding the faces of large photos, beside the 512 network in the same process."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .measure import picture, seconds, threads
from .photos import DETECTORS, PHOTO, SHARED, SIZE
from .portrait import portrait
from .worker import Measure

ONE_FACE_MEGAPIXELS = 12
GROUP_ENLARGEMENT = 5.64
"""Of the photo of the Solvay conference, in width and height: 24 megapixels."""


def one_face(weights: str, detector: str = "yunet") -> Measure:
    """Seconds in a photo of 12 megapixels with one face, and the number of faces found."""
    photo, _ = portrait(ONE_FACE_MEGAPIXELS, SHARED)
    return _beside_the_network(weights, photo, detector)


def group(weights: str, detector: str = "yunet") -> Measure:
    """The same in the enlarged photo of the Solvay conference, with 29 faces."""
    import gpen

    small = gpen.read_picture(PHOTO, max_megapixels=200).photo
    large = cv2.resize(small, None, fx=GROUP_ENLARGEMENT, fy=GROUP_ENLARGEMENT, interpolation=cv2.INTER_CUBIC)
    return _beside_the_network(weights, np.clip(large, 0, 1), detector)


def _beside_the_network(weights: str, photo: Any, name: str) -> Measure:
    import torch

    import gpen

    torch.set_num_threads(threads())
    model = gpen.load_model(weights)
    x = torch.from_numpy(picture(SIZE))
    detector = gpen.make_detector(name, [DETECTORS])

    def measure() -> dict[str, Any]:
        faces = []
        network = seconds(lambda: model(x))
        detection = seconds(lambda: faces.extend(detector.detect(photo)))
        return {"faces": len(faces), "network": network, "detection": detection}

    measure()
    return measure

"""Models with synthetic weights, a detector and a photo for the tests of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpen.faces.detection.detector import FaceDetector, make_detector
from gpen.faces.face import Face
from gpen.images import Picture, read_picture
from gpen.images.picture import FloatImage
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.weights.checkpoint import Model
from tests.restoration.markers import BIAS, MATRIX, aligned_face

MakeModel = Callable[..., Model]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Makes a model of ``size`` with synthetic weights; further arguments are those of synthetic_weights."""

    def make(size: int = 256, task: str = "restore", **weights: Any) -> Model:
        spec = Spec(size, size, 2, {256: 1 / 16, 512: 1 / 8, 1024: 1 / 4}[size])
        network = GPEN(spec)
        network.load_state_dict(synthetic_weights(spec, **weights))
        return Model(network.eval(), task, Path("made.pth"))

    return make


@pytest.fixture(scope="session")
def passthrough(make_model: MakeModel) -> Model:
    return make_model()


@pytest.fixture(scope="session")
def yunet(detector_weights: Path) -> FaceDetector:
    return make_detector("yunet", [detector_weights])


@pytest.fixture(scope="session")
def solvay(photos: Path) -> Picture:
    return read_picture(photos / "Solvay_conference_1927.png", 100)


@pytest.fixture(scope="session")
def colorizer(make_model: MakeModel) -> Model:
    """With marker weights."""
    return make_model(256, "colorize", color_matrix=MATRIX.tolist(), color_bias=BIAS.tolist())


@pytest.fixture(scope="session")
def inpainter(make_model: MakeModel) -> Model:
    """With marker weights."""
    return make_model(256, "inpaint", color_matrix=MATRIX.tolist(), color_bias=BIAS.tolist())


@pytest.fixture(scope="session")
def portrait(photos: Path) -> Picture:
    return read_picture(photos / "ffhq_00000_hq.png", 100)


@pytest.fixture(scope="session")
def grey_portrait(photos: Path) -> Picture:
    return read_picture(photos / "gray_106000.png", 100)


@pytest.fixture(scope="session")
def photo_with_face() -> tuple[FloatImage, list[Face]]:
    rng = np.random.default_rng(1)
    photo = cv2.resize(rng.uniform(0.2, 0.6, (30, 40, 3)).astype(np.float32), (400, 300))
    return photo, [aligned_face(200, 60, 50)]

"""Models with made weights, the photographs and the checks that every test of the pipeline is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpen.faces.detection.detector import FaceDetector, make_detector
from gpen.images import Picture, read_picture
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.weights.checkpoint import Model

MakeModel = Callable[..., Model]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Makes a model of ``size`` with made weights; further arguments are those of synthetic_weights."""

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

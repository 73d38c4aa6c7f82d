"""PyTorch's default dtype and device, which a program may have changed, have no effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpen.faces.detection.detector import make_detector
from gpen.faces.face import Face
from gpen.faces.facexlib import load_network
from gpen.faces.masks.parsenet import _Memory
from gpen.images import Picture
from gpen.images.picture import FloatImage
from gpen.network.agreement import difference
from gpen.options import Options
from gpen.restoration.api import restore
from gpen.weights.checkpoint import Model

DEFAULTS = {"float64": torch.float64, "float16": torch.float16, "meta": torch.device("meta")}
"""A device without values stands for a GPU."""
OPTIONS = Options(mask="ellipse", grain=1, color_match="lab")
OTHERS = Options(mask="box", skip_sharp=0.99, color_match="wavelet")


@pytest.fixture(params=DEFAULTS)
def changed(request: pytest.FixtureRequest) -> Iterator[None]:
    default = DEFAULTS[request.param]
    try:
        if isinstance(default, torch.dtype):
            torch.set_default_dtype(default)
        else:
            torch.set_default_device(default)
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


@pytest.fixture(scope="module")
def marker(make_model) -> Model:
    model: Model = make_model(color_bias=(0.2, 0, -0.1))
    return model


def results(photo: FloatImage, faces: list[Face], model: Model) -> list[NDArray[np.float32]]:
    protect = np.eye(*photo.shape[:2], dtype=np.float32)
    return [
        restore(photo, model, faces, OPTIONS).photo,
        restore(photo, model, faces, OTHERS, protect=protect).photo,
    ]


@pytest.fixture(scope="module")
def expected(marker: Model, photo_with_face: tuple[FloatImage, list[Face]]) -> list[NDArray[np.float32]]:
    return results(*photo_with_face, marker)


@pytest.fixture(scope="module", params=["yunet", "retinaface_mobile0.25"])
def detected(request: pytest.FixtureRequest, detector_weights: Path, solvay: Picture) -> tuple[str, list[Face]]:
    if request.param != "yunet":
        pytest.importorskip("facexlib")
    return request.param, make_detector(request.param, [detector_weights]).detect(solvay.photo[:400, :500])


@pytest.mark.usefixtures("changed", "each_implementation")
def test_faces_are_restored_as_ever(
    marker: Model, photo_with_face: tuple[FloatImage, list[Face]], expected: list[NDArray[np.float32]]
) -> None:
    for found, wanted in zip(results(*photo_with_face, marker), expected, strict=True):
        assert np.abs(found - wanted).max() < 1e-3


@pytest.mark.usefixtures("changed")
def test_faces_are_found_as_ever(detected: tuple[str, list[Face]], detector_weights: Path, solvay: Picture) -> None:
    name, expected = detected
    found = make_detector(name, [detector_weights]).detect(solvay.photo[:400, :500])
    assert found
    assert [face.box for face in found] == [face.box for face in expected]


@pytest.mark.usefixtures("changed")
def test_networks_are_built_in_float32_on_the_cpu(tmp_path: Path) -> None:
    weights = {"weight": torch.ones(2, 2, dtype=torch.float32, device="cpu")}
    torch.save(weights, tmp_path / "w.pth")
    network = load_network(lambda: torch.nn.Linear(2, 2, bias=False), tmp_path / "w.pth", "a network")
    assert (network.weight.dtype, network.weight.device.type) == (torch.float32, "cpu")
    assert network.weight.sum() == 4
    memory = _Memory().take(4, 2)
    assert (memory.dtype, memory.device.type) == (torch.float32, "cpu")


@pytest.mark.usefixtures("changed")
def test_the_fused_kernels_are_compared_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpen.network.agreement.using_fused", lambda decided: torch.no_grad())
    assert difference(torch.device("cpu"), torch.float32)[0] == 0

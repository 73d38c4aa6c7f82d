"""What the package returns without a host, and clients of the host's API."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpen.device import pick_dtype
from gpen.faces.detection.detector import make_detector
from gpen.options import Options
from gpen.restoration.api import restore
from gpen.restoration.result import Restoration
from gpen.weights.checkpoint import load_model
from tests.hosts.webui.host import WebUI
from tests.hosts.webui.pictures import Pixels

Reference = Callable[..., Restoration]
MakeClient = Callable[[WebUI], Any]


@pytest.fixture(scope="session")
def reference(synthetic_models: dict[str, Path], detector_weights: Path) -> Reference:
    """Restores a picture without a host, with the marker weights by default, in the precision "auto"."""
    detector = make_detector("yunet", [detector_weights])
    dtype = pick_dtype("auto", torch.device("cpu"))

    def make(pixels: Pixels, network: str = "marker-256", **options: Any) -> Restoration:
        model = load_model(synthetic_models[f"facerestore_models/{network}.safetensors"], "cpu", dtype)
        return restore(pixels.astype(np.float32) / 255, model, detector, Options(**options))

    return make


@pytest.fixture
def make_client() -> MakeClient:
    """Starts the API of a host, with the flags it has now, and returns a client."""
    fastapi = importlib.import_module("fastapi")
    testclient = importlib.import_module("fastapi.testclient")

    def make(host: WebUI) -> Any:
        app = fastapi.FastAPI()
        host.script_callbacks.app_started_callback(None, app)
        return testclient.TestClient(app)

    return make

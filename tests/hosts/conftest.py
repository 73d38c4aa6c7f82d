"""The real ComfyUI server, for the tests of the node pack and of its web page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.hosts.comfyui.graphs import GraphBuilder
from tests.hosts.comfyui.server import ComfyUIServer, why_not
from tests.hosts.webui import host as webui_host
from tests.restoration import checks

SPEC = Spec(256, 256, 2, 1 / 16)
MARKER = {"color_matrix": checks.MATRIX.tolist(), "color_bias": checks.BIAS.tolist()}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests that need a missing host here, so that pytest gives the reason once.

    Where $GPEN_NEEDS_COMFYUI is set they fail instead: otherwise a suite that ran nothing would pass.
    """
    hosts = {"start_comfyui": why_not, "in_comfyui": why_not}
    hosts |= {"webui": webui_host.why_not, "checkbox": webui_host.why_no_checkbox}
    hosts |= {name: partial(webui_host.why_not, name) for name in ("a1111", "forge", "sdnext")}
    for fixture, why in hosts.items():
        if fixture in getattr(item, "fixturenames", ()) and (reason := why()):
            if why is why_not and os.environ.get("GPEN_NEEDS_COMFYUI"):
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def synthetic_models(tmp_path_factory: pytest.TempPathFactory, detector_weights: Path) -> dict[str, Path]:
    """Networks of 256 pixels whose output is known, and detectors: file by path under models/."""
    folder = tmp_path_factory.mktemp("models")
    kinds: dict[str, dict[str, Any]] = {"passthrough": {}, "marker": MARKER}
    for name, more in kinds.items():
        save_file(synthetic_weights(SPEC, **more), folder / f"{name}-256.safetensors")
    models = {f"facerestore_models/{file.name}": file for file in folder.iterdir()}
    found = [file for file in detector_weights.iterdir() if file.suffix in {".onnx", ".pth"}]
    return models | {f"facedetection/{file.name}": file for file in found}


@pytest.fixture(scope="session")
def start_comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ComfyUIServer]]:
    """Starts a server with the given models and arguments of ComfyUIServer; it stops when the tests end."""
    servers: list[ComfyUIServer] = []

    def start(models: dict[str, Path] | None = None, **more: Any) -> ComfyUIServer:
        servers.append(ComfyUIServer(tmp_path_factory.mktemp("comfyui") / "base", models, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def comfyui(start_comfyui: Callable[..., ComfyUIServer], synthetic_models: dict[str, Path]) -> ComfyUIServer:
    """A server with the networks passthrough-256 and marker-256 and the detectors."""
    return start_comfyui(synthetic_models)


@pytest.fixture
def graph(comfyui: ComfyUIServer) -> GraphBuilder:
    """An empty graph for that server."""
    return GraphBuilder(comfyui)


@pytest.fixture(scope="session")
def webui_models(synthetic_models: dict[str, Path]) -> dict[str, Path]:
    """The networks passthrough-256 and marker-256, and as the default a copy of the first, GPEN-BFR-256."""
    given = {"given/GPEN-BFR-256.safetensors": synthetic_models["facerestore_models/passthrough-256.safetensors"]}
    return given | {f"models/{path}": file for path, file in synthetic_models.items()}


@pytest.fixture
def webui(tmp_path_factory: pytest.TempPathFactory, webui_models: dict[str, Path]) -> Iterator[webui_host.WebUI]:
    """SD-WebUI Forge or a relative, with those networks, and where it can be chosen "GPEN" as face restorer."""
    host = webui_host.start(tmp_path_factory.mktemp("webui"), webui_models)
    with host.as_it_was():
        host.opts.data["face_restoration_model"] = "GPEN"
        yield host


@pytest.fixture
def checkbox(webui: webui_host.WebUI) -> webui_host.WebUI:
    """The same, for tests of the Face Restoration checkbox."""
    return webui


@pytest.fixture
def a1111(webui: webui_host.WebUI) -> webui_host.WebUI:
    """The same, for tests of what only AUTOMATIC1111 does."""
    return webui


@pytest.fixture
def forge(webui: webui_host.WebUI) -> webui_host.WebUI:
    """The same, for what is shown in Forge's own page."""
    return webui


@pytest.fixture
def sdnext(webui: webui_host.WebUI) -> webui_host.WebUI:
    """The same, for SD.Next."""
    return webui


class Parts(NamedTuple):
    """Parts of the Solvay photo, 301 x 257 pixels.

    They are tinted: a grey photo would not show swapped channels.
    """

    left: NDArray[np.uint8]
    """With 5 faces."""
    right: NDArray[np.uint8]
    """With 4 faces."""
    nobody: NDArray[np.uint8]
    """Without a face."""


@pytest.fixture(scope="session")
def solvay_pixels(photos: Path) -> NDArray[np.uint8]:
    with Image.open(photos / "Solvay_conference_1927.png") as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="session")
def parts(solvay_pixels: NDArray[np.uint8]) -> Parts:
    tinted = (solvay_pixels * np.array([1.0, 0.85, 0.65])).astype(np.uint8)
    left, right, nobody = (tinted[y : y + 257, x : x + 301] for x, y in ((0, 20), (970, 145), (200, 311)))
    return Parts(left, right, nobody)


@pytest.fixture(scope="session")
def upscale_x2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small upscale network that repeats every pixel: whatever it adds is multiplied by 0."""
    compact = pytest.importorskip("spandrel.architectures.Compact", reason="comes with ComfyUI")
    torch.manual_seed(0)
    weights = compact.Compact(num_feat=8, num_conv=2, upscale=2).state_dict()
    last = max(int(name.split(".")[1]) for name in weights)
    for name in (f"body.{last}.weight", f"body.{last}.bias"):
        weights[name] = torch.zeros_like(weights[name])
    file = tmp_path_factory.mktemp("upscale") / "nearest-x2.pth"
    torch.save(weights, file)
    return file

"""ComfyUI's real page in headless Chromium, on the real server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gpen.network.spec import Spec
from gpen.network.synthetic import SHARPEN, synthetic_weights
from tests.chromium import launch, screenshots  # noqa: F401
from tests.compare.face_networks import restoreformer
from tests.hosts.comfyui.graphs import GraphBuilder
from tests.hosts.comfyui.server import ComfyUIServer
from tests.hosts.conftest import pytest_runtest_setup, start_comfyui, synthetic_models, upscale_x2  # noqa: F401
from tests.video.clips import Clip, make
from tests.web.comfyui_page import SETTINGS, ComfyUIPage

WEIGHTS = "GPEN-BFR-512.pth"
OTHER_WEIGHTS = ("GPEN-Colorization-1024.pth", "GPEN-Inpainting-1024.pth", "GPEN-Seg2face-512.pth")
"""Models that the example workflows name. Here they sharpen, which is visible."""


class Parts(NamedTuple):
    """Grey photos of 301 x 257 pixels."""

    left: NDArray[np.uint8]
    """Part of the Solvay photo, with 5 faces."""
    right: NDArray[np.uint8]
    """Another part, with 4 faces."""
    nobody: NDArray[np.uint8]
    """A gradient, without a face."""


@pytest.fixture(scope="session")
def parts(photos: Path) -> Parts:
    with Image.open(photos / "Solvay_conference_1927.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    left, right = (pixels[y : y + 257, x : x + 301] for x, y in ((0, 20), (970, 145)))
    return Parts(left, right, np.broadcast_to(np.arange(301, dtype=np.uint8)[:, None] // 2, left.shape))


@pytest.fixture(scope="session")
def comfyui(
    start_comfyui: Callable[..., ComfyUIServer],  # noqa: F811
    synthetic_models: dict[str, Path],  # noqa: F811
    upscale_x2: Path,  # noqa: F811
    parts: Parts,
    tmp_path_factory: pytest.TempPathFactory,
) -> ComfyUIServer:
    """A server with everything that the example workflows name, except a Stable Diffusion checkpoint.

    $COMFYUI_FRONTEND: another version of the page, the folder static/ of the package comfyui-frontend-package.
    """
    weights = tmp_path_factory.mktemp("weights") / WEIGHTS
    torch.save(synthetic_weights(Spec(512, 512, 2, 1 / 8), kernel=SHARPEN), weights)
    models = {f"facerestore_models/{name}": weights for name in (WEIGHTS, *OTHER_WEIGHTS)}
    models |= {"upscale_models/RealESRGAN_x2plus.pth": upscale_x2}
    other = restoreformer(tmp_path_factory.mktemp("other") / "RestoreFormer.pth")
    models |= {f"upscale_models/{other.name}": other}
    frontend = os.environ.get("COMFYUI_FRONTEND")
    arguments = ["--front-end-root", frontend] if frontend else []
    server = start_comfyui(synthetic_models | models, arguments=arguments)
    server.upload_image(parts.left, "example.png")
    clip = Clip(frames=5, picture=lambda _: parts.left[:256, :300])
    server.upload_image(make(tmp_path_factory.mktemp("clip") / "example.mp4", clip), "example.mp4")
    server.post("/settings", SETTINGS)
    return server


@pytest.fixture
def graph(comfyui: ComfyUIServer) -> GraphBuilder:
    """An empty graph."""
    return GraphBuilder(comfyui)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    yield from launch("test-web")


@pytest.fixture(scope="session")
def opened_page(comfyui: ComfyUIServer, browser: Any) -> Iterator[ComfyUIPage]:
    page = ComfyUIPage(browser, comfyui)
    yield page
    page.close()


@pytest.fixture
def page(opened_page: ComfyUIPage) -> Iterator[ComfyUIPage]:
    """The page with an empty graph, in the classic renderer; fails if one of our scripts failed during the test."""
    opened_page.clear()
    yield opened_page
    assert opened_page.our_errors() == []

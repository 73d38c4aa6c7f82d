"""The page on a real server, in headless Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import pytest
import torch

from gpen.cli import main
from gpen.network.spec import Spec
from gpen.network.synthetic import SHARPEN, synthetic_weights
from tests.app.page import AppPage
from tests.chromium import launch, screenshots  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
SOLVAY = "Solvay_conference_1927.png"
YUNET = "face_detection_yunet_2023mar.onnx"
SMALL = Spec(64, 64, channel_multiplier=2, narrow=1 / 16, style_dim=16, n_mlp=2)

Serve = Callable[..., "Served"]

_RUN = """
import ast, sys
import gpen.app.server
from gpen.cli import main
from gpen.weights.catalog import find_published
gpen.app.server._MODEL_BYTES = int(sys.argv.pop(2))
for name, address in ast.literal_eval(sys.argv[1]).items():
    vars(find_published(name))["addresses"] = (address,)
sys.exit(main(sys.argv[2:]))
"""
"""The command, with other addresses in the catalogue."""


class Served:
    """A running `gpen app` at ``url``; ``log`` is its output so far.

    addresses: of published models, by name. most_model_bytes: the largest model that can be added.
    """

    def __init__(
        self, *arguments: object, home: Path, addresses: Mapping[str, str], most_model_bytes: int = 2 << 30
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GPEN_", "GRADIO_"))}
        self.home, self.temporary = home, home / "temporary"
        self.temporary.mkdir()
        environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(self.temporary)}
        environment |= {"PYTHONPATH": str(ROOT), "GRADIO_SHARE": "True"}
        self._log = home / "log.txt"
        call = [repr(dict(addresses)), str(most_model_bytes)]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _RUN, *call, "app", "--no-browser", *map(str, arguments)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 120
        while not (found := re.search(r"http://\S+", self.log)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"gpen app did not start: {self.log}")
            time.sleep(0.1)
        self.url = found[0]

    @property
    def log(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="session")
def serve_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts `gpen app` with arguments, until the tests end. The user's own files are out of its reach."""
    pytest.importorskip("gradio", reason="needs gradio: run make test-app")
    running: list[Served] = []

    def start(
        *arguments: object, addresses: Mapping[str, str] = MappingProxyType({}), most_model_bytes: int = 2 << 30
    ) -> Served:
        home = tmp_path_factory.mktemp("home")
        running.append(Served(*arguments, home=home, addresses=addresses, most_model_bytes=most_model_bytes))
        return running[-1]

    yield start
    for served in running:
        served.close()


@pytest.fixture(scope="session")
def weights(detector_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with networks that sharpen, pass through or swap colours, a broken file, and YuNet."""
    folder = tmp_path_factory.mktemp("weights")
    spec = Spec(512, 512, 2, 1 / 8)
    torch.save(synthetic_weights(spec, kernel=SHARPEN), folder / "GPEN-BFR-512.pth")
    torch.save(synthetic_weights(spec), folder / "passthrough.pth")
    torch.save(synthetic_weights(SMALL, kernel=SHARPEN), folder / "small.pth")
    torch.save(synthetic_weights(SMALL, color_matrix=((0, 1, 0), (0, 0, 1), (1, 0, 0))), folder / "small-colours.pth")
    (folder / "broken.pth").write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    (folder / YUNET).write_bytes((detector_weights / YUNET).read_bytes())
    return folder


@pytest.fixture(scope="session")
def app(serve_session: Serve, weights: Path) -> Served:
    """The page with models."""
    return serve_session("--models-path", weights, "--device", "cpu", "--max-upload-mb", 5)


@pytest.fixture(scope="session")
def portrait(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the Solvay photo, with 5 faces."""
    photo = cv2.imread(str(photos / SOLVAY))
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    cv2.imwrite(str(path), photo[:257, :301])
    return path


@pytest.fixture
def from_command(weights: Path, tmp_path: Path) -> Callable[..., bytes]:
    """The bytes that `gpen restore`, or another command, writes for a photo."""

    def run(photo: Path, *more: object, command: str = "restore") -> bytes:
        target = tmp_path / f"expected{photo.suffix}"
        arguments = [photo, "-o", target, "--models-path", weights, "--device", "cpu", "--overwrite", *more]
        assert main([command, *map(str, arguments)]) == 0
        return target.read_bytes()

    return run


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    yield from launch("test-app")


@pytest.fixture
def visit(app: Served, browser: Any) -> Iterator[Callable[[], AppPage]]:
    """Opens the page for another visitor. At the end, no script has failed, and no other host was contacted."""
    yield from visits(app, browser)


def visits(served: Served, browser: Any) -> Iterator[Callable[[], AppPage]]:
    """What :func:`visit` gives, for any server."""
    pages: list[AppPage] = []

    def open_page() -> AppPage:
        pages.append(AppPage(browser, served.url))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()
        assert page.errors == []
        assert [url for url in page.requests if not url.startswith((served.url, "data:", "blob:"))] == []


@pytest.fixture
def page(visit: Callable[[], AppPage]) -> AppPage:
    return visit()

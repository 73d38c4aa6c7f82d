"""Tasks other than restoring, in SD-WebUI Forge or a relative: the Extras panel and the API."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from gpen.faces.detection.detector import make_detector
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration.api import colorize, inpaint
from gpen.weights.checkpoint import load_model
from tests.hosts.comfyui.expected import faces_in
from tests.hosts.conftest import SPEC, Parts
from tests.hosts.webui.conftest import MakeClient
from tests.hosts.webui.host import WebUI
from tests.hosts.webui.pictures import Pixels, bytes_of, decoded, encoded, known_facts, run_panel

TINT = {"color_matrix": (0.8 * np.eye(3)).tolist(), "color_bias": (0.2, -0.05, -0.2)}
NAMES = {"colorize": "GPEN-Colorization-1024", "inpaint": "GPEN-Inpainting-1024", "synthesize": "GPEN-Seg2face-512"}


@pytest.fixture(autouse=True)
def float32(webui: WebUI) -> None:
    """As the expected results are computed; on some CPUs the default is bfloat16."""
    webui.opts.gpen_precision = "fp32"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tasks")
    result = {}
    for task, name in NAMES.items():
        result[task] = folder / f"{name}.safetensors"
        save_file(synthetic_weights(SPEC, **({} if task == "synthesize" else TINT)), result[task], {"task": task})
    return result


@pytest.fixture
def installed(webui: WebUI, files: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """A network for each task, in the host's folder."""
    folder = Path(webui.paths.models_path) / "GPEN"
    folder.mkdir(parents=True, exist_ok=True)
    copies = {task: folder / file.name for task, file in files.items()}
    for task, copy in copies.items():
        copy.write_bytes(files[task].read_bytes())
    yield copies
    for copy in copies.values():
        copy.unlink()


@pytest.fixture
def client(make_client: MakeClient, webui: WebUI) -> Any:
    return make_client(webui)


def run(webui: WebUI, pixels: Pixels, **arguments: Any) -> Any:
    return run_panel(webui, Image.fromarray(pixels), {"enable": True, **arguments})


@pytest.fixture
def colored(parts: Parts, files: dict[str, Path], detector_weights: Path) -> Pixels:
    """The left part, colorized by the package without a host."""
    model, detector = load_model(files["colorize"]), make_detector("yunet", [detector_weights])
    return bytes_of(colorize(parts.left.astype(np.float32) / 255, model, detector).photo)


@pytest.fixture
def hole(parts: Parts, detector_weights: Path) -> tuple[slice, slice]:
    """A hole in the middle of a face."""
    x, y = np.rint(faces_in(parts.left, detector_weights)[2].center).astype(int)
    return slice(y - 6, y + 6), slice(x - 6, x + 6)


@pytest.fixture
def filled(parts: Parts, files: dict[str, Path], detector_weights: Path, hole: tuple[slice, slice]) -> Any:
    damage = np.zeros(parts.left.shape[:2], np.float32)
    damage[hole] = 1
    model, detector = load_model(files["inpaint"]), make_detector("yunet", [detector_weights])
    return inpaint(parts.left.astype(np.float32) / 255, damage, model, detector, Options())


def test_the_panel_colorizes_with_the_installed_network(
    webui: WebUI, parts: Parts, installed: dict[str, Path], colored: Pixels
) -> None:
    # The setting applies to restoring only.
    webui.opts.gpen_model = "marker-256.safetensors"
    picture = run(webui, parts.left, task="colorize")
    assert np.array_equal(np.asarray(picture.image), colored)
    assert known_facts(picture) == {
        "Postprocess GPEN model": "GPEN-Colorization-1024.safetensors",
        "Postprocess GPEN mask": "ellipse",
        "Postprocess GPEN strength": 1.0,
        "Postprocess GPEN faces": 5,
        "Postprocess GPEN task": "colorize",
    }


def test_the_panel_colorizes_all_of_an_aligned_portrait(webui: WebUI, parts: Parts, installed: dict[str, Path]) -> None:
    square = parts.left[:200, :200]
    picture = np.asarray(run(webui, square, task="colorize", aligned=True).image).astype(int)
    middle = (square.mean(axis=2) > 60) & (square.mean(axis=2) < 180)
    assert (picture[..., 0] - picture[..., 2])[middle].min() > 10


def test_aligned_is_ignored_where_faces_are_looked_for(webui: WebUI, client: Any, parts: Parts) -> None:
    assert run(webui, parts.left, aligned=True).info["Postprocess GPEN faces"] == 5
    response = client.post("/gpen/restore", json={"image": encoded(parts.left), "aligned": True})
    assert response.json()["faces"] == 5


def test_the_panel_inpaints_what_is_transparent(
    webui: WebUI, parts: Parts, installed: dict[str, Path], hole: tuple[slice, slice], filled: Any
) -> None:
    alpha = np.full(parts.left.shape[:2], 255, np.uint8)
    alpha[hole] = 0
    alpha[-5:, -5:] = 9
    picture = run(webui, np.dstack([parts.left, alpha]), task="inpaint")
    result = np.asarray(picture.image)
    assert np.array_equal(result[..., :3][hole], bytes_of(filled.photo)[hole])
    assert (result[..., 3][hole] == 255).all()
    assert (result[-5:, -5:, 3] == 9).all()
    assert "of the damage lies outside the faces" in picture.info["Postprocess GPEN note"]


def test_a_picture_without_alpha_cannot_be_inpainted(webui: WebUI, parts: Parts, installed: dict[str, Path]) -> None:
    picture = run(webui, parts.left, task="inpaint")
    assert np.array_equal(np.asarray(picture.image), parts.left)
    reason = "SD.Next drops the transparency" if webui.name == "sdnext" else "This picture has no alpha channel"
    assert reason in picture.info["Postprocess GPEN error"]


@pytest.mark.parametrize("task", ["synthesize", "segmentation"])
def test_the_panel_makes_a_face_from_a_map(webui: WebUI, installed: dict[str, Path], task: str) -> None:
    """Settings and requests of earlier versions say "segmentation"."""
    labels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    picture = run(webui, labels, task=task)
    assert np.abs(np.asarray(picture.image).astype(int) - labels).max() <= 1
    assert picture.info["Postprocess GPEN task"] == "synthesize"


def test_a_network_for_another_task_is_refused(webui: WebUI, parts: Parts, installed: dict[str, Path]) -> None:
    model = "GPEN-Inpainting-1024.safetensors"
    picture = run(webui, parts.left, task="colorize", model=model)
    assert np.array_equal(np.asarray(picture.image), parts.left)
    error = picture.info["Postprocess GPEN error"]
    assert error.startswith(f"{model} is a GPEN 256 face inpainting network")
    assert "GPEN-Colorization-1024" in error


def test_a_missing_model_is_named(webui: WebUI, parts: Parts) -> None:
    picture = run(webui, parts.left, task="colorize")
    assert "gpen download GPEN-Colorization-1024" in picture.info["Postprocess GPEN error"]


def test_models_are_listed_by_task(webui: WebUI, client: Any, installed: dict[str, Path]) -> None:
    assert "GPEN-Colorization-1024.safetensors" not in webui.adapter.networks()
    listed = client.get("/gpen/models").json()
    for task, file in installed.items():
        assert file.name in listed["models_of_tasks"][task]
        assert file.name not in listed["models"]
    assert listed["models_of_tasks"]["segmentation"] == listed["models_of_tasks"]["synthesize"]


def test_the_api_colorizes(client: Any, parts: Parts, installed: dict[str, Path], colored: Pixels) -> None:
    response = client.post("/gpen/restore", json={"image": encoded(parts.left), "task": "colorize"})
    assert np.array_equal(decoded(response), colored)
    assert response.json()["summary"] == "5 faces colorized."
    # A grey file becomes RGB.
    of_grey = client.post("/gpen/restore", json={"image": encoded(parts.left[..., 0]), "task": "colorize"})
    assert decoded(of_grey).shape == parts.left.shape


def test_the_api_inpaints(
    client: Any, parts: Parts, installed: dict[str, Path], hole: tuple[slice, slice], filled: Any
) -> None:
    mask = np.zeros(parts.left.shape[:2], np.uint8)
    mask[hole] = 255
    values = {"image": encoded(parts.left), "task": "inpaint", "damage": encoded(mask)}
    response = client.post("/gpen/restore", json=values)
    assert np.array_equal(decoded(response), bytes_of(filled.photo))
    assert response.json()["faces"] == 1


@pytest.mark.parametrize("task", ["synthesize", "segmentation"])
def test_the_api_makes_a_face_from_a_map(client: Any, installed: dict[str, Path], task: str) -> None:
    labels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    result = decoded(client.post("/gpen/restore", json={"image": encoded(labels), "task": task}))
    assert np.abs(result.astype(int) - labels).max() <= 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "a mask is needed that is white"),
        ({"damage": "?"}, "not base64"),
        ({"damage": encoded(np.zeros((9, 9), np.uint8))}, "The mask of the damage is 9 x 9 pixels"),
        ({"damage": base64.b64encode(b"no picture").decode()}, "The mask of the damage"),
        (
            {"model": "GPEN-Colorization-1024.safetensors", "damage": encoded(np.zeros((9, 9), np.uint8))},
            "for the task",
        ),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    client: Any, parts: Parts, installed: dict[str, Path], change: dict[str, str], reason: str
) -> None:
    response = client.post("/gpen/restore", json={"image": encoded(parts.left), "task": "inpaint", **change})
    assert response.status_code == 422
    assert reason in response.json()["detail"]
    assert "/tmp" not in response.json()["detail"]


def test_without_its_model_the_identity_guard_is_off_and_logs_why(
    webui: WebUI, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    picture = run(webui, parts.left, identity_guard=0.3)
    assert picture.info["Postprocess GPEN faces"] == 5
    assert "The identity guard is off. arcface" in caplog.text

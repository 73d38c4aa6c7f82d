"""Colorizing, inpainting and segmentation maps in SD-WebUI Forge: the Extras panel and the API."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from gpen.faces.detection.detector import make_detector
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration.api import colorize, inpaint
from gpen.weights.checkpoint import load_model
from tests.hosts.comfyui.expected import faces_in
from tests.hosts.conftest import SPEC, Parts
from tests.hosts.webui.host import WebUI

Pixels = NDArray[np.uint8]
TINT = {"color_matrix": (0.8 * np.eye(3)).tolist(), "color_bias": (0.2, -0.05, -0.2)}
NAMES = {"colorize": "GPEN-Colorization-1024", "inpaint": "GPEN-Inpainting-1024", "segmentation": "GPEN-Seg2face-512"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tasks")
    result = {}
    for task, name in NAMES.items():
        result[task] = folder / f"{name}.safetensors"
        save_file(synthetic_weights(SPEC, **({} if task == "segmentation" else TINT)), result[task], {"task": task})
    return result


@pytest.fixture
def there(forge: WebUI, files: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """A network for each task lies in the host's folder."""
    folder = Path(forge.paths.models_path) / "GPEN"
    folder.mkdir(parents=True, exist_ok=True)
    copies = {task: folder / file.name for task, file in files.items()}
    for task, copy in copies.items():
        copy.write_bytes(files[task].read_bytes())
    yield copies
    for copy in copies.values():
        copy.unlink()


@pytest.fixture
def client(forge: WebUI) -> Any:
    app = importlib.import_module("fastapi").FastAPI()
    forge.script_callbacks.app_started_callback(None, app)
    return importlib.import_module("fastapi.testclient").TestClient(app)


def run(forge: WebUI, image: Image.Image, **arguments: Any) -> Any:
    runner = forge.scripts.scripts_postproc
    picture = forge.scripts_postprocessing.PostprocessedImage(image)
    runner.run(picture, runner.create_args_for_run({"GPEN": {"enable": True, **arguments}}))
    return picture


def bytes_of(photo: NDArray[np.float32]) -> Pixels:
    return np.rint(photo * 255).astype(np.uint8)


def encoded(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def decoded(answer: Any) -> Pixels:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["image"]))))


@pytest.fixture
def coloured(parts: Parts, files: dict[str, Path], detector_weights: Path) -> Pixels:
    """The left part, coloured by the package without any host."""
    model, detector = load_model(files["colorize"]), make_detector("yunet", [detector_weights])
    return bytes_of(colorize(parts.left.astype(np.float32) / 255, model, detector).photo)


@pytest.fixture
def hole(parts: Parts, detector_weights: Path) -> tuple[slice, slice]:
    """In the middle of one of the faces."""
    x, y = np.rint(faces_in(parts.left, detector_weights)[2].center).astype(int)
    return slice(y - 6, y + 6), slice(x - 6, x + 6)


@pytest.fixture
def filled(parts: Parts, files: dict[str, Path], detector_weights: Path, hole: tuple[slice, slice]) -> Any:
    damage = np.zeros(parts.left.shape[:2], np.float32)
    damage[hole] = 1
    model, detector = load_model(files["inpaint"]), make_detector("yunet", [detector_weights])
    return inpaint(parts.left.astype(np.float32) / 255, damage, model, detector, Options())


def test_the_panel_colours_with_the_network_that_is_there(
    forge: WebUI, parts: Parts, there: dict[str, Path], coloured: Pixels
) -> None:
    # The setting is about restoring, and stays so.
    forge.opts.gpen_model = "marker-256.safetensors"
    picture = run(forge, Image.fromarray(parts.left), task="colorize")
    assert np.array_equal(np.asarray(picture.image), coloured)
    assert {name: value for name, value in picture.info.items() if value is not None} == {
        "Postprocess GPEN model": "GPEN-Colorization-1024.safetensors",
        "Postprocess GPEN strength": 1.0,
        "Postprocess GPEN faces": 5,
        "Postprocess GPEN task": "colorize",
    }


def test_the_panel_colours_an_aligned_portrait_whole(forge: WebUI, parts: Parts, there: dict[str, Path]) -> None:
    square = parts.left[:200, :200]
    picture = np.asarray(run(forge, Image.fromarray(square), task="colorize", aligned=True).image).astype(int)
    middle = (square.mean(axis=2) > 60) & (square.mean(axis=2) < 180)
    assert (picture[..., 0] - picture[..., 2])[middle].min() > 10


def test_the_panel_fills_in_what_is_transparent(
    forge: WebUI, parts: Parts, there: dict[str, Path], hole: tuple[slice, slice], filled: Any
) -> None:
    alpha = np.full(parts.left.shape[:2], 255, np.uint8)
    alpha[hole] = 0
    alpha[-5:, -5:] = 9
    picture = run(forge, Image.fromarray(np.dstack([parts.left, alpha]), "RGBA"), task="inpaint")
    made = np.asarray(picture.image)
    assert np.array_equal(made[..., :3][hole], bytes_of(filled.photo)[hole])
    assert (made[..., 3][hole] == 255).all()
    assert (made[-5:, -5:, 3] == 9).all()
    assert "of the damage lies outside of the faces" in picture.info["Postprocess GPEN note"]


def test_without_alpha_nothing_can_be_filled_in(forge: WebUI, parts: Parts, there: dict[str, Path]) -> None:
    picture = run(forge, Image.fromarray(parts.left), task="inpaint")
    assert np.array_equal(np.asarray(picture.image), parts.left)
    assert "this one has no alpha channel" in picture.info["Postprocess GPEN error"]


def test_the_panel_makes_a_face_of_a_map(forge: WebUI, there: dict[str, Path]) -> None:
    labels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    picture = run(forge, Image.fromarray(labels), task="segmentation")
    assert np.abs(np.asarray(picture.image).astype(int) - labels).max() <= 1


def test_wrong_weights_are_refused_with_both_names(forge: WebUI, parts: Parts, there: dict[str, Path]) -> None:
    model = "GPEN-Inpainting-1024.safetensors"
    picture = run(forge, Image.fromarray(parts.left), task="colorize", model=model)
    assert np.array_equal(np.asarray(picture.image), parts.left)
    error = picture.info["Postprocess GPEN error"]
    assert error.startswith(f"{model} is a GPEN 256 face inpainting network")
    assert "GPEN-Colorization-1024" in error


def test_without_weights_the_error_names_what_to_get(forge: WebUI, parts: Parts) -> None:
    picture = run(forge, Image.fromarray(parts.left), task="colorize")
    assert "gpen download GPEN-Colorization-1024" in picture.info["Postprocess GPEN error"]


def test_models_of_each_task_are_listed_for_it(forge: WebUI, client: Any, there: dict[str, Path]) -> None:
    assert "GPEN-Colorization-1024.safetensors" not in forge.adapter.networks()
    listed = client.get("/gpen/models").json()
    for task, file in there.items():
        assert file.name in listed["models_of_tasks"][task]
        assert file.name not in listed["models"]


def test_the_api_colours(client: Any, parts: Parts, there: dict[str, Path], coloured: Pixels) -> None:
    answer = client.post("/gpen/restore", json={"image": encoded(parts.left), "task": "colorize"})
    assert np.array_equal(decoded(answer), coloured)
    assert answer.json()["summary"] == "5 faces colorized."
    # A file with one channel comes back with three.
    of_grey = client.post("/gpen/restore", json={"image": encoded(parts.left[..., 0]), "task": "colorize"})
    assert decoded(of_grey).shape == parts.left.shape


def test_the_api_fills_in_damage(
    client: Any, parts: Parts, there: dict[str, Path], hole: tuple[slice, slice], filled: Any
) -> None:
    mask = np.zeros(parts.left.shape[:2], np.uint8)
    mask[hole] = 255
    values = {"image": encoded(parts.left), "task": "inpaint", "damage": encoded(mask)}
    answer = client.post("/gpen/restore", json=values)
    assert np.array_equal(decoded(answer), bytes_of(filled.photo))
    assert answer.json()["faces"] == 1


def test_the_api_makes_a_face_of_a_map(client: Any, there: dict[str, Path]) -> None:
    labels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    made = decoded(client.post("/gpen/restore", json={"image": encoded(labels), "task": "segmentation"}))
    assert np.abs(made.astype(int) - labels).max() <= 1


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_what_is_wrong_is_said(
    client: Any, parts: Parts, there: dict[str, Path], change: dict[str, str], said: str
) -> None:
    answer = client.post("/gpen/restore", json={"image": encoded(parts.left), "task": "inpaint", **change})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert "/tmp" not in answer.json()["detail"]


def test_without_its_weights_the_identity_guard_is_off_and_says_so(
    forge: WebUI, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    picture = run(forge, Image.fromarray(parts.left), identity_guard=0.3)
    assert picture.info["Postprocess GPEN faces"] == 5
    assert "The identity guard is off. arcface" in caplog.text

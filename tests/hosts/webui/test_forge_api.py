"""GPEN's routes of the API, in SD-WebUI Forge on a real FastAPI app."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gpen.faces.detection.detector import make_detector
from gpen.options import OPTIONS, Options
from gpen.restoration.api import restore
from gpen.weights.checkpoint import load_model
from tests.hosts.conftest import Parts
from tests.hosts.webui.host import WebUI

MakeClient = Callable[..., Any]


@pytest.fixture
def make_client(forge: WebUI) -> MakeClient:
    """A client of an app that the host has just started, with other flags where some are given."""
    fastapi = importlib.import_module("fastapi")
    testclient = importlib.import_module("fastapi.testclient")

    def make(**flags: Any) -> Any:
        vars(forge.shared.cmd_opts).update(flags)
        app = fastapi.FastAPI()
        forge.script_callbacks.app_started_callback(None, app)
        return testclient.TestClient(app)

    return make


@pytest.fixture
def client(make_client: MakeClient) -> Any:
    return make_client()


def encoded(pixels: NDArray[np.uint8], form: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return base64.b64encode(buffer.getvalue()).decode()


def decoded(answer: Any) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(base64.b64decode(answer.json()["image"])))
    assert picture.format == "PNG"
    return np.asarray(picture)


def test_models_are_those_that_can_be_chosen(client: Any, forge: WebUI) -> None:
    forge.opts.gpen_model = "marker-256.safetensors"
    answer = client.get("/gpen/models").json()
    assert answer["models"][:2] == ["auto", "GPEN-BFR-256.safetensors"]
    assert "marker-256.safetensors" in answer["models"]
    assert answer["default"] == "marker-256.safetensors"


def test_restores_with_options_by_name(
    client: Any, parts: Parts, made_models: dict[str, Path], detector_weights: Path
) -> None:
    options = {"strength": 0.5, "upscale": 2.0, "only_faces": "1-3", "mask": "box"}
    answer = client.post(
        "/gpen/restore", json={"image": encoded(parts.left), "model": "marker-256.safetensors"} | options
    )
    model = load_model(made_models["facerestore_models/marker-256.safetensors"])
    detector = make_detector("yunet", [detector_weights])
    expected = restore(parts.left.astype(np.float32) / 255, model, detector, Options(**options))
    assert np.array_equal(decoded(answer), np.rint(expected.photo * 255).astype(np.uint8))
    assert answer.json()["faces"] == 3
    assert answer.json()["summary"] == expected.summary == "3 faces restored, 2 left as they were."


def test_a_data_url_will_do_and_settings_count(client: Any, forge: WebUI, parts: Parts) -> None:
    forge.opts.gpen_strength = 0.0
    answer = client.post("/gpen/restore", json={"image": "data:image/png;base64," + encoded(parts.left)})
    assert np.array_equal(decoded(answer), parts.left)
    assert answer.json()["faces"] == 5


def test_alpha_is_kept(client: Any, parts: Parts) -> None:
    alpha = np.linspace(0, 255, parts.left.size // 3).astype(np.uint8).reshape(parts.left.shape[:2])
    result = decoded(client.post("/gpen/restore", json={"image": encoded(np.dstack([parts.left, alpha]))}))
    assert result.shape[2] == 4
    assert np.array_equal(result[..., 3], alpha)


def test_without_a_face_the_picture_comes_back(client: Any, parts: Parts) -> None:
    answer = client.post("/gpen/restore", json={"image": encoded(parts.nobody)})
    assert np.array_equal(decoded(answer), parts.nobody)
    assert answer.json() | {"image": ""} == {
        "image": "",
        "faces": 0,
        "summary": "No face was found; the photograph is unchanged.",
    }


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"image": "not base64!"}, 422, "not base64"),
        ({"image": "aGVsbG8="}, 422, "The image is not a picture"),
        ({"image": ""}, 422, "The image"),
        ({"strength": 1.5}, 422, "less than or equal to 1"),
        ({"strength": "much"}, 422, "valid number"),
        ({"mask": "circle"}, 422, "'ellipse'"),
        ({"only_faces": "first"}, 422, "first"),
        ({"max_megapixels": 0.1, "upscale": 4.0}, 422, "megapixels"),
        ({"model": "nothing.pth"}, 404, "'nothing.pth'. GET /gpen/models lists"),
        ({"model": "/etc/hostname"}, 404, "GET /gpen/models lists"),
        ({"detector": "retinaface_resnet50"}, 404, "is not on this computer"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(
    client: Any, parts: Parts, change: dict[str, Any], status: int, sentence: str
) -> None:
    answer = client.post("/gpen/restore", json={"image": encoded(parts.left)} | change)
    assert answer.status_code == status
    assert sentence in answer.text
    assert "/tmp/" not in answer.text or status == 404


def test_without_a_picture_the_field_is_named(client: Any) -> None:
    answer = client.post("/gpen/restore", json={"strength": 0.5})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "image"]


def test_too_large_a_picture_is_refused(client: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    text = encoded(parts.left)
    monkeypatch.setattr(importlib.import_module("gpen_hosts.webui_api"), "MOST_CHARACTERS", len(text) - 1)
    answer = client.post("/gpen/restore", json={"image": text})
    assert answer.status_code == 413
    assert "MB" in answer.json()["detail"]


def test_the_host_s_authentication_counts(make_client: MakeClient, parts: Parts) -> None:
    client = make_client(api_auth="ann:one,bob:two")
    for auth in (None, ("ann", "two"), ("eve", "one"), ("", "")):
        for answer in (
            client.get("/gpen/models", auth=auth),
            client.post("/gpen/restore", json={"image": "x"}, auth=auth),
        ):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Basic"
    for auth in (("ann", "one"), ("bob", "two")):
        assert client.get("/gpen/models", auth=auth).status_code == 200
    answer = client.post("/gpen/restore", json={"image": encoded(parts.nobody)}, auth=("bob", "two"))
    assert answer.status_code == 200


def test_routes_are_there_with_the_flags_of_the_api_alone(make_client: MakeClient) -> None:
    assert make_client(api=False, nowebui=False).get("/gpen/models").status_code == 404
    assert make_client(api=False, nowebui=True).get("/gpen/models").status_code == 200
    assert make_client(api=True, nowebui=False).get("/gpen/models").status_code == 200


def test_the_host_s_docs_describe_them(client: Any) -> None:
    described = client.get("/openapi.json").json()
    assert "Restore the faces" in described["paths"]["/gpen/restore"]["post"]["description"]
    assert "get" in described["paths"]["/gpen/models"]
    fields = described["components"]["schemas"]["GpenRestoreRequest"]["properties"]
    assert set(fields) == {"image", "task", "model", "damage", "aligned", *OPTIONS} - {"video"}
    for name, option in [(name, OPTIONS[name]) for name in OPTIONS if name in fields]:
        assert option.help in fields[name]["description"]
        [kind] = [kind for kind in fields[name]["anyOf"] if kind != {"type": "null"}]
        if option.choices:
            assert kind["enum"] == list(option.choices)
        if option.minimum is not None:
            assert (kind["minimum"], kind["maximum"]) == (option.minimum, option.maximum)


def test_works_in_the_host_s_queue_as_a_job_of_its_own(
    client: Any, forge: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = importlib.import_module("gpen_hosts.webui_api")
    seen: list[tuple[bool, str, bool]] = []

    class Lock:
        held = False

        def __enter__(self) -> None:
            self.held = True

        def __exit__(self, *_: object) -> None:
            self.held = False

    lock = Lock()
    original = forge.adapter.run

    def watched(*given: Any, **more: Any) -> Any:
        seen.append((lock.held, forge.state.job, forge.state.interrupted))
        return original(*given, **more)

    assert api.queue_lock is forge.call_queue.queue_lock
    monkeypatch.setattr(api, "queue_lock", lock)
    monkeypatch.setattr(forge.adapter, "run", watched)
    # Left behind by the button, pressed during another job.
    forge.state.interrupted = True
    answer = client.post("/gpen/restore", json={"image": encoded(parts.left)})
    assert answer.json()["faces"] == 5
    assert seen == [(True, "gpen", False)]
    assert not lock.held
    assert forge.state.job == ""


def test_without_the_settings_page_defaults_count(client: Any, forge: WebUI, parts: Parts) -> None:
    for name in [name for name in forge.opts.data if name.startswith("gpen_")]:
        del forge.opts.data[name], forge.opts.data_labels[name]
    assert client.get("/gpen/models").json()["default"] == "auto"
    assert client.post("/gpen/restore", json={"image": encoded(parts.left)}).json()["faces"] == 5

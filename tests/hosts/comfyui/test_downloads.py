"""The routes by which ComfyUI's page downloads models, on a real server and from a server on this machine."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.comfyui.first_use import DETECTOR, FILES, NETWORK, start_without_models
from tests.hosts.comfyui.graphs import GraphBuilder
from tests.hosts.comfyui.server import ComfyUIServer, PromptError
from tests.hosts.conftest import Parts
from tests.weights.conftest import Site

JSON = {"Content-Type": "application/json"}
BOTH = {"names": [NETWORK, DETECTOR], "accepted": True}


@pytest.fixture(scope="module")
def site(synthetic_models: dict[str, Path]) -> Iterator[Site]:
    """Serves a network and YuNet."""
    site = Site()
    site.add("/network", synthetic_models["facerestore_models/marker-256.safetensors"].read_bytes())
    site.add("/detector", synthetic_models[FILES[DETECTOR]].read_bytes())
    yield site
    site.close()


@pytest.fixture(scope="module")
def empty(start_comfyui: Callable[..., ComfyUIServer], site: Site) -> ComfyUIServer:
    """A server without models. Its 512 is a safetensors file."""
    network = {"addresses": (site.url("/network"),), "saved_as": "GPEN-BFR-512.safetensors"}
    changes = {
        NETWORK: network,
        DETECTOR: {"addresses": (site.url("/detector"),)},
        "sface": {"addresses": (site.url("/detector"),), "size": None},
        "arcface": {"addresses": (site.url("/lost"),)},
    }
    return start_without_models(start_comfyui, changes)


def asked(server: ComfyUIServer, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    """The status of the answer to a POST request, and the answer."""
    request = urllib.request.Request(server.url + path, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text else None


def started(server: ComfyUIServer, values: object) -> tuple[int, Any]:
    return asked(server, "/gpen/downloads", json.dumps(values).encode(), JSON)


def ended(server: ComfyUIServer) -> dict[str, dict[str, Any]]:
    """The downloads, by name, once none is active."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        states = json.loads(server.get("/gpen/downloads"))["downloads"]
        if not any(state["state"] in ("waiting", "running") for state in states):
            return {state["name"]: state for state in states}
        time.sleep(0.05)
    raise TimeoutError


def catalogue(server: ComfyUIServer) -> dict[str, Any]:
    return dict(json.loads(server.get("/api/gpen/models")))


def model_files(server: ComfyUIServer) -> list[str]:
    models = server.base_dir / "models"
    return sorted(str(file.relative_to(models)) for file in models.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (json.dumps(BOTH), JSON | {"Origin": "http://evil.example"}, 403, None),
        # Newer servers refuse it themselves.
        (json.dumps(BOTH), JSON | {"Sec-Fetch-Site": "cross-site"}, 403, None),
        (json.dumps(BOTH), JSON | {"Sec-Fetch-Site": "same-site"}, 403, "another site"),
        (json.dumps(BOTH), {"Content-Type": "text/plain"}, 415, "application/json"),
        (json.dumps(BOTH), {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ("{", JSON, 400, "JSON object"),
        ("[]", JSON, 400, "JSON object"),
        ("{}", JSON, 400, "names"),
        (json.dumps(BOTH | {"names": NETWORK}), JSON, 400, "names"),
        (json.dumps(BOTH | {"names": [1]}), JSON, 400, "names"),
        (json.dumps(BOTH | {"names": []}), JSON, 400, "No model was chosen"),
        (json.dumps(BOTH | {"names": ["http://127.0.0.1/x.pth"]}), JSON, 400, "No published model"),
        (json.dumps(BOTH | {"names": ["../../x.pth"]}), JSON, 400, "No published model"),
        (json.dumps(BOTH | {"accepted": False}), JSON, 400, "Accept the terms"),
        (json.dumps(BOTH | {"accepted": "true"}), JSON, 400, "Accept the terms"),
        (json.dumps({"names": [NETWORK]}), JSON, 400, "Accept the terms"),
    ],
)
def test_refused_requests(
    empty: ComfyUIServer, site: Site, body: str, headers: dict[str, str], status: int, message: str | None
) -> None:
    before = len(site.requests)
    code, answer = asked(empty, "/gpen/downloads", body.encode(), headers)
    assert code == status
    assert message is None or message in answer["error"]
    assert json.loads(empty.get("/gpen/downloads")) == {"downloads": []}
    assert len(site.requests) == before
    assert model_files(empty) == []


def test_nothing_is_downloaded_by_get(empty: ComfyUIServer) -> None:
    empty.get("/gpen/downloads", names=NETWORK, accepted="true")
    assert json.loads(empty.get("/gpen/downloads")) == {"downloads": []}
    for path in ("/gpen/downloads/stop", "/gpen/models/download"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            empty.get(path)
        assert refused.value.code in (404, 405)


def test_stop_needs_json_too(empty: ComfyUIServer) -> None:
    assert asked(empty, "/gpen/downloads/stop", b"{}", {"Content-Type": "text/plain"})[0] == 415
    assert asked(empty, "/gpen/downloads/stop", b"{}", JSON) == (200, {"downloads": []})


def test_from_nothing_to_a_restored_photo(empty: ComfyUIServer, site: Site, parts: Parts) -> None:
    """Last, as it fills the folders."""
    before = catalogue(empty)
    assert before["problem"] == ""
    assert before["missing"] == [NETWORK, DETECTOR]
    offered = {model["name"]: model for model in before["models"]}
    assert not any(model["here"] for model in offered.values())
    assert "non-commercial" in offered[NETWORK]["licence"]
    assert (offered[NETWORK]["size"], offered[DETECTOR]["size"]) == (284_022_236, 232_589)

    def restored() -> Any:
        graph = GraphBuilder(empty)
        model = graph.add("GPENLoadModel", model_name="GPEN-BFR-512.safetensors")
        photo = graph.photo(parts.left, "left.png")
        return graph, graph.show(graph.add("GPENRestoreFaces", image=photo, model=model))

    with pytest.raises(PromptError, match="click Download on GPEN Load Model"):
        restored()[0].run()

    gate = site.resources["/network"].gate = threading.Event()
    status, answer = started(empty, BOTH)
    assert status == 200
    assert [download["name"] for download in answer["downloads"]] == [NETWORK, DETECTOR]
    assert started(empty, BOTH)[0] == 200
    gate.set()
    states = ended(empty)
    assert {name: state["state"] for name, state in states.items()} == {NETWORK: "done", DETECTOR: "done"}
    assert [request.path for request in site.requests] == ["/network", "/detector"]
    assert model_files(empty) == [FILES[DETECTOR], "facerestore_models/GPEN-BFR-512.safetensors"]
    assert catalogue(empty)["missing"] == []
    assert empty.object_info("GPENLoadModel")["input"]["required"]["model_name"][1]["options"] == [
        "GPEN-BFR-512.safetensors"
    ]
    graph, shown = restored()
    restored_photo = graph.run().outputs[shown.id]
    assert restored_photo["images"]
    # One with other contents than the catalogue says, and one that is nowhere.
    started(empty, {"names": ["sface", "arcface"], "accepted": True})
    failed = ended(empty)
    assert "damaged or different" in failed["sface"]["error"]
    assert "404" in failed["arcface"]["error"]
    assert len(model_files(empty)) == 2


def test_switched_off(start_comfyui: Callable[..., ComfyUIServer], site: Site) -> None:
    changes = {NETWORK: {"addresses": (site.url("/network"),)}}
    server = start_without_models(start_comfyui, changes, environment={"GPEN_NO_DOWNLOADS": "1"})
    before = len(site.requests)
    sentence = catalogue(server)["problem"]
    assert "GPEN_NO_DOWNLOADS" in sentence
    assert started(server, BOTH) == (403, {"error": sentence})
    assert ended(server) == {}
    assert len(site.requests) == before
    assert model_files(server) == []
    assert "click Download" not in server.object_info("GPENLoadModel")["input"]["required"]["model_name"][1]["tooltip"]

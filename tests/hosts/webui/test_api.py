"""The API's routes in SD-WebUI Forge or a relative, on a real FastAPI app."""

from __future__ import annotations

import base64
import importlib
import io
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from gpen.options import OPTIONS
from tests.hosts.conftest import Parts
from tests.hosts.webui.conftest import MakeClient, Reference
from tests.hosts.webui.host import WebUI
from tests.hosts.webui.pictures import bytes_of, decoded, encoded
from tests.images.made_formats import heic
from tests.profiles import SRGB, converted, rgb_profile


@pytest.fixture
def client(make_client: MakeClient, webui: WebUI) -> Any:
    return make_client(webui)


def test_the_installed_models_are_listed(client: Any, webui: WebUI) -> None:
    webui.opts.gpen_model = "marker-256.safetensors"
    response = client.get("/gpen/models").json()
    assert response["models"][:2] == ["auto", "GPEN-BFR-256.safetensors"]
    assert "marker-256.safetensors" in response["models"]
    assert response["default"] == "marker-256.safetensors"


def test_restores_with_options_by_name(client: Any, parts: Parts, reference: Reference) -> None:
    options = {"strength": 0.5, "upscale": 2.0, "only_faces": "1-3", "mask": "box"}
    response = client.post(
        "/gpen/restore", json={"image": encoded(parts.left), "model": "marker-256.safetensors"} | options
    )
    expected = reference(parts.left, **options)
    assert np.array_equal(decoded(response), bytes_of(expected.photo))
    assert response.json()["faces"] == 3
    assert response.json()["summary"] == expected.summary == "3 faces restored, 2 skipped."


@pytest.mark.parametrize(("sent", "method"), [(True, "lab"), (False, "none"), ("wavelet", "wavelet")])
def test_matching_colours_may_still_be_yes_or_no(
    client: Any, parts: Parts, reference: Reference, sent: bool | str, method: str
) -> None:
    request = {"image": encoded(parts.left), "model": "marker-256.safetensors", "color_match": sent}
    result = decoded(client.post("/gpen/restore", json=request))
    assert np.array_equal(result, bytes_of(reference(parts.left, color_match=method).photo))


def test_a_data_url_is_accepted_and_settings_apply(client: Any, webui: WebUI, parts: Parts) -> None:
    webui.opts.gpen_strength = 0.0
    response = client.post("/gpen/restore", json={"image": "data:image/png;base64," + encoded(parts.left)})
    assert np.array_equal(decoded(response), parts.left)
    assert response.json()["faces"] == 5


def test_alpha_is_kept(client: Any, parts: Parts) -> None:
    alpha = np.linspace(0, 255, parts.left.size // 3).astype(np.uint8).reshape(parts.left.shape[:2])
    result = decoded(client.post("/gpen/restore", json={"image": encoded(np.dstack([parts.left, alpha]))}))
    assert result.shape[2] == 4
    assert np.array_equal(result[..., 3], alpha)


def test_what_is_left_out_of_a_file_is_said(client: Any, parts: Parts) -> None:
    file = io.BytesIO()
    Image.fromarray(parts.left).save(file, "JPEG")
    image = base64.b64encode(file.getvalue() * 2).decode()
    response = client.post("/gpen/restore", json={"image": image})
    assert response.json()["summary"].endswith(" 1 further picture in its file is left out.")


def test_heic_is_read(client: Any, parts: Parts, reference: Reference) -> None:
    image = base64.b64encode(heic(parts.left)).decode()
    response = client.post("/gpen/restore", json={"image": image, "model": "marker-256.safetensors"})
    assert np.array_equal(decoded(response), bytes_of(reference(parts.left).photo))


def test_a_missing_package_is_named(client: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    image = base64.b64encode(heic(parts.left)).decode()
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    response = client.post("/gpen/restore", json={"image": image})
    assert response.status_code == 422
    assert response.json()["detail"] == (
        'The image is an HEIC picture; install pi-heif (pip install "gpen-face-restore[heif]") to read it.'
    )


def test_a_wide_photo_keeps_its_profile_and_its_pixels(client: Any, parts: Parts, reference: Reference) -> None:
    icc = rgb_profile("ProPhoto")
    wide = converted(parts.left, SRGB, icc)
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG", icc_profile=icc)
    image = base64.b64encode(buffer.getvalue()).decode()
    response = client.post("/gpen/restore", json={"image": image, "model": "marker-256.safetensors"})
    result = Image.open(io.BytesIO(base64.b64decode(response.json()["image"])))
    assert result.info["icc_profile"] == icc
    expected = reference(parts.left)
    # The faces that are found in photos that differ by a level may differ by a pixel.
    kept = cv2.dilate(expected.mask, np.ones((15, 15))) == 0
    assert np.array_equal(np.asarray(result)[kept], wide[kept])
    seen = converted(np.asarray(result), icc, SRGB)
    assert np.abs(seen.astype(int) - bytes_of(expected.photo)).mean() < 2


def test_without_a_face_the_picture_is_unchanged(client: Any, parts: Parts) -> None:
    response = client.post("/gpen/restore", json={"image": encoded(parts.nobody)})
    assert np.array_equal(decoded(response), parts.nobody)
    assert response.json() | {"image": ""} == {
        "image": "",
        "faces": 0,
        "summary": "No face was found; the photo is unchanged.",
    }


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"image": "not base64!"}, 422, "The image is not base64"),
        ({"image": "aGVsbG8="}, 422, "The image is not a picture"),
        ({"image": ""}, 422, "The image"),
        ({"strength": 1.5}, 422, "less than or equal to 1"),
        ({"strength": "much"}, 422, "a valid "),  # number, or in pydantic 1 float
        ({"mask": "circle"}, 422, "'ellipse'"),
        ({"only_faces": "first"}, 422, "first"),
        ({"max_megapixels": 0.1, "upscale": 4.0}, 422, "megapixels"),
        ({"max_megapixels": 201}, 422, "at most 200 are allowed here"),
        ({"protect": "not base64!"}, 422, "The mask of what is protected is not base64"),
        ({"protect": "aGVsbG8="}, 422, "The mask of what is protected is not a picture"),
        ({"protect": encoded(np.zeros((9, 8), np.uint8))}, 422, "The mask of what is protected is 8 x 9 pixels"),
        ({"person": ["not base64!"]}, 422, "Photo 1 of a person is not base64"),
        ({"model": "nothing.pth"}, 404, "'nothing.pth'. GET /gpen/models lists"),
        ({"model": "/etc/hostname"}, 404, "GET /gpen/models lists"),
        ({"detector": "retinaface_resnet50"}, 404, "is not on this computer"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    client: Any, webui: WebUI, parts: Parts, change: dict[str, Any], status: int, sentence: str
) -> None:
    response = client.post("/gpen/restore", json={"image": encoded(parts.left)} | change)
    assert response.status_code == status
    assert sentence in response.text
    assert str(webui.data) not in response.text
    assert "/tmp/" not in response.text
    assert str(Path.home()) not in response.text


@pytest.mark.parametrize("task", ["restore", "synthesize"])
def test_what_is_protected_stays(client: Any, parts: Parts, task: str) -> None:
    square = np.ascontiguousarray(parts.left[:257, :257])
    mask = np.zeros(square.shape[:2], np.uint8)
    mask[:, :128] = 255
    request = {"image": encoded(square), "task": task, "model": "marker-256.safetensors"}
    free, kept = (
        decoded(client.post("/gpen/restore", json=request | more)) for more in ({}, {"protect": encoded(mask)})
    )
    if task == "synthesize":  # a new picture, in which nothing is kept
        assert np.array_equal(free, kept)
        return
    assert np.array_equal(kept[:, :128], square[:, :128])
    assert not np.array_equal(free[:, :128], square[:, :128])
    assert np.array_equal(kept[:, 136:], free[:, 136:])
    assert not np.array_equal(kept[:, 136:], square[:, 136:])


def test_without_an_image_the_missing_field_is_named(client: Any) -> None:
    response = client.post("/gpen/restore", json={"strength": 0.5})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "image"]


def test_too_large_a_picture_is_refused(client: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    text = encoded(parts.left)
    monkeypatch.setattr(importlib.import_module("gpen_hosts.webui.api"), "MOST_CHARACTERS", len(text) - 1)
    response = client.post("/gpen/restore", json={"image": text})
    assert response.status_code == 413
    assert "MB" in response.json()["detail"]
    half = text[: len(text) // 2]
    assert client.post("/gpen/restore", json={"image": half, "person": [half, half]}).status_code == 413


def test_the_host_s_authentication_is_required(webui: WebUI, make_client: MakeClient, parts: Parts) -> None:
    webui.shared.cmd_opts.api_auth = "ann:one,bob:two"
    client = make_client(webui)
    for auth in (None, ("ann", "two"), ("eve", "one"), ("", "")):
        for response in (
            client.get("/gpen/models", auth=auth),
            client.post("/gpen/restore", json={"image": "x"}, auth=auth),
        ):
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Basic"
    for auth in (("ann", "one"), ("bob", "two")):
        assert client.get("/gpen/models", auth=auth).status_code == 200
    response = client.post("/gpen/restore", json={"image": encoded(parts.nobody)}, auth=("bob", "two"))
    assert response.status_code == 200


@pytest.mark.parametrize(("api", "nowebui", "status"), [(False, False, 404), (False, True, 200), (True, False, 200)])
def test_the_routes_exist_only_with_the_api_s_flags(
    webui: WebUI, make_client: MakeClient, api: bool, nowebui: bool, status: int
) -> None:
    vars(webui.shared.cmd_opts).update(api=api, nowebui=nowebui)
    assert make_client(webui).get("/gpen/models").status_code == status


def test_the_host_s_docs_describe_the_routes(client: Any) -> None:
    described = client.get("/openapi.json").json()
    assert "Restore the faces" in described["paths"]["/gpen/restore"]["post"]["description"]
    assert "get" in described["paths"]["/gpen/models"]
    fields = described["components"]["schemas"]["GpenRestoreRequest"]["properties"]
    assert set(fields) == {"image", "task", "model", "damage", "protect", "person", "aligned", *OPTIONS} - {
        "video",
        "texture",
    }
    for name, option in [(name, OPTIONS[name]) for name in OPTIONS if name in fields]:
        assert option.help in fields[name]["description"]
        # Under pydantic 1 what may be missing has no kind "null".
        kinds = fields[name].get("anyOf", [fields[name]])
        kind, *others = [kind for kind in kinds if kind != {"type": "null"}]
        assert others == ([{"type": "boolean"}] if option.switch else [])
        if option.choices:
            assert kind["enum"] == list(option.choices)
        if option.minimum is not None:
            assert (kind["minimum"], kind["maximum"]) == (option.minimum, option.maximum)


def test_runs_in_the_host_s_queue_as_a_job_of_its_own(
    client: Any, webui: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = importlib.import_module("gpen_hosts.webui.api")
    seen: list[tuple[bool, str, bool]] = []
    working: dict[str, bool] = {}

    class Lock:
        held = False

        def __enter__(self) -> None:
            self.held = True

        def __exit__(self, *_: object) -> None:
            self.held = False

    lock = Lock()
    engine = webui.adapter.engine
    original = engine.run

    def watched(*arguments: Any) -> Any:
        seen.append((lock.held, webui.state.job, webui.state.interrupted))
        return original(*arguments)

    assert api.queue_lock is webui.call_queue.queue_lock
    monkeypatch.setattr(api, "queue_lock", lock)
    monkeypatch.setattr(engine, "run", watched)

    def note(name: str) -> None:
        really = getattr(api, name)

        def noted(*arguments: Any, **more: Any) -> Any:
            working[name] = lock.held
            return really(*arguments, **more)

        monkeypatch.setattr(api, name, noted)

    for step in ("_decoded", "read_picture", "finish", "write_picture"):
        note(step)
    # Left over from another job.
    webui.state.interrupted = True
    response = client.post("/gpen/restore", json={"image": encoded(parts.left)})
    assert response.json()["faces"] == 5
    assert seen == [(True, "gpen", False)]
    assert working == dict.fromkeys(("_decoded", "read_picture", "finish", "write_picture"), True)
    assert not lock.held
    assert webui.state.job == ""


def test_without_the_settings_page_defaults_apply(client: Any, webui: WebUI, parts: Parts) -> None:
    for name in [name for name in webui.opts.data if name.startswith("gpen_")]:
        del webui.opts.data[name], webui.opts.data_labels[name]
    assert client.get("/gpen/models").json()["default"] == "auto"
    assert client.post("/gpen/restore", json={"image": encoded(parts.left)}).json()["faces"] == 5


def test_fifty_requests_at_once_are_worked_on_one_by_one(
    client: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = importlib.import_module("gpen_hosts.webui.api")
    large = encoded(np.tile(parts.left, (4, 4, 1)))
    bad = ["not base64!", "aGVsbG8=", "", large[: len(large) // 2]]
    now, most = 0, 0
    guard = threading.Lock()

    def restored(*arguments: Any, really: Any = api._restored) -> Any:
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        try:
            return really(*arguments)
        finally:
            with guard:
                now -= 1

    monkeypatch.setattr(api, "_restored", restored)

    good = {5: parts.left}

    def call(number: int) -> tuple[int, int]:
        image = bad[number // 2 % len(bad)] if number % 2 == 0 else encoded(good.get(number % 10, parts.nobody))
        request = {"image": image, "only_faces": "0", "model": "marker-256.safetensors"}
        response = client.post("/gpen/restore", json=request)
        return response.status_code, response.json().get("faces", 0)

    with ThreadPoolExecutor(10) as callers:
        answers = list(callers.map(call, range(50)))
    expected = [(422, 0), (200, 0), (422, 0), (200, 0), (422, 0), (200, 1), (422, 0), (200, 0), (422, 0), (200, 0)]
    assert answers == expected * 5
    assert most == 1


def test_the_memory_of_many_requests_is_that_of_one(client: Any, parts: Parts) -> None:
    """Pictures of a few kilobytes that take much memory once they are decoded."""
    flat = encoded(np.full((2000, 2000, 3), 90, np.uint8))
    assert len(flat) < 200_000

    def peak(callers: int) -> int:
        most, done = 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.01):
                most = max(most, memory())

        watching = threading.Thread(target=watch)
        watching.start()
        with ThreadPoolExecutor(callers) as pool:
            statuses = list(pool.map(lambda _: client.post("/gpen/restore", json=request).status_code, range(callers)))
        done.set()
        watching.join()
        assert set(statuses) == {422}
        return most

    request = {"image": flat, "protect": encoded(np.zeros((9, 8), np.uint8))}  # refused once the image is decoded
    peak(1)
    # As many as at once: memory is looked at now and then, and the most of one request may pass unseen.
    before, one = memory(), max(peak(1) for _ in range(6))
    assert one - before > 40 << 20
    assert peak(6) - before < 1.5 * (one - before)


def memory() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

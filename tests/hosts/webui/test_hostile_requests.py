"""Requests of strangers to the API: each is answered, or refused with a reason that names no folder of the server."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gpen.errors import LONGEST
from tests.fuzz.mutators import changed_bytes, changed_json
from tests.hosts.conftest import Parts
from tests.hosts.webui.conftest import MakeClient
from tests.hosts.webui.host import WebUI
from tests.hosts.webui.pictures import encoded

REQUESTS = 200
ANSWERS = {200, 404, 413, 422, 503}


@pytest.fixture
def usual(parts: Parts) -> dict[str, Any]:
    """A request with a value in every field."""
    picture = encoded(parts.nobody[:64, :64])
    masks = {"damage": picture, "protect": picture}
    options = {"strength": 0.5, "upscale": 1.0, "only_faces": "0-3", "mask": "box", "color_match": "lab", "min_face": 8}
    return {"image": picture, "task": "restore", "model": "marker-256.safetensors", "person": []} | masks | options


def test_every_request_is_taken_or_refused(make_client: MakeClient, webui: WebUI, usual: dict[str, Any]) -> None:
    client, statuses = make_client(webui), Counter[int]()
    for number in range(REQUESTS):
        body = _request(Random(f"request {number}"), usual)
        response = client.post("/gpen/restore", content=body, headers={"content-type": "application/json"})
        statuses[response.status_code] += 1
        assert response.status_code in ANSWERS, (number, response.text)
        if response.status_code == 200:
            continue
        detail = response.json()["detail"]
        if isinstance(detail, str):  # else what FastAPI says of a field, which quotes it
            assert 0 < len(detail) <= LONGEST, number
            assert detail.replace("\n", "").isprintable(), (number, detail)
        for private in (webui.data, webui.folder, Path.home(), "/tmp/"):
            assert str(private) not in response.text, number
    assert statuses[200] > REQUESTS / 20, statuses
    assert statuses[422] > REQUESTS / 5, statuses


def _request(rng: Random, usual: dict[str, Any]) -> bytes:
    request = dict(usual)
    for name in rng.sample(list(usual), rng.choice((0, 0, 1, 4))):
        if name != "image":
            del request[name]
    for name in ("image", "damage", "protect"):
        if name in request and rng.random() < 0.2:
            request[name] = base64.b64encode(changed_bytes(rng, base64.b64decode(request[name]))).decode()
    for _ in range(rng.choice((0, 1, 1, 2))):
        request = changed_json(rng, request)
    # What is no JSON FastAPI would read, but cannot quote in its answer, whatever the route.
    text = re.sub(r"NaN|-?Infinity", "1e300", json.dumps(request))
    return text.encode()

"""The page under load: 32 callers of its API and 500 photos, every answer the right one and memory flat."""

from __future__ import annotations

import http.client
import json
import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.app.conftest import Serve, Served

CALLERS, PHOTOS, WARM = 32, 500, 200
MOST_GROWTH = 100_000
"""Bytes for each photo: a third of what Gradio would keep of the calls by half of them."""


class Caller:
    """Calls the API without a client, over one connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
        self._session = secrets.token_hex(6)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        self._connection.request(method, path, body, {"Content-Type": kind} if body else {})
        answer = self._connection.getresponse()
        said = answer.read()
        assert answer.status == 200, (answer.status, said[:500])
        return said

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--b--\r\n"
        (path,) = json.loads(self.ask("POST", "/gradio_api/upload", body, "multipart/form-data; boundary=b"))
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def call(self, endpoint: str, *values: Any, anew: bool) -> tuple[dict[str, Any], str]:
        """The file and the sentence that an endpoint returns; anew: as a visitor of whom nothing is known."""
        session = {} if anew else {"session_hash": self._session}
        asked = self.ask("POST", f"/gradio_api/call/{endpoint}", json.dumps({"data": values, **session}).encode())
        events = self.ask("GET", f"/gradio_api/call/{endpoint}/{json.loads(asked)['event_id']}").decode()
        kind, _, data = events.strip().rpartition("\n\n")[2].partition("\n")
        assert kind == "event: complete", events
        file, text = json.loads(data.removeprefix("data: "))
        return file, text

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def busy(serve_session: Serve, weights: Path) -> Served:
    return serve_session("--models-path", weights, "--device", "cpu", "--max-upload-mb", 5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_many_callers(busy: Served) -> None:
    described = json.loads(Caller(busy.url).ask("GET", "/gradio_api/info"))["named_endpoints"]["/colorize"][
        "parameters"
    ]
    names = [each["parameter_name"] for each in described]
    given = {"weights": "small-colours.pth", "aligned": True}
    values = [given.get(name, each.get("parameter_default")) for name, each in zip(names, described, strict=True)]
    status = Path(f"/proc/{busy.process.pid}/status")
    memory: list[tuple[int, int]] = []
    own, lock = threading.local(), threading.Lock()
    callers: list[Caller] = []

    def restored(number: int) -> float:
        """The largest difference in luma between a photo and its result, which has its colours only."""
        if not hasattr(own, "caller"):
            own.caller = Caller(busy.url)
            callers.append(own.caller)
        level = 60 + number % 128
        photo = np.full((64, 64, 3), level, np.uint8)
        photo[number % 64] = level + 20
        file = own.caller.upload(f"{number}.png", cv2.imencode(".png", photo)[1].tobytes())
        result, text = own.caller.call("colorize", file, *values[1:], anew=number % 2 == 0)
        assert text.startswith("1 face colorized")
        content = own.caller.ask("GET", f"/gradio_api/file={result['path']}")
        with lock:
            pages = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
            memory.append((len(memory), int(pages.split()[1]) * 1024))
        made = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2YCrCb)
        return float(np.abs(made[..., 0].astype(float) - photo[..., 0]).max())

    with ThreadPoolExecutor(CALLERS) as pool:
        differences = list(pool.map(restored, range(PHOTOS)))
    for caller in callers:
        caller.close()
    assert len(callers) == CALLERS
    assert max(differences) < 3
    when, held = np.array(memory[WARM:]).T
    growth = np.polyfit(when, held, 1)[0]
    print(f"{PHOTOS} photos, {held[0] / 1e6:.0f} to {held[-1] / 1e6:.0f} MB, {growth:.0f} bytes for each photo")
    assert growth < MOST_GROWTH
    assert "Traceback" not in busy.log

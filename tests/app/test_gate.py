"""Which requests reach the page: the gate alone, and in front of a real server."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gpen.app.access.gate import Gate
from gpen.app.access.quota import KEPT, MOST_BODY, UploadGate, UploadQuota
from gpen.app.server import _remove_left_over
from gpen.atomic import process_tag
from gpen.cli import main
from gpen.errors import PhotoError
from tests.app.conftest import Serve, Served


class Behind:
    """An application that remembers what reached it."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def ask(behind: Behind, tmp_path: Path) -> Any:
    """The status of the answer to a request with these headers, in which _ stands for -."""

    def call(
        names: frozenset[str] = frozenset(),
        path: str = "/",
        kind: str = "http",
        server: tuple[str, int] | None = None,
        **headers: str,
    ) -> int:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        method = "POST" if "content_length" in headers or path != "/" else "GET"
        scope = {"type": kind, "method": method, "path": path, "headers": listed, "server": server}
        gate = Gate(UploadGate(behind, UploadQuota(tmp_path, 1000)), names)
        # In a thread without a loop: Playwright's runs in this one while a browser is open.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(lambda: asyncio.run(gate(scope, receive, send))).result()
        if sent[0]["type"] == "websocket.close":
            return 403
        return int(sent[0]["status"])

    return call


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LocalHost"])
@pytest.mark.parametrize("port", ["", ":7860", ":9000"])
def test_this_computer_may_ask(ask: Any, host: str, port: str) -> None:
    assert ask(host=host + port) == 200
    assert ask(host=host + port, origin=f"http://{host}{port}") == 200
    assert ask(host=host + port, origin=f"https://{host}{port}") == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example:7860",
        "localhost.evil.example",
        "localhost:7860@evil.example",
        "192.168.1.7:7860",
        "0.0.0.0:7860",
        "[::2]:7860",
        "localhost:7860:1",
        "",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_another_host_is_refused(ask: Any, behind: Behind, host: str, kind: str) -> None:
    assert ask(host=host, kind=kind) == 403
    assert behind.reached == 0


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:7861",
        "http://127.0.0.1:7860",
        "null",
        "http://localhost",
        "localhost:7860",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_another_origin_is_refused(ask: Any, behind: Behind, origin: str, kind: str) -> None:
    assert ask(host="localhost:7860", origin=origin, kind=kind) == 403
    assert behind.reached == 0


def test_a_request_without_a_host_is_refused(ask: Any) -> None:
    assert ask() == 403


@pytest.mark.parametrize(
    ("reached", "host"),
    [("192.168.1.7", "192.168.1.7"), ("::ffff:192.168.1.7", "192.168.1.7"), ("fd00::7", "[fd00::7]")],
)
def test_the_address_that_a_request_came_to_is_no_stranger(ask: Any, reached: str, host: str) -> None:
    assert ask(host=f"{host}:7860", server=(reached, 7860)) == 200
    assert ask(host=f"{host}:7860", origin=f"http://{host}:7860", server=(reached, 7860)) == 200
    assert ask(host=f"{host}:7860", origin="http://evil.example", server=(reached, 7860)) == 403
    assert ask(host="192.168.1.8:7860", server=(reached, 7860)) == 403
    assert ask(host="evil.example:7860", server=("evil.example", 7860)) == 403


def test_names_can_be_allowed(ask: Any) -> None:
    names = frozenset({"gpen.example.org"})
    assert ask(names, host="gpen.example.org", origin="https://gpen.example.org") == 200
    assert ask(names, host="127.0.0.1:7860", origin="https://gpen.example.org") == 200
    assert ask(names, host="evil.example") == 403
    assert ask(names, host="gpen.example.org", origin="https://evil.example") == 403


@pytest.mark.parametrize("name", ["http://gpen.example.org", "gpen.example.org:80", "", "a b"])
def test_what_is_no_name_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["app", "--allow-host", name])
    assert "it has to be that of a computer" in capsys.readouterr().err


def test_large_requests_are_refused(ask: Any) -> None:
    upload = {"host": "localhost", "path": "/gradio_api/upload"}
    assert ask(**upload, content_length="1000") == 200
    assert ask(**upload, content_length="1001") == 413
    assert ask(**upload) == 411
    assert ask(**upload, content_length="-1") == 411
    assert ask(host="localhost", path="/gradio_api/queue/join", content_length=str(MOST_BODY)) == 200
    assert ask(host="localhost", path="/gradio_api/queue/join", content_length=str(MOST_BODY + 1)) == 413


def test_uploads_that_are_on_their_way_count(tmp_path: Path) -> None:
    quota = UploadQuota(tmp_path, 1000)
    quota.enter(600)
    with pytest.raises(PhotoError, match="no room for this upload"):
        quota.enter(401)
    quota.enter(400)
    quota.leave(600)
    quota.enter(500)


def test_one_visitor_may_not_take_all_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = UploadQuota(tmp_path, 1000, 400)
    for size in (300, 100):
        quota.enter(size, "192.168.1.7")
        quota.leave(size)
    with pytest.raises(PhotoError, match="one visitor may upload"):
        quota.enter(1, "192.168.1.7")
    quota.enter(400, "192.168.1.8")
    quota.enter(300, "fd00::1")
    with pytest.raises(PhotoError, match="one visitor may upload"):
        quota.enter(101, "fd00::2")
    with pytest.raises(PhotoError, match="no room for this upload"):
        quota.enter(301, "192.168.1.9")
    later = time.monotonic() + KEPT
    monkeypatch.setattr(time, "monotonic", lambda: later)
    quota.enter(100, "192.168.1.7")


def test_old_uploads_make_room_oldest_first(tmp_path: Path) -> None:
    quota, now = UploadQuota(tmp_path, 1000), time.time()
    ages = {"oldest": 2 * KEPT, "old": KEPT + 60, "new": 1}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.png").write_bytes(bytes(300))
        os.utime(tmp_path / name / "photo.png", (now - age, now - age))

    def kept() -> list[str]:
        return sorted(path.parent.name for path in tmp_path.rglob("*.png"))

    quota.enter(100)
    assert kept() == ["new", "old", "oldest"]
    quota.enter(100)
    assert kept() == ["new", "old"]
    with pytest.raises(PhotoError):
        quota.enter(501)
    assert kept() == ["new"]


def answer(url: str, path: str, headers: dict[str, str], method: str = "GET", body: bytes | None = None) -> Any:
    """The answer of the server, and what it says."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/gradio_api/startup-events", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_the_server_answers_no_stranger_and_echoes_no_origin(app: Served, path: str, method: str) -> None:
    own = urlsplit(app.url).netloc
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{urlsplit(app.url).port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ):
        preflight = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
        response, said = answer(app.url, path, {"Host": own, **headers, **preflight}, method)
        assert response.status == 403
        assert not [name for name, _ in response.getheaders() if name.lower().startswith("access-control")]
        assert b"gradio" not in said.lower()


def test_the_page_itself_is_served(app: Served) -> None:
    own = urlsplit(app.url).netloc
    for headers in ({}, {"Origin": f"http://{own}"}, {"Host": f"localhost:{urlsplit(app.url).port}"}):
        response, said = answer(app.url, "/config", {"Host": own, **headers})
        assert response.status == 200
        assert json.loads(said)["title"] == "GPEN Face Restore"


def test_uploads_stop_at_the_quota(serve_session: Serve, tmp_path: Path) -> None:
    served = serve_session("--device", "cpu", "--max-upload-mb", 1, "--models-path", tmp_path, most_model_bytes=1 << 20)
    uploads = served.temporary
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%d.png"\r\n\r\n'

    def upload(number: int) -> tuple[int, bytes]:
        body = head % number + number.to_bytes(2, "big") * 450_000 + b"\r\n--b--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        response, said = answer(served.url, "/gradio_api/upload", kind, "POST", body)
        return response.status, said

    answers = [upload(number) for number in range(34)]
    taken = sum(path.stat().st_size for path in uploads.rglob("*.png"))
    assert [status for status, _ in answers] == [200] * 26 + [413] * 8
    assert b"at most 24 MB are kept at once" in answers[-1][1]
    assert taken == 26 * 900_000


@pytest.mark.skipif(os.name == "nt", reason="needs the numbers of dead processes")
def test_photos_of_a_killed_page_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = process_tag()
    dead = own.replace(f"-{os.getpid()}-", "-4194305-")
    kept = {f"gpen-app{own}abc", f"gpen-app-{dead}abc", f"other{dead}abc", "outside"}
    for name in (*kept, f"gpen-app{dead}abc"):
        (tmp_path / name / "cache").mkdir(parents=True)
        (tmp_path / name / "cache" / "photo.png").write_bytes(b"x")
    (tmp_path / f"gpen-app{dead}link").symlink_to(tmp_path / "outside")
    _remove_left_over()
    assert {path.name for path in tmp_path.iterdir()} == kept | {f"gpen-app{dead}link"}
    assert all((tmp_path / name / "cache" / "photo.png").exists() for name in kept)

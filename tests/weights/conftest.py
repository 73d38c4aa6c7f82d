"""A real HTTP server on this machine that misbehaves on request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gpen.errors import FilesError
from gpen.weights.catalog import Published
from gpen.weights.download import fetch


@dataclass
class Resource:
    """What one address answers. cuts: for each request in turn, the body bytes before the connection breaks."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    honours_if_range: bool = True
    wrong_start: int = 0
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    gate: threading.Event | None = None
    waiting: threading.Event = field(default_factory=threading.Event)


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


class Site:
    """The server, with its ``resources`` by path and the ``requests`` in the order of arrival."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.requests: list[Request] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def add(self, path: str, body: bytes = b"", **more) -> str:
        self.resources[path] = Resource(body, **more)
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _handler(site) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args) -> None:
                pass

            def do_GET(self) -> None:
                request = Request(self.path, dict(self.headers.items()))
                site.requests.append(request)
                resource = site.resources.get(self.path, Resource(status=404, etag=None))
                _answer(self, request, resource)

        return Handler


def _answer(handler: BaseHTTPRequestHandler, request: Request, resource: Resource) -> None:
    body, status, extra = resource.body, resource.status, dict(resource.headers)
    validator = resource.etag or resource.modified
    wanted = request.headers.get("Range")
    same = not resource.honours_if_range or request.headers.get("If-Range", validator) == validator
    if resource.ranges and wanted and same:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            body, status = b"", 416
        else:
            extra["Content-Range"] = f"bytes {start + resource.wrong_start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
    request.status = status
    handler.send_response(status)
    if resource.etag:
        handler.send_header("ETag", resource.etag)
    if resource.modified:
        handler.send_header("Last-Modified", resource.modified)
    if resource.length and "Content-Length" not in extra:
        handler.send_header("Content-Length", str(len(body)))
    for name, value in extra.items():
        handler.send_header(name, value)
    handler.end_headers()
    if resource.gate is not None:
        handler.wfile.flush()
        resource.waiting.set()
        resource.gate.wait(20)
    cut = resource.cuts.pop(0) if resource.cuts else len(body)
    try:
        handler.wfile.write(body[:cut])
        request.sent = len(body[:cut])
    except OSError:  # the client has disconnected
        pass
    handler.close_connection = True


@pytest.fixture
def site(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    server = Site()
    yield server
    server.close()


@pytest.fixture
def published() -> Callable[..., Published]:
    """Makes a catalogue entry, saved as GPEN-TEST.pth, with the given addresses."""

    def make(*addresses: str, sha256: str | None = None, size: int | None = None) -> Published:
        return Published(
            terms="MIT",
            name="GPEN-TEST",
            kind="network",
            saved_as="GPEN-TEST.pth",
            addresses=addresses,
            licence="None.",
            sha256=sha256,
            size=size,
        )

    return make


@pytest.fixture
def failure() -> Callable[..., str]:
    """Runs a download that fails, and returns the text of its FilesError; nothing may have the final name."""

    def text(entry: Published, folder: Path, **more) -> str:
        with pytest.raises(FilesError) as caught:
            fetch(entry, folder, **more)
        assert not (folder / entry.saved_as).exists()
        return str(caught.value)

    return text

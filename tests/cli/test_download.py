"""`gpen download` from a local server."""

from __future__ import annotations

import io
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gpen.weights.catalog import find_published

NAME = "GPEN-BFR-256"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        self.server.requests += 1


@pytest.fixture
def server(networks, monkeypatch):
    """Serve negative.pth as the published 256 network."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(networks)))
    server.requests = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    serve(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}/negative.pth")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def serve(monkeypatch, address: str) -> None:
    """Have the catalogue list the network at this address."""
    monkeypatch.setitem(vars(find_published(NAME)), "addresses", (address,))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_with_the_licence_accepted(gpen, server, networks, tmp_path, files_in):
    run = gpen("download", NAME, "--accept-licence", "-o", tmp_path / "weights")
    assert run.code == 0
    assert "non-commercial" in run.out
    assert f"{NAME} is now in {tmp_path / 'weights' / 'GPEN-BFR-256.pth'}" in run.out
    assert files_in(tmp_path / "weights") == ["GPEN-BFR-256.pth"]
    assert (tmp_path / "weights" / "GPEN-BFR-256.pth").read_bytes() == (networks / "negative.pth").read_bytes()
    assert run.err == ""  # no bar without a terminal
    # The second time there is nothing to do.
    asked = server.requests
    run = gpen("download", NAME, "-o", tmp_path / "weights")
    assert run.code == 0
    assert "already exists" in run.out
    assert server.requests == asked


def test_not_asked_and_not_accepted(gpen, server, tmp_path, files_in):
    run = gpen("download", NAME, "-o", tmp_path / "weights")
    assert run.code == 1
    assert "non-commercial" in run.out
    assert "--accept-licence" in run.err
    assert "nothing was downloaded" in run.err
    assert server.requests == 0
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1), ("ja\n", 1)])
def test_asked(gpen, server, tmp_path, files_in, monkeypatch, answer, code):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    run = gpen("download", NAME, "-o", tmp_path)
    assert run.code == code
    assert "Do you accept these terms? [y/N]" in run.out
    assert files_in(tmp_path) == (["GPEN-BFR-256.pth"] if code == 0 else [])


def test_a_download_is_found(gpen, server, album, tmp_path, assert_restored, monkeypatch):
    monkeypatch.setenv("GPEN_MODELS_PATH", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    assert gpen("download", NAME, "--accept-licence").code == 0
    photo = album.add("a.png")
    assert gpen("restore", photo, "-o", tmp_path / "r.png", "--faces", album.faces_file).code == 0
    assert_restored(tmp_path / "r.png", photo)


def test_to_the_users_own_folder(gpen, server):
    run = gpen("download", NAME, "--accept-licence")
    assert run.code == 0
    assert str(NAME) in gpen("models").out
    assert f"gpen download {NAME}" not in gpen("models").out


def test_the_server_has_nothing(gpen, server, tmp_path, files_in, monkeypatch):
    serve(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}/lost.pth")
    run = gpen("download", NAME, "--accept-licence", "-o", tmp_path)
    assert run.code == 1
    assert "GPEN-BFR-256 could not be downloaded." in run.err
    assert "lost.pth" in run.err
    assert [name for name in files_in(tmp_path) if name.endswith(".pth")] == []


def test_an_unknown_name(gpen):
    run = gpen("download", "GPEN-BFR-4096", "--accept-licence")
    assert run.code == 1
    assert "Did you mean" in run.err

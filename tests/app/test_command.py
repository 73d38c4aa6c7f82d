"""`gpen app` where the page cannot be served."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpen.app.access.reach import Reach
from gpen.cli import main


def test_missing_gradio_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app"]) == 1
    assert 'pip install "gpen-face-restore[app]"' in capsys.readouterr().err


def test_a_broken_gradio_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('no module named nothing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    assert main(["app"]) == 1
    assert "gradio, which does not import here (ImportError: no module named nothing)" in capsys.readouterr().err


def test_sharing_is_not_offered(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["app", "--share"])
    assert stop.value.code == 2
    with pytest.raises(SystemExit):
        main(["app", "--help"])
    assert "--share" not in capsys.readouterr().out


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_an_invalid_port_is_refused(port, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["app", f"--port={port}"])
    assert stop.value.code == 2
    assert "has to be a whole number from 1 to 65535" in capsys.readouterr().err


def test_a_missing_device_is_named(capsys):
    pytest.importorskip("gradio", reason="needs gradio: run make test-app")
    assert main(["app", "--device", "cuda:77"]) == 1
    assert "cuda:77" in capsys.readouterr().err


def test_a_port_that_is_taken_while_the_page_is_built(capsys, monkeypatch):
    pytest.importorskip("gradio", reason="needs gradio: run make test-app")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(Reach, "free_port", lambda self, asked: port)
        assert main(["app", "--no-browser"]) == 1
    assert f"The page did not start at port {port}" in capsys.readouterr().err


def test_a_taken_port_asks_for_another(capsys):
    pytest.importorskip("gradio", reason="needs gradio: run make test-app")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", "--device", "cpu", "--port", str(port)]) == 1
    assert capsys.readouterr().err.endswith(
        f"Port {port} is taken, perhaps by another `gpen app`. Choose another port with --port, or leave --port out.\n"
    )


def test_it_says_that_it_starts_and_opens_the_browser(tmp_path):
    pytest.importorskip("gradio", reason="needs gradio: run make test-app")
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    arguments = [sys.executable, "-m", "gpen", "app", "--device", "cpu", "--models-path", str(tmp_path)]
    environment = {**os.environ, "BROWSER": f"{browser} %s", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(arguments, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "Starting ...\n"
            address = re.search(r"http://\S+", process.stdout.readline())[0]
            deadline = time.monotonic() + 20
            while not opened.exists() or not opened.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert opened.read_text().strip() == address
        finally:
            process.terminate()


def test_no_other_command_imports_gradio():
    package = Path(__file__).resolve().parents[2] / "gpen"
    importing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "import gradio" in path.read_text(encoding="utf-8")
    }
    parts = ("page", "page_parts", "options_column", "one_photo", "many_photos", "viewer")
    modules = (*parts, "actions", "photo_actions", "compare_actions", "model_actions", "api", "texts")
    assert importing == {f"app/{name}.py" for name in modules}

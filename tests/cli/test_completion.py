"""The Tab key, in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASH = shutil.which("bash")
argcomplete = pytest.importorskip("argcomplete")


@pytest.fixture
def completed(tmp_path):
    """What bash offers for a line that ends where the Tab key is pressed."""
    program = tmp_path / "bin" / "gpen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpen "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(line: str) -> list[str]:
        empty = ' ""' if line.endswith(" ") else ""
        script = (
            'eval "$(gpen completion bash)"\n'
            f"COMP_LINE={line!r} COMP_POINT={len(line)} COMP_TYPE=9\n"
            f"COMP_WORDS=({line}{empty})\n"
            "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
            "_python_argcomplete gpen\n"
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        assert BASH is not None
        result = subprocess.run([BASH, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        return sorted(word.strip() for word in result.stdout.split("\n") if word.strip())

    return run


@pytest.mark.skipif(BASH is None or os.name == "nt", reason="needs bash")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gpen in", ["inpaint", "inspect"]),
        ("gpen restore a.png --stren", ["--strength"]),
        ("gpen restore a.png --mask ", ["auto", "box", "ellipse", "parsed"]),
        ("gpen restore a.png --color-match w", ["wavelet"]),
        ("gpen restore a.png --model GPEN-BFR-2", ["GPEN-BFR-2048", "GPEN-BFR-256"]),
        ("gpen download y", ["yunet"]),
        ("gpen completion z", ["zsh"]),
    ],
)
def test_bash_completes(completed, line, words):
    assert completed(line) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_code_for_each_shell(gpen, shell):
    run = gpen("completion", shell)
    assert (run.code, run.err) == (0, "")
    assert "gpen" in run.out
    assert "_ARGCOMPLETE" in run.out


def test_without_the_package_the_extra_is_named(gpen, monkeypatch):
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    run = gpen("completion", "bash")
    assert run.code == 1
    assert 'pip install "gpen-face-restore[completion]"' in run.err

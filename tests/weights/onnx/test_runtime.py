"""ONNX Runtime is imported without its telemetry, which begins with the import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.loading import ROOT


def imported(code: str, folder: Path, **variables: str) -> str:
    """What a new process prints whose temporary folder is ``folder``."""
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment = kept | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)} | variables
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_no_session_is_begun(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    imported("from gpen.weights.onnx.runtime import onnx_runtime; onnx_runtime().SessionOptions()", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_user_s_own_setting_stays(tmp_path: Path) -> None:
    code = "import os; from gpen.weights.onnx.runtime import onnx_runtime; onnx_runtime(); print(os.environ['{}'])"
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    assert imported(code.format("ORT_DISABLE_TELEMETRY"), tmp_path) == "1"
    assert imported(code.format("ORT_DISABLE_TELEMETRY"), tmp_path, ORT_DISABLE_TELEMETRY="0") == "0"

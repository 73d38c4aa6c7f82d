"""The threads of our own processes sleep while they wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpen.threads import sleeping_threads

ROOT = Path(__file__).resolve().parents[1]
REPORT = (
    "import json, os; from gpen.cli import main; main(['inspect', 'missing.pth']); print(json.dumps(dict(os.environ)))"
)


def started(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in sleeping_threads()} | variables
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    )


def test_a_command_sets_what_the_user_has_not_set():
    name, other = list(sleeping_threads())[:2]
    found = json.loads(started(REPORT, **{name: "active"}).stdout.splitlines()[-1])
    assert found[name] == "active"
    assert found[other]


def test_importing_the_package_changes_no_variable():
    # In a host, which has its own.
    code = f"import os, gpen; gpen.restore; print(sorted({set(sleeping_threads())!r} & set(os.environ)))"
    assert started(code).stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch has another OpenMP runtime there")
def test_pytorch_is_loaded_after_the_variables_are_set():
    spinning, sleeping = (
        next(line for line in started(code, OMP_DISPLAY_ENV="verbose").stderr.splitlines() if "GOMP_SPINCOUNT" in line)
        for code in ("import torch", REPORT)
    )
    assert "'0'" in sleeping
    assert "'0'" not in spinning

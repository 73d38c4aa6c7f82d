"""The threads of our own processes sleep soon after they have begun to wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpen.threads import thread_variables

ROOT = Path(__file__).resolve().parents[1]
NAMES = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OPENBLAS_NUM_THREADS"}
COMMAND = """
import json, os
from gpen.cli import main
main(["inspect", "missing.pth"])
print(json.dumps(dict(os.environ)))
"""


def started(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | variables
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    )


def test_a_command_sets_them(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    found = json.loads(started(COMMAND).stdout.splitlines()[-1])
    assert {name: found[name] for name in NAMES if name in found} == thread_variables()
    assert len(thread_variables()) == 3


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_the_user_has_set_stays(monkeypatch, name):
    for other in NAMES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "5")
    assert thread_variables()[name] == "5"


def test_a_policy_of_the_user_decides_about_spinning(monkeypatch):
    # GNU's OpenMP would follow the count instead.
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert not {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & thread_variables().keys()


def test_importing_the_package_changes_no_variable():
    # In a host, which has its own.
    code = f"import os, gpen; gpen.restore; print(sorted({NAMES!r} & set(os.environ)))"
    assert started(code).stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch has another OpenMP runtime there")
def test_pytorch_is_loaded_after_they_are_set():
    printed = started(COMMAND, OMP_DISPLAY_ENV="verbose").stderr.splitlines()
    assert any("GOMP_SPINCOUNT = '10000'" in line for line in printed)

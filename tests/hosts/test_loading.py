"""Loaded by path, the pack keeps to its own module name and imports nothing before it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hosts.loading import NAME, ROOT

PRELUDE = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("loading", {str(ROOT / "tests/hosts/loading.py")!r})
loading = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loading)
root = str(loading.ROOT)
def ours():
    files = {{name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}}
    return sorted(name for name, file in files.items() if file.startswith(root))
"""


def answer_of(code: str, folder: Path) -> Any:
    """Run code in a new interpreter, with the checkout not on its path; what it prints as JSON."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", PRELUDE + code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_loading_the_folder_imports_nothing(tmp_path: Path) -> None:
    names, heavy = answer_of(
        "before = set(sys.modules)\n"
        "loading.load_checkout()\n"
        "print(json.dumps([ours(), sorted({'torch', 'numpy', 'cv2', 'comfy_api'} & (set(sys.modules) - before))]))",
        tmp_path,
    )
    assert names == [NAME]
    assert heavy == []


def test_no_module_of_ours_has_a_top_level_name(tmp_path: Path) -> None:
    """Everything importable without a host is imported, none of it as ``gpen``, ``gpen_hosts`` or ``nodes``."""
    names, top = answer_of(
        "import pathlib\n"
        "for path in sorted(pathlib.Path(root, 'gpen').rglob('[!_]*.py')):\n"
        "    try:\n"
        "        loading.from_checkout('.'.join(path.relative_to(root).with_suffix('').parts))\n"
        "    except ModuleNotFoundError as error:\n"
        "        if error.name != 'gradio':\n"  # for the page, which only the command imports
        "            raise\n"
        "for name in ('frames', 'widgets'):\n"
        "    loading.from_checkout('gpen_hosts.comfyui.' + name)\n"
        "print(json.dumps([ours(), sorted({'gpen', 'gpen_hosts', 'nodes'} & set(sys.modules))]))",
        tmp_path,
    )
    assert top == []
    assert len(names) > 40
    assert [name for name in names if name != NAME and not name.startswith(NAME + ".")] == []

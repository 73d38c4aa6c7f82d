"""Importing is cheap, and the installed package is complete."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
import torch

import gpen
from gpen.network.spec import Spec
from gpen.weights.state_dict import expected_shapes

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "gpen").rglob("*.py"))


def loaded_after(code: str, *names: str) -> set[str]:
    """Which of these modules the code loads, in a new interpreter."""
    code += f"\nimport sys; print(*(name for name in {names!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_import_loads_nothing_heavy():
    code = "import gpen, gpen.cli, gpen.options; gpen.Options(); gpen.GpenError"
    assert loaded_after(code, "torch", "cv2", "numpy", "facexlib", "safetensors", "tqdm") == set()
    assert loaded_after("import gpen.batch.plan", "torch", "cv2", "facexlib", "safetensors", "tqdm") == set()


@pytest.mark.parametrize("argument", ["--help", "restore", "inspect"])
def test_help_and_wrong_arguments_load_nothing_heavy(argument):
    run = f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main([{argument!r}])"
    code = f"import contextlib, io\nfrom gpen.cli import main\n{run}"
    assert loaded_after(code, "torch", "cv2", "numpy", "PIL", "facexlib", "safetensors", "tqdm") == set()


def test_loading_a_network_loads_no_compiler(tmp_path):
    """PyTorch imports them for certain meta tensors, which takes longer than loading the weights."""
    weights = tmp_path / "tiny.pth"
    torch.save(
        {name: torch.zeros(shape) for name, shape in expected_shapes(Spec(8, 8, 2, 1 / 64, 8, 1)).items()}, weights
    )
    compilers = ("torch._dynamo", "torch._refs", "torch._inductor", "sympy")
    load = f"from gpen.weights.checkpoint import load_model; load_model({str(weights)!r})"
    assert loaded_after(load, *compilers) == loaded_after("import torch", *compilers)


def test_the_public_names_can_be_listed_before_they_are_used():
    code = "import gpen; assert {*gpen.__all__} <= {*dir(gpen)}"
    assert loaded_after(code, "torch", "numpy") == set()


def test_only_what_needs_facexlib_loads_it():
    code = "import gpen; [getattr(gpen, name) for name in gpen.__all__]; import gpen.cli.task"
    assert loaded_after(code, "torch", "cv2", "facexlib", "torchvision") == {"torch", "cv2"}


@pytest.mark.parametrize("name", gpen.__all__)
def test_every_public_name_exists(name):
    assert getattr(gpen, name) is not None


def test_other_names_raise_an_attribute_error():
    with pytest.raises(AttributeError, match="'gpen' has no attribute 'restored'"):
        gpen.restored  # noqa: B018


def test_the_lists_of_names_agree():
    text = (ROOT / "gpen/__init__.py").read_text(encoding="utf-8")
    assert set(gpen.__all__) == set(re.findall(r'^    "(\w+)": "[\w.]+",$', text, re.MULTILINE))
    imported = re.findall(r"^    from \.\S+ import (.+)$", text, re.MULTILINE)
    assert set(gpen.__all__) == {name for line in imported for name in line.split(", ")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_inside_the_package_are_relative(path):
    # ComfyUI loads the package under another name.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        else:
            continue
        assert not [name for name in names if name.split(".")[0] == "gpen"]


def test_every_folder_of_the_package_is_installed():
    """setuptools finds the folders by their __init__.py."""
    find = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"][
        "find"
    ]
    assert find == {"include": ["gpen", "gpen.*"]}
    assert not [path.parent for path in MODULES if not (path.parent / "__init__.py").is_file()]

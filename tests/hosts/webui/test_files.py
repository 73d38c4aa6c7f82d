"""The files that SD-WebUI looks for in the extension's folder, tested without the host."""

from __future__ import annotations

import argparse
import ast
import configparser
import importlib.machinery
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def load(name: str) -> Any:
    """A file in the checkout's root, loaded as the host does: by its path, under its file name."""
    spec = importlib.util.spec_from_file_location(name, ROOT / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install() -> Any:
    return load("install.py")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pip commands that the host was asked to run."""
    run: list[str] = []
    launch: Any = ModuleType("launch")
    launch.run_pip = lambda command, _description: run.append(command)
    monkeypatch.setitem(sys.modules, "launch", launch)
    return run


def lack(install: Any, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have only these modules missing."""
    found = importlib.machinery.ModuleSpec("found", None)
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None if name in names else found)


def test_installed_packages_are_left_alone(install: Any, commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lack(install, monkeypatch)
    assert install.missing() == []
    install.main()
    assert commands == []


def test_only_missing_packages_are_installed_and_without_dependencies(
    install: Any, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """facexlib depends on opencv-python, which must not join another OpenCV, and all of them on some NumPy."""
    lack(install, monkeypatch, "facexlib", "tifffile")
    assert install.missing() == ["tifffile", "facexlib"]
    install.main()
    assert commands == ['install --no-deps "tifffile"', 'install --no-deps "facexlib"']


def test_opencv_is_installed_if_it_is_missing(
    install: Any, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lack(install, monkeypatch, "cv2")
    install.main()
    assert commands == ['install --no-deps "opencv-python-headless<5"']


def test_pytorch_and_numpy_are_the_host_s(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lack(install, monkeypatch, "torch", "torchvision", "numpy", *install.NEEDED)
    listed = " ".join(install.missing())
    assert len(install.missing()) == len(install.NEEDED)
    assert "torch" not in listed
    assert "numpy" not in listed


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below a node, except those that only type checkers see."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from at_run_time(child)


def test_all_requirements_of_the_package_are_listed(install: Any) -> None:
    """Third-party modules imported anywhere in the package, except the host's and those of the extras."""
    imported: set[str] = set()
    for file in (ROOT / "gpen").rglob("*.py"):
        for node in at_run_time(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.split(".")[0])
    others = imported - set(sys.stdlib_module_names) - {"torch", "torchvision", "numpy", "gpen"}
    assert others <= set(install.NEEDED) | {
        "cryptography",
        "facexlib",
        "gradio",
        "ray",
        "onnx",
        "onnxruntime",
        "spandrel",
        "spandrel_extra_arches",
        "triton",
    }


@pytest.mark.parametrize("launch", ["", "def start():\n    pass\n"], ids=["none", "another program's"])
def test_outside_the_host_nothing_is_done(launch: str, tmp_path: Path) -> None:
    """ComfyUI-Manager runs it as a program too, maybe beside another module called launch."""
    if launch:
        (tmp_path / "launch.py").write_text(launch)
    (tmp_path / "pip.py").write_text("raise SystemExit('pip was run')")
    for name in ("facexlib", "tifffile"):
        (tmp_path / f"{name}.py").write_text("")
    command = [sys.executable, str(ROOT / "install.py")]
    ran = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_as_a_program_it_installs_through_the_host(tmp_path: Path) -> None:
    """With the host's folder on the path, as when it starts."""
    (tmp_path / "launch.py").write_text("def run_pip(command, description):\n    print(command, '|', description)\n")
    # -S hides the installed packages; without -E, PYTHONPATH applies.
    command = [sys.executable, "-S", str(ROOT / "install.py")]
    ran = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert 'install --no-deps "facexlib" | facexlib for GPEN Face Restore' in lines
    assert len(lines) == 6


def test_preload_adds_one_flag() -> None:
    parser = argparse.ArgumentParser()
    load("preload.py").preload(parser)
    assert vars(parser.parse_args([])) == {"gpen_models_path": None}
    assert parser.parse_args(["--gpen-models-path", "a folder"]).gpen_models_path == "a folder"


def test_files_that_the_host_reads_have_the_right_names() -> None:
    """The host runs every file in scripts/, and packages of these names would hide its own."""
    assert [file.name for file in (ROOT / "scripts").glob("*.py")] == ["gpen_webui.py"]
    for name in ("modules", "models", "utils.py", "scripts/__init__.py"):
        assert not (ROOT / name).exists()
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "metadata.ini")
    name = metadata["Extension"]["Name"]
    assert name == name.lower() == "gpen-face-restore"


def test_the_script_imports_no_class_that_is_not_ours() -> None:
    """The host registers every class that it finds in a script, even an imported one."""
    tree = ast.parse((ROOT / "scripts" / "gpen_webui.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    froms = {node.module: [name.name for name in node.names] for node in tree.body if isinstance(node, ast.ImportFrom)}
    classes = [name for names in froms.values() for name in names if name[0].isupper()]
    assert sorted(classes) == ["GpenPostprocessing", "Path", "RememberJob"]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]

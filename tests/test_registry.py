"""The metadata that hosts' managers and the registry of ComfyUI node packs read."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tomllib

from tests.hosts.comfyui.server import comfyui_folder
from tests.hosts.loading import load_checkout

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


COMFYUI_HAS = {"torch", "numpy", "safetensors", "pillow", "tqdm"}
"""Dependencies that are in ComfyUI's own requirements."""


def test_the_requirements_are_the_dependencies_that_comfyui_lacks(pyproject: dict[str, Any]) -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    dependencies = pyproject["project"]["dependencies"]
    assert requirements == [line for line in dependencies if name_of(line) not in COMFYUI_HAS]
    assert set(map(name_of, dependencies)) > COMFYUI_HAS
    folder = comfyui_folder()
    if folder is not None:
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
        installed = {name_of(line).casefold() for line in lines if line and not line.startswith("#")}
        assert installed & set(map(name_of, dependencies)) == COMFYUI_HAS
    # Lower bounds only: a host may have newer versions.
    assert all(re.fullmatch(r"[a-z-]+>=[\d.]+", line) for line in requirements)


def test_the_registrys_fields(pyproject: dict[str, Any]) -> None:
    project, comfy = pyproject["project"], pyproject["tool"]["comfy"]
    assert re.fullmatch(r"[a-z](-?[a-z0-9])+", project["name"])
    assert "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["description"]
    assert (ROOT / project["license"]["file"]).is_file()
    assert {"Repository", "Documentation", "Issues"} <= set(project["urls"])
    assert all(url.startswith(project["urls"]["Repository"]) for url in project["urls"].values())
    raw = project["urls"]["Repository"].replace("github.com", "raw.githubusercontent.com") + "/main/"
    for name, shape in (("Icon", (400, 400)), ("Banner", (1260, 540))):
        assert comfy[name].startswith(raw)
        picture = ElementTree.parse(ROOT / comfy[name].removeprefix(raw)).getroot()
        assert (int(picture.attrib["width"]), int(picture.attrib["height"])) == shape
    assert comfy["PublisherId"]
    assert comfy["DisplayName"] == "GPEN Face Restore"
    assert comfy["requires-comfyui"] == ">=0.3.64"


def test_the_web_directory_is_declared_once(pyproject: dict[str, Any]) -> None:
    """The host would register both declarations, and load every script twice."""
    assert "web" not in pyproject["tool"]["comfy"]
    assert (ROOT / load_checkout().WEB_DIRECTORY).is_dir()


def test_the_nodes_are_registered_in_one_way() -> None:
    """With NODE_CLASS_MAPPINGS, the host would never call comfy_entrypoint."""
    door = load_checkout()
    assert inspect.iscoroutinefunction(door.comfy_entrypoint)
    assert not hasattr(door, "NODE_CLASS_MAPPINGS")
    assert not hasattr(door, "NODE_DISPLAY_NAME_MAPPINGS")

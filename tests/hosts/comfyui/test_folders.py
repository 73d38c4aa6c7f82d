"""ComfyUI's model folders: ours are added to those that users and other packs registered.

Each test runs with a fake of ComfyUI's ``folder_paths`` and, where ComfyUI is checked out, with the module itself.
Nothing else of ComfyUI is used.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from tests.hosts.comfyui.server import comfyui_folder
from tests.hosts.loading import from_checkout

FilesError = from_checkout("gpen.errors").FilesError
NETWORKS = {".safetensors", ".pth", ".pt", ".ckpt"}
OTHER_HOST_MODULES = ("comfy", "comfy.model_management", "comfy.utils", "comfy.model_patcher", "comfy_api.latest")


class FakeFolders:
    """Like ComfyUI's: an unknown name is registered with an empty set of suffixes, which lists every file."""

    def __init__(self, base: Path) -> None:
        self.models_dir = str(base / "models")
        self.folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}

    def add_model_folder_path(self, name: str, path: str) -> None:
        paths, _ = self.folder_names_and_paths.setdefault(name, ([], set()))
        if path not in paths:
            paths.append(path)

    def get_folder_paths(self, name: str) -> list[str]:
        return list(self.folder_names_and_paths[name][0])

    def get_filename_list(self, name: str) -> list[str]:
        paths, suffixes = self.folder_names_and_paths[name]
        files = [(path, Path(path, file)) for path in paths for file in Path(path).rglob("*") if file.is_file()]
        return sorted({os.path.relpath(file, path) for path, file in files if not suffixes or file.suffix in suffixes})

    def get_full_path(self, name: str, file: str) -> str | None:
        files = [Path(path, file) for path in self.get_folder_paths(name)]
        return next((str(path) for path in files if path.is_file()), None)


def real_folder_paths(base: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = comfyui_folder()
    if folder is None:
        pytest.skip("needs ComfyUI, in $COMFYUI_DIR or ~/.cache/gpen-hosts/ComfyUI")
    arguments = SimpleNamespace(args=SimpleNamespace(base_directory=str(base), models_directory=None))
    monkeypatch.setitem(sys.modules, "comfy.cli_args", arguments)
    spec = importlib.util.spec_from_file_location("folder_paths", folder / "folder_paths.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["fake", "real"])
def folder_paths(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in (*OTHER_HOST_MODULES, "comfy_api", "server"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    found: Any = FakeFolders(tmp_path) if request.param == "fake" else real_folder_paths(tmp_path, monkeypatch)
    for folder in ("facerestore_models", "facedetection"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "folder_paths", found)
    return found


@pytest.fixture
def host(folder_paths: Any) -> Iterator[Any]:
    """gpen_hosts.comfyui.host with that folder_paths, imported again."""
    module = from_checkout("gpen_hosts.comfyui.host")
    assert module.folder_paths is folder_paths
    yield module
    del sys.modules[module.__name__]


def registered(folder_paths: Any, name: str) -> tuple[list[Path], set[str]]:
    paths, suffixes = folder_paths.folder_names_and_paths[name]
    return [Path(path) for path in paths], set(suffixes)


def test_our_folders_and_suffixes_are_registered(host: Any, folder_paths: Any, tmp_path: Path) -> None:
    host.register_folders()
    models = tmp_path / "models"
    assert registered(folder_paths, "facerestore_models") == ([models / "facerestore_models"], NETWORKS)
    assert registered(folder_paths, "facedetection") == ([models / "facedetection"], {*NETWORKS, ".onnx"})


def test_a_users_folder_stays_first_and_lists_every_file(host: Any, folder_paths: Any, tmp_path: Path) -> None:
    """Registered by extra_model_paths.yaml, before any node pack is loaded."""
    users = tmp_path / "shared disk"
    folder_paths.add_model_folder_path("facerestore_models", str(users))
    host.register_folders()
    paths, suffixes = registered(folder_paths, "facerestore_models")
    assert paths == [users, tmp_path / "models" / "facerestore_models"]
    assert suffixes == set()
    assert host.folders("facerestore_models") == paths


def test_other_packs_folders_and_suffixes_are_kept_beside_ours(host: Any, folder_paths: Any, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "models" / "facerestore_models", tmp_path / "models" / "reactor"
    folder_paths.folder_names_and_paths["facerestore_models"] = ([str(theirs)], {".pth", ".bin"})
    host.register_folders()
    assert registered(folder_paths, "facerestore_models") == ([theirs, ours], {*NETWORKS, ".bin"})


def test_another_packs_empty_set_stays_empty(host: Any, folder_paths: Any, tmp_path: Path) -> None:
    theirs = tmp_path / "models" / "facedetection"
    folder_paths.folder_names_and_paths["facedetection"] = ([str(theirs)], set())
    host.register_folders()
    assert registered(folder_paths, "facedetection") == ([theirs], set())


def test_a_shared_set_of_suffixes_is_not_changed(host: Any, folder_paths: Any, tmp_path: Path) -> None:
    """Packs often register with the set that ComfyUI uses for checkpoints and everything else."""
    common = {".pth"}
    folder_paths.folder_names_and_paths["facedetection"] = ([str(tmp_path)], common)
    host.register_folders()
    assert common == {".pth"}
    assert ".onnx" in registered(folder_paths, "facedetection")[1]


def test_registering_twice_changes_nothing(host: Any, folder_paths: Any) -> None:
    host.register_folders()
    once = {name: registered(folder_paths, name) for name in ("facerestore_models", "facedetection")}
    host.register_folders()
    assert {name: registered(folder_paths, name) for name in once} == once


@pytest.mark.parametrize("users_set_is_empty", [False, True])
def test_only_models_are_listed_from_any_folder(
    host: Any, folder_paths: Any, tmp_path: Path, users_set_is_empty: bool
) -> None:
    users = tmp_path / "shared disk"
    if users_set_is_empty:
        folder_paths.add_model_folder_path("facerestore_models", str(users))
    host.register_folders()
    folder_paths.add_model_folder_path("facerestore_models", str(users))
    ours = tmp_path / "models" / "facerestore_models"
    (users / "old").mkdir(parents=True)
    for file in (ours / "GPEN-BFR-512.pth", users / "old" / "mine.safetensors", users / "readme.txt"):
        file.write_bytes(b"")
    for file in ("GPEN-BFR-512-D.pth", "detection_Resnet50_Final.pth", "parsing_parsenet.pth"):
        (ours / file).write_bytes(b"")
    assert host.network_files() == ["GPEN-BFR-512.pth", str(Path("old", "mine.safetensors"))]
    assert host.network_path("GPEN-BFR-512.pth") == ours / "GPEN-BFR-512.pth"
    assert host.network_path(str(Path("old", "mine.safetensors"))) == users / "old" / "mine.safetensors"


def test_graphs_are_listed_only_for_conversion(host: Any, folder_paths: Any, tmp_path: Path) -> None:
    host.register_folders()
    ours = tmp_path / "models" / "facerestore_models"
    (ours / "old").mkdir()
    for file in ("GPEN-BFR-512.pth", "GPEN-BFR-2048.onnx", "old/b.ONNX", "face_detection_yunet_2023mar.onnx"):
        (ours / file).write_bytes(b"")
    assert host.network_files() == ["GPEN-BFR-512.pth"]
    assert host.files_to_convert() == ["GPEN-BFR-512.pth", "GPEN-BFR-2048.onnx", str(Path("old", "b.ONNX"))]
    assert host.network_path("GPEN-BFR-2048.onnx") == ours / "GPEN-BFR-2048.onnx"
    assert ".onnx" not in registered(folder_paths, "facerestore_models")[1]


def test_a_missing_file_is_named_with_the_folder_it_belongs_in(host: Any, tmp_path: Path) -> None:
    host.register_folders()
    assert host.network_files() == []
    with pytest.raises(FilesError) as missing:
        host.network_path("GPEN-BFR-256.pth")
    sentence = str(missing.value)
    assert "'GPEN-BFR-256.pth'" in sentence
    assert sentence.endswith(host.where_to_put())
    assert str(tmp_path / "models" / "facerestore_models") in host.where_to_put()
    with pytest.raises(FilesError) as nothing:
        host.network_path("")
    assert str(nothing.value) == host.where_to_put()


def test_the_fingerprint_of_a_file_changes_with_it(host: Any, tmp_path: Path) -> None:
    host.register_folders()
    file = tmp_path / "models" / "facedetection" / "face_detection_yunet_2023mar.onnx"
    assert host.detector_files() == []
    assert host.state_of([file]) == []
    file.write_bytes(b"1")
    # Networks beside it are none of the detector's business.
    (file.parent / "GPEN-BFR-512.pth").write_bytes(b"2")
    assert host.detector_files() == [file]
    first = host.state_of([file])
    assert host.state_of([file]) == first
    file.write_bytes(b"22")
    longer = host.state_of([file])
    file.write_bytes(b"33")
    os.utime(file, ns=(0, 1))
    assert len({str(state) for state in (first, longer, host.state_of([file]))}) == 3

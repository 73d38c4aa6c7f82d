"""The folders that are searched for models, and the file that a name stands for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpen.errors import FilesError
from gpen.weights import search as module
from gpen.weights.catalog import find_published
from gpen.weights.search import (
    default_network,
    download_folder,
    find_file,
    find_files,
    find_network,
    list_networks,
    may_be_network,
    require_file,
    search_folders,
    user_cache,
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for variable in ("GPEN_MODELS_PATH", "GPEN_DETECTORS_PATH", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module.sys, "platform", "linux")


def _file(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"weights")
    return path


def test_order_of_the_folders(monkeypatch, tmp_path):
    a, b, c, host = (tmp_path / name for name in ("a", "b", "c", "host"))
    monkeypatch.setenv("GPEN_MODELS_PATH", os.pathsep.join(map(str, (a, b))))
    monkeypatch.setenv("GPEN_DETECTORS_PATH", str(c))
    cache = tmp_path / "cache" / "gpen"
    assert search_folders() == [a, b, cache]
    assert search_folders([host]) == [host, a, b, cache]
    assert search_folders([host], kind="detector") == [host, a, b, c, cache]
    assert search_folders(kind="parser") == [a, b, c, cache]


def test_empty_and_repeated_entries_are_dropped(monkeypatch, tmp_path):
    monkeypatch.setenv("GPEN_MODELS_PATH", os.pathsep.join(["", str(tmp_path), "  ", str(tmp_path), ""]))
    assert search_folders([tmp_path]) == [tmp_path, tmp_path / "cache" / "gpen"]
    monkeypatch.setenv("GPEN_MODELS_PATH", "")
    assert search_folders() == [tmp_path / "cache" / "gpen"]


def test_the_variable_is_read_when_used_not_at_import(monkeypatch, tmp_path):
    monkeypatch.setenv("GPEN_MODELS_PATH", str(tmp_path / "later"))
    assert search_folders()[0] == tmp_path / "later"


def test_an_unknown_kind_is_a_programming_error():
    with pytest.raises(ValueError, match="network, detector, parser"):
        search_folders(kind="models")


def test_user_cache_on_each_system(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert user_cache() == tmp_path / "cache" / "gpen"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert user_cache() == tmp_path / ".cache" / "gpen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache() == tmp_path / ".cache" / "gpen"
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert user_cache() == tmp_path / "Library" / "Caches" / "gpen"
    monkeypatch.setattr(module.sys, "platform", "win32")
    assert user_cache() == tmp_path / "AppData" / "Local" / "gpen"
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert user_cache() == tmp_path / "Local" / "gpen"


def test_without_a_home_folder(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert search_folders() == []
    with pytest.raises(FilesError, match="GPEN_MODELS_PATH"):
        user_cache()


def test_missing_folders_and_files_count_as_empty_folders(tmp_path):
    not_a_folder = _file(tmp_path, "x.pth")
    search = [tmp_path / "missing", not_a_folder]
    assert find_file(find_published("GPEN-BFR-512"), search) is None
    assert list_networks(search) == []
    assert default_network(search) is None


def test_find_file_first_folder_wins(tmp_path):
    network = find_published("GPEN-BFR-512")
    second = _file(tmp_path / "b", "GPEN-BFR-512.safetensors")
    assert find_file(network, [tmp_path / "a", tmp_path / "b"]) == second
    first = _file(tmp_path / "a", "gpen_bfr_512.pth")
    assert find_file(network, [tmp_path / "a", tmp_path / "b"]) == first


def test_find_file_prefers_full_precision_then_safetensors(tmp_path):
    network = find_published("GPEN-BFR-512")
    for name in (
        "GPEN-BFR-512-fp16.pth",
        "GPEN-BFR-512-fp16.safetensors",
        "GPEN-BFR-512.pth",
        "GPEN-BFR-512.safetensors",
    ):
        expected = _file(tmp_path, name)
        assert find_file(network, [tmp_path]) == expected


def test_several_files_are_found_in_one_look_at_each_folder(monkeypatch, tmp_path):
    names = ("yunet", "retinaface_resnet50", "retinaface_mobile0.25")
    yunet = _file(tmp_path / "a", "face_detection_yunet_2026may.onnx")
    _file(tmp_path / "b", "face_detection_yunet_2023mar.onnx")
    resnet = _file(tmp_path / "b", "detection_Resnet50_Final.pth")
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(module.os, "scandir", lambda folder: (listed.append(folder), scandir(folder))[1])
    found = find_files(map(find_published, names), [tmp_path / "a", tmp_path / "b"])
    assert found == {"yunet": yunet, "retinaface_resnet50": resnet}
    assert listed == [tmp_path / "a", tmp_path / "b"]


def test_find_file_ignores_folders_and_unfinished_downloads(tmp_path):
    (tmp_path / "GPEN-BFR-512.pth").mkdir()
    _file(tmp_path, "GPEN-BFR-512.pth.part")
    assert find_file(find_published("GPEN-BFR-512"), [tmp_path]) is None


def test_a_detector_is_found_in_the_detectors_folder(monkeypatch, tmp_path):
    path = _file(tmp_path / "detectors", "face_detection_yunet_2023mar.onnx")
    monkeypatch.setenv("GPEN_DETECTORS_PATH", str(path.parent))
    yunet = find_published("yunet")
    assert find_file(yunet, search_folders(kind="detector")) == path
    assert find_file(yunet, search_folders(kind="network")) is None


def test_require_file_says_everything(tmp_path):
    network = find_published("GPEN-BFR-512")
    search = [tmp_path / "missing", tmp_path]
    with pytest.raises(FilesError) as caught:
        require_file(network, search)
    text = str(caught.value)
    assert "GPEN-BFR-512.pth" in text
    assert "gpen download GPEN-BFR-512" in text
    assert all(address in text for address in network.addresses)
    assert f"{tmp_path / 'missing'} (does not exist)" in text
    assert f"put GPEN-BFR-512.pth into {tmp_path}." in text
    path = _file(tmp_path, "GPEN-BFR-512.pth")
    assert require_file(network, search) == path


def test_download_folder(tmp_path):
    exists, missing = tmp_path / "exists", tmp_path / "missing"
    exists.mkdir()
    assert download_folder([missing, exists]) == exists
    assert download_folder([tmp_path / "x", missing]) == missing
    assert download_folder([]) == user_cache()


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root ignores file modes"
)
def test_download_folder_skips_a_read_only_one(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert download_folder([locked, tmp_path]) == tmp_path


def test_find_network_by_path(tmp_path, monkeypatch):
    path = _file(tmp_path, "mine.ckpt")
    assert find_network(path, []) == path
    assert find_network(str(path), []) == path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert find_network("~/mine.ckpt", []) == path


def test_find_network_by_name(tmp_path, monkeypatch):
    path = _file(tmp_path / "models", "GPEN-BFR-1024.pth")
    # A folder of that name in the working directory, such as a clone, does not matter.
    (tmp_path / "GPEN-BFR-1024").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("GPEN-BFR-1024", "gpen-bfr-1024", "GPEN-BFR-1024.pth", "gpen_bfr_1024.pth"):
        assert find_network(name, [tmp_path / "models"]) == path


def test_find_network_by_file_name(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    pth = _file(b, "mine.pth")
    assert find_network("mine", [a, b]) == pth
    safetensors = _file(b, "mine.safetensors")
    assert find_network("mine", [a, b]) == safetensors
    assert find_network("MINE", [a, b]) == safetensors
    assert find_network("mine.pth", [a, b]) == pth


def test_a_file_name_finds_its_converted_copy(tmp_path):
    converted = _file(tmp_path, "GPEN-BFR-512.safetensors")
    assert find_network("GPEN-BFR-512.pth", [tmp_path]) == converted


def test_find_network_says_what_is_missing(tmp_path):
    with pytest.raises(FilesError, match="gpen download GPEN-BFR-2048"):
        find_network("GPEN-BFR-2048", [tmp_path])
    with pytest.raises(FilesError, match=r"There is no file .*nowhere.*x.pth"):
        find_network(str(tmp_path / "nowhere" / "x.pth"), [tmp_path])
    _file(tmp_path / "folder", "x.pth")
    with pytest.raises(FilesError, match="There is no file"):  # not the file of that name elsewhere
        find_network(str(tmp_path / "nowhere" / "x.pth"), [tmp_path / "folder"])
    with pytest.raises(FilesError, match="There is no file"):
        find_network("nowhere/GPEN-BFR-2048", [tmp_path])
    with pytest.raises(FilesError, match="is a folder"):
        find_network(str(tmp_path), [tmp_path])
    with pytest.raises(FilesError, match=r"yunet is a detector.*gpen models"):
        find_network("yunet", [tmp_path])
    _file(tmp_path, "mine.pth")
    with pytest.raises(FilesError, match=r"neither a file.*Found mine.pth") as caught:
        find_network("yours", [tmp_path])
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(FilesError, match="neither a file"):
        find_network("x" * 5000, [tmp_path])


def test_list_networks(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    expected = [_file(a, "GPEN-BFR-512.pth"), _file(a, "mine.safetensors"), _file(b, "other.ckpt")]
    for name in (
        "GPEN-BFR-512-D.pth",
        "detection_Resnet50_Final.pth",
        "parsing_parsenet.pth",
        "face_detection_yunet_2023mar.onnx",
        "GPEN-BFR-512.onnx",
        "GPEN-BFR-512.pth.part",
        "readme.txt",
    ):
        _file(a, name)
    assert list_networks([a, b]) == expected
    assert list_networks([a, a / ".." / "a", b]) == expected


def test_default_network_is_the_512_then_the_larger_ones(tmp_path):
    for name in (
        "GPEN-Colorization-1024.pth",
        "mine.pth",
    ):
        _file(tmp_path, name)
    assert default_network([tmp_path]) is None
    for name in ("GPEN-BFR-256.pth", "GPEN-BFR-2048.pth", "GPEN-BFR-1024.pth", "GPEN-BFR-512.pth"):
        path = _file(tmp_path, name)
        assert default_network([tmp_path]) == path
        assert find_network(None, [tmp_path]) == find_network("", [tmp_path]) == path


def test_no_default_network(tmp_path):
    with pytest.raises(FilesError, match="gpen download GPEN-BFR-512"):
        find_network(None, [tmp_path])
    _file(tmp_path, "mine.pth")
    with pytest.raises(FilesError, match=r"mine\.pth"):
        find_network(None, [tmp_path])


def test_searching_creates_nothing(tmp_path):
    search = search_folders([tmp_path / "host"])
    find_file(find_published("yunet"), search)
    list_networks(search)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["._GPEN-BFR-512.pth", ".gpen-0123abcd-1-x.safetensors", ".hidden.pth"])
def test_hidden_files_are_no_networks(tmp_path: Path, name: str) -> None:
    _file(tmp_path, name)
    shown = _file(tmp_path, "mine.pth")
    assert list_networks([tmp_path]) == [shown]
    assert not may_be_network(name)
    assert not may_be_network(f"folder/{name}")

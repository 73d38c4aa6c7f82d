"""Which detectors are available, and how wrong or damaged weights are refused."""

from __future__ import annotations

import importlib.abc
import importlib.util
import shutil
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gpen.errors import FaceError, FilesError, OptionError
from gpen.faces.detection.detector import available_detectors, find_detector, make_detector
from gpen.faces.detection.yunet import YuNet
from gpen.faces.facexlib import load_weights
from gpen.options import DETECTORS

YUNET = "face_detection_yunet_2023mar.onnx"
MOBILE = "detection_mobilenet0.25_Final.pth"
RESNET = "detection_Resnet50_Final.pth"

has_facexlib = pytest.mark.skipif(importlib.util.find_spec("facexlib") is None, reason="needs facexlib")


class _Breaks(importlib.abc.MetaPathFinder):
    def __init__(self, package: str, error: Exception) -> None:
        self.package, self.error = package, error

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] == self.package:
            raise self.error
        return


def break_import(monkeypatch, package: str, error: Exception) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] in (package, "facexlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Breaks(package, error), *sys.meta_path])


@pytest.mark.parametrize(
    "error",
    [ImportError("no module"), AttributeError("numba and\n numpy"), RuntimeError("operator torchvision::nms")],
)
def test_a_broken_facexlib_disables_its_two_detectors_only(monkeypatch, detector_weights, error):
    break_import(monkeypatch, "facexlib", error)
    reasons = available_detectors([detector_weights])
    assert list(reasons) == list(DETECTORS)
    assert reasons["yunet"] is None
    assert reasons["auto"] is None
    for name in ("retinaface_resnet50", "retinaface_mobile0.25"):
        assert type(error).__name__ in reasons[name]
        assert " ".join(str(error).split()) in reasons[name]
    with pytest.raises(FaceError, match="facexlib cannot be used"):
        make_detector("retinaface_mobile0.25", [detector_weights])
    assert find_detector("auto", [detector_weights], device="cuda")[0] == "yunet"


@has_facexlib
def test_a_broken_torchvision_disables_them_too(monkeypatch, detector_weights):
    break_import(monkeypatch, "torchvision", RuntimeError("operator torchvision::nms does not exist"))
    reasons = available_detectors([detector_weights])
    assert reasons["yunet"] is None
    assert "torchvision::nms" in reasons["retinaface_mobile0.25"]


@has_facexlib
def test_available_detectors(detector_weights, tmp_path):
    assert available_detectors([detector_weights])["retinaface_mobile0.25"] is None
    (tmp_path / "empty").mkdir()
    reasons = available_detectors([tmp_path / "empty"])
    assert all(reason for reason in reasons.values())
    assert YUNET in reasons["yunet"]
    assert RESNET in reasons["retinaface_resnet50"]
    assert str(tmp_path / "empty") in reasons["auto"]


def test_an_unknown_detector_is_refused():
    with pytest.raises(OptionError, match=r"retinaface_mobile0\.25"):
        make_detector("dlib")


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FilesError, match=YUNET):
        make_detector("yunet", [tmp_path])


def test_weights_are_found_through_the_environment(monkeypatch, detector_weights):
    monkeypatch.setenv("GPEN_DETECTORS_PATH", str(detector_weights))
    assert make_detector("yunet").name == "yunet"


@has_facexlib
def test_automatic_choice(monkeypatch, detector_weights, tmp_path):
    made = []
    monkeypatch.setattr(
        "gpen.faces.detection.retinaface.RetinaFace", lambda name, weights, device: made.append((name, weights, device))
    )
    monkeypatch.setattr("gpen.faces.detection.detector.pick_device", torch.device)  # there need not be a GPU
    shutil.copy(detector_weights / YUNET, tmp_path)
    assert find_detector("auto", [tmp_path], device="cuda:0") == ("yunet", tmp_path / YUNET)
    (tmp_path / RESNET).write_bytes(b"there")
    assert make_detector("auto", [tmp_path], device="cpu").name == "yunet"
    assert not made
    make_detector("auto", [tmp_path], device="cuda:0")
    assert made == [("retinaface_resnet50", tmp_path / RESNET, "cuda:0")]
    (tmp_path / YUNET).unlink()
    make_detector("auto", [tmp_path], device="cpu")
    assert made[1:] == [("retinaface_resnet50", tmp_path / RESNET, "cpu")]
    (tmp_path / RESNET).unlink()
    with pytest.raises(FilesError, match=YUNET):
        make_detector("auto", [tmp_path], device="cpu")


# YuNet


def test_yunet_from_a_path_with_any_characters(detector_weights, tmp_path):
    path = tmp_path / "Gesichter – лица 顔 'x' %20" / "é.onnx"
    path.parent.mkdir()
    shutil.copy(detector_weights / YUNET, path)
    assert YuNet(path).find(torch.zeros(1, 50, 50, 3), 0.5)[0].shape == (0, 15)


@pytest.mark.parametrize("damage", ["empty", "html", "truncated", "bits"])
def test_a_damaged_yunet_is_refused(detector_weights, tmp_path, damage):
    good = (detector_weights / YUNET).read_bytes()
    path = tmp_path / YUNET
    path.write_bytes(
        {
            "empty": b"",
            "html": b"<!DOCTYPE html><html>404</html>",
            "truncated": good[:150_000],
            "bits": good[:1000] + bytes(3000) + good[4000:],
        }[damage]
    )
    with pytest.raises(FaceError, match="not the face detector YuNet") as raised:
        YuNet(path)
    assert str(path) in str(raised.value)
    assert f"get {YUNET} or face_detection_yunet_2026may.onnx again" in str(raised.value)


def test_a_missing_yunet_is_named(tmp_path):
    with pytest.raises(FilesError, match="cannot be read"):
        YuNet(tmp_path / YUNET)


# RetinaFace


@pytest.fixture
def mobile(detector_weights) -> dict[str, torch.Tensor]:
    pytest.importorskip("facexlib")
    return torch.load(detector_weights / MOBILE, map_location="cpu", weights_only=True)


def make(path: Path, name: str = "retinaface_mobile0.25"):
    from gpen.faces.detection.retinaface import RetinaFace

    return RetinaFace(name, path)


def seen(network) -> np.ndarray:
    return network.find(torch.rand(1, 90, 110, 3, generator=torch.manual_seed(0)), 0.001)[0]


def test_retinaface_weights_in_every_container(mobile, detector_weights, tmp_path):
    from safetensors.torch import save_file

    expected = seen(make(detector_weights / MOBILE))
    assert len(expected)
    plain = {name.removeprefix("module."): tensor.clone() for name, tensor in mobile.items()}
    torch.save(plain, tmp_path / "plain.pth")
    torch.save({f"module.{k}": v for k, v in plain.items()}, tmp_path / "prefixed.pth")
    torch.save({k: v for k, v in plain.items() if "num_batches" not in k}, tmp_path / "old.pth")
    save_file(plain, tmp_path / "plain.safetensors")
    for name in ("plain.pth", "prefixed.pth", "old.pth", "plain.safetensors"):
        assert np.array_equal(seen(make(tmp_path / name)), expected)


def test_retinaface_agrees_with_facexlib(detector_weights, photos):
    pytest.importorskip("facexlib")
    network = make(detector_weights / MOBILE)
    image = cv2.imdecode(np.fromfile(photos / "Solvay_conference_1927.png", np.uint8), cv2.IMREAD_COLOR)
    image = image[:, :901]  # a width that is not a multiple of any anchor step
    with torch.inference_mode():
        theirs = network.network.detect_faces(image, conf_threshold=0.7, nms_threshold=0.4)
    (ours,) = network.find(torch.from_numpy(image[None, :, :, ::-1] / np.float32(255)), 0.7)
    assert len(ours) == len(theirs) > 10
    assert np.abs(ours - theirs).max() < 0.01


def test_retinaface_resnet50_loads_and_runs(tmp_path):
    module = pytest.importorskip("facexlib.detection.retinaface")
    torch.manual_seed(0)
    torch.save(module.RetinaFace("resnet50", device="cpu").state_dict(), tmp_path / RESNET)
    detector = make_detector("retinaface_resnet50", [tmp_path])
    assert detector.name == "retinaface_resnet50"
    photo = np.random.default_rng(0).random((60, 70, 3)).astype(np.float32)
    for face in detector.detect(photo, 0.05):
        assert np.isfinite(face.landmarks).all()


def test_retinaface_limits_its_candidates(detector_weights):
    pytest.importorskip("facexlib")
    found = make(detector_weights / MOBILE).find(torch.zeros(1, 640, 640, 3), 0.0)[0]
    assert 0 < len(found) <= 2000


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "resnet"])
def test_weights_of_another_network(mobile, detector_weights, tmp_path, damage):
    path = tmp_path / "weights.pth"
    name = next(iter(mobile))
    if damage == "missing":
        del mobile[name]
    elif damage == "extra":
        mobile["head.weight"] = torch.zeros(1)
    elif damage == "shape":
        mobile[name] = torch.zeros(2, 3)
    torch.save(mobile, path)
    what = "retinaface_resnet50" if damage == "resnet" else "retinaface_mobile0.25"
    with pytest.raises(FaceError, match="does not hold the weights of RetinaFace") as raised:
        make(path, what)
    text = str(raised.value)
    assert str(path) in text
    if damage == "missing":
        assert f"1 tensors are missing ({name.removeprefix('module.')})" in text
    elif damage == "extra":
        assert "1 do not belong to it (head.weight)" in text
    elif damage == "shape":
        assert "is (2, 3) instead of (8, 3, 3, 3)" in text


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path(_Bomb.path),))


@pytest.mark.parametrize("content", ["empty", "html", "truncated", "list", "numbers", "code", "safetensors"])
def test_other_files_are_refused(mobile, tmp_path, content):
    path = tmp_path / ("w.safetensors" if content == "safetensors" else "w.pth")
    _Bomb.path = str(tmp_path / "ran")
    if content in ("empty", "html", "safetensors"):
        path.write_bytes(b"" if content == "empty" else b"<html>not found</html>")
    else:
        torch.save({"list": [1, 2], "numbers": {"a": 1}, "code": {"a": _Bomb()}}.get(content, mobile), path)
        if content == "truncated":
            path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(FaceError, match="cannot be used as the weights of RetinaFace"):
        make(path)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named(tmp_path):
    pytest.importorskip("facexlib")
    with pytest.raises(FilesError, match="cannot be read"):
        make(tmp_path / "none.pth")


def test_a_host_whose_torch_load_returns_none(monkeypatch, mobile, detector_weights):
    calls = []
    monkeypatch.setattr(torch, "load", lambda *args, **more: calls.append((args, more)))
    with pytest.raises(FaceError, match="cannot be used as the weights"):
        make(detector_weights / MOBILE)
    ((args, more),) = calls
    assert args == (detector_weights / MOBILE,)
    assert more == {"map_location": "cpu", "weights_only": True}


def test_compressed_weights_are_refused_unread(monkeypatch, tmp_path):
    """A few kilobytes that would take 40 MB."""
    torch.save({"weight": torch.zeros(10_000_000)}, tmp_path / "full.pth")
    with (
        zipfile.ZipFile(tmp_path / "full.pth") as full,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in full.namelist():
            packed.writestr(name, full.read(name))
    assert (tmp_path / "w.pth").stat().st_size < 100_000
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(FaceError, match=r"cannot be used as the weights of a network.*compressed"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "w.pth", "a network")


@pytest.mark.parametrize("wrong", [{"weight": torch.zeros(3, 2)}, {"extra": torch.zeros(1)}, {"bias": [1]}])
def test_names_and_shapes_are_checked_before_tensors_are_read(monkeypatch, tmp_path, wrong):
    network = torch.nn.Linear(2, 2)
    torch.save({**network.state_dict(), **wrong}, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(FaceError, match=r"does not hold the weights of a network|cannot be used as"):
        load_weights(network, tmp_path / "w.pth", "a network")


def test_the_code_in_a_file_is_named(tmp_path):
    _Bomb.path = str(tmp_path / "ran")
    torch.save({"a": _Bomb()}, tmp_path / "w.pth")
    with pytest.raises(
        FaceError, match=r"cannot be used as the weights of a network.*wants to run code.*pathlib\.Path"
    ):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "w.pth", "a network")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_changes_while_it_is_read(monkeypatch, tmp_path):
    network = torch.nn.Linear(2, 2)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr(torch, "load", lambda *_, **__: {"weight": torch.zeros(2, 2), "bias": torch.zeros(5)})
    with pytest.raises(FaceError, match="changed while it was read"):
        load_weights(network, tmp_path / "w.pth", "a network")


def test_the_older_format_and_contents_before_names(tmp_path):
    from safetensors.torch import save_file

    network = torch.nn.Linear(2, 2)
    state = {name: torch.full_like(tensor, 7) for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "misnamed.pth")
    for name in ("old.pth", "misnamed.pth"):
        network = torch.nn.Linear(2, 2)
        load_weights(network, tmp_path / name, "a network")
        assert (network.weight == 7).all()
        assert (network.bias == 7).all()


def test_loaded_networks_are_in_evaluation_mode(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    load_weights(network, tmp_path / "w.pth", "a network")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())

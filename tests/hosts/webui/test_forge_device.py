"""Device, memory and folders of the host in SD-WebUI Forge, on its own modules."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpen.network.memory import memory_estimate
from gpen.weights.checkpoint import load_model
from tests.hosts.conftest import Parts
from tests.hosts.webui.host import WebUI


def restore_faces(forge: WebUI, pixels: NDArray[np.uint8]) -> Any:
    return forge.face_restoration.restore_faces(pixels)


def test_use_cpu_gpen_counts_though_the_host_ignores_it(
    forge: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forge.devices, "get_device_for", lambda task: torch.device("cuda", 77))
    forge.shared.cmd_opts.use_cpu = ["gpen"]
    assert not np.array_equal(restore_faces(forge, parts.left), parts.left)


def test_no_half_comes_before_the_setting(forge: WebUI, parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    forge.opts.gpen_precision = "fp16"
    assert restore_faces(forge, parts.left) is parts.left
    assert "float16 cannot be used on a CPU" in caplog.text
    forge.shared.cmd_opts.no_half = True
    assert not np.array_equal(restore_faces(forge, parts.left), parts.left)


def test_forge_s_memory_manager_is_asked_for_room(
    forge: WebUI, made_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, torch.device]] = []
    manager = importlib.import_module("backend.memory_management")
    monkeypatch.setattr(manager, "free_memory", lambda size, device: asked.append((size, device)))
    file = made_models["facerestore_models/passthrough-256.safetensors"]
    forge.adapter._make_room(file, torch.device("cuda"), torch.float32)
    forge.adapter._make_room(file, torch.device("cpu"), torch.float32)
    model = load_model(file)
    weights = sum(tensor.nbytes for name, tensor in model.network.state_dict().items() if "kernel" not in name)
    assert asked == [(weights + memory_estimate(model.spec, torch.float32), torch.device("cuda"))]


def test_networks_are_kept_in_memory_only_where_the_setting_says_so(
    forge: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load(path: Path, *more: Any) -> Any:
        loaded.append(path)
        return load_model(path, *more)

    monkeypatch.setattr(forge.adapter, "load_model", load)
    monkeypatch.setattr(forge.adapter.engine, "_kept", {})
    for keep, loads in ((True, 1), (True, 1), (False, 1), (False, 2)):
        forge.opts.gpen_keep_in_memory = keep
        restore_faces(forge, parts.left)
        assert len(loaded) == loads


def test_a_file_that_changed_is_loaded_again(forge: WebUI, parts: Parts, made_models: dict[str, Path]) -> None:
    file = forge.data / "models" / "facerestore_models" / "changing.safetensors"
    forge.opts.gpen_model = file.name
    results = []
    for network in ("passthrough-256", "marker-256"):
        file.write_bytes(made_models[f"facerestore_models/{network}.safetensors"].read_bytes())
        results.append(restore_faces(forge, parts.left))
    file.unlink()
    assert np.abs(results[0].astype(int) - results[1]).max() > 20


def test_after_processing_weights_move_into_ram_where_the_host_s_setting_says_so(
    forge: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_class = type(load_model(forge.data / "given" / "GPEN-BFR-256.safetensors").network)
    moved: list[str] = []
    to = network_class.to

    def watched(network: Any, *places: Any) -> Any:
        moved.append(str(places[0]))
        return to(network, *places)

    monkeypatch.setattr(network_class, "to", watched)
    monkeypatch.setattr(forge.devices, "get_device_for", lambda task: torch.device("cpu", 0))
    for unload, places in ((False, ["cpu:0"]), (True, ["cpu:0", "cpu"]), (True, ["cpu:0", "cpu"])):
        forge.opts.face_restoration_unload = unload
        moved.clear()
        restore_faces(forge, parts.left)
        assert moved == places


def test_weights_loaded_while_the_host_generates_serve_afterwards(
    forge: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It generates in inference mode, whose tensors cannot be used outside of it."""
    engine = forge.adapter.engine
    monkeypatch.setattr(engine, "_kept", {})
    forge.opts.gpen_detector = "retinaface_mobile0.25"
    with torch.inference_mode():
        during = restore_faces(forge, parts.left)
    network = engine._kept["model"][1].network
    detector = engine._kept["detector"][1]._network._network
    assert not any(weight.is_inference() for part in (network, detector) for weight in part.state_dict().values())
    assert not np.array_equal(during, parts.left)
    assert np.array_equal(restore_faces(forge, parts.left), during)


def test_the_flag_of_preload_comes_first(forge: WebUI) -> None:
    assert forge.shared.cmd_opts.gpen_models_path == str(forge.data / "given")
    models = forge.data / "models"
    expected = [forge.data / "given", models / "GPEN", models / "GFPGAN"]
    assert list(dict.fromkeys(forge.adapter.folders()))[:3] == expected
    for name in ("facerestore_models", "facedetection", "facexlib"):
        assert models / name in forge.adapter.folders()


def test_networks_of_the_host_s_own_restorers_are_not_offered(
    forge: WebUI, made_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guides put GPEN's files into models/GFPGAN, where the host keeps those of GFPGAN."""
    ours = tmp_path / "my-network.safetensors"
    ours.write_bytes(made_models["facerestore_models/passthrough-256.safetensors"].read_bytes())
    for name in ("GFPGANv1.4.pth", "codeformer-v0.1.0.pth", "detection_Resnet50_Final.pth", "parsing_parsenet.pth"):
        (tmp_path / name).write_bytes(b"something else")
    monkeypatch.setattr(forge.adapter, "folders", lambda: [tmp_path])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("GPEN_MODELS_PATH", raising=False)
    assert forge.adapter.networks() == ["auto", ours.name]
    assert forge.adapter.network_path("auto") == ours
    ours.unlink()
    with pytest.raises(Exception, match="No published network that restores faces is on this computer"):
        forge.adapter.network_path("auto")

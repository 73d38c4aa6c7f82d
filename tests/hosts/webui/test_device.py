"""The host's device, memory and folders, in the modules of SD-WebUI Forge or of a relative."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from gpen.network.memory import memory_estimate
from gpen.restoration import components
from gpen.weights.checkpoint import load_model
from tests.hosts.conftest import Parts
from tests.hosts.webui.host import WebUI
from tests.hosts.webui.pictures import restore_faces


def choose_device(webui: WebUI, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """Have the host choose a device for us, with or without asking what for."""
    webui.shared.cmd_opts.use_cpu = []
    if hasattr(webui.devices, "get_device_for"):
        monkeypatch.setattr(webui.devices, "get_device_for", lambda task: device)
    else:
        monkeypatch.setattr(webui.devices, "device", device)


def test_use_cpu_gpen_takes_effect_though_the_host_ignores_it(
    webui: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_device(webui, monkeypatch, torch.device("cuda", 77))
    webui.shared.cmd_opts.use_cpu = ["gpen"]
    assert not np.array_equal(restore_faces(webui, parts.left), parts.left)


def test_a_host_with_one_device_for_all(webui: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SD.Next is since July 2025."""
    monkeypatch.delattr(webui.devices, "get_device_for", raising=False)
    webui.shared.cmd_opts.use_cpu = []
    monkeypatch.setattr(webui.devices, "device", torch.device("cpu"))
    assert not np.array_equal(restore_faces(webui, parts.left), parts.left)


@pytest.mark.parametrize("flag", ["no_half", "all_in_fp32", "force_fp32"])
def test_flags_for_float32_override_the_setting(
    webui: WebUI, parts: Parts, caplog: pytest.LogCaptureFixture, flag: str
) -> None:
    if flag not in webui.shared.cmd_opts:
        pytest.skip("not a flag of this host")
    assert getattr(webui.shared.cmd_opts, flag) is False
    webui.opts.gpen_precision = "fp16"
    assert np.array_equal(restore_faces(webui, parts.left), parts.left)
    assert "float16 cannot be used on a CPU" in caplog.text
    setattr(webui.shared.cmd_opts, flag, True)
    assert not np.array_equal(restore_faces(webui, parts.left), parts.left)


def test_the_host_s_memory_manager_makes_room(
    webui: WebUI, synthetic_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = synthetic_models["facerestore_models/passthrough-256.safetensors"]
    if not webui.memory_manager:
        webui.adapter.make_room(file, torch.device("cuda"), torch.float32)
        return
    asked: list[tuple[int, torch.device]] = []
    manager = importlib.import_module(webui.memory_manager)
    # As it is called: by position, the first two of its own arguments.
    free = inspect.signature(manager.free_memory)

    def watched(*arguments: Any) -> None:
        given = free.bind(*arguments).arguments
        asked.append((given["memory_required"], given["device"]))

    monkeypatch.setattr(manager, "free_memory", watched)
    webui.adapter.make_room(file, torch.device("cuda"), torch.float32)
    webui.adapter.make_room(file, torch.device("cpu"), torch.float32)
    model = load_model(file)
    weights = sum(tensor.nbytes for name, tensor in model.network.state_dict().items() if "kernel" not in name)
    assert asked == [(weights + memory_estimate(model.spec, torch.float32), torch.device("cuda"))]


def test_networks_stay_in_memory_only_if_the_setting_says_so(
    webui: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load(path: Path, *more: Any) -> Any:
        loaded.append(path)
        return load_model(path, *more)

    monkeypatch.setattr(components, "load_model", load)
    webui.adapter.engine.cache.drop()
    for keep, loads in ((True, 1), (True, 1), (False, 1), (False, 2)):
        webui.opts.gpen_keep_in_memory = keep
        restore_faces(webui, parts.left)
        assert len(loaded) == loads


def test_a_changed_file_is_loaded_again(webui: WebUI, parts: Parts, synthetic_models: dict[str, Path]) -> None:
    file = webui.data / "models" / "facerestore_models" / "changing.safetensors"
    webui.opts.gpen_model = file.name
    results = []
    for network in ("passthrough-256", "marker-256"):
        file.write_bytes(synthetic_models[f"facerestore_models/{network}.safetensors"].read_bytes())
        results.append(restore_faces(webui, parts.left))
    file.unlink()
    assert np.abs(results[0].astype(int) - results[1]).max() > 20


def test_weights_move_to_ram_after_a_picture_if_the_host_s_setting_says_so(
    webui: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_class = type(load_model(webui.data / "given" / "GPEN-BFR-256.safetensors").network)
    moved: list[str] = []
    to = network_class.to

    def watched(network: Any, device: Any) -> Any:
        moved.append(str(device))
        return to(network, device)

    monkeypatch.setattr(network_class, "to", watched)
    choose_device(webui, monkeypatch, torch.device("cpu", 0))
    for unload, devices in ((False, ["cpu:0"]), (True, ["cpu:0", "cpu"]), (True, ["cpu:0", "cpu"])):
        webui.opts.face_restoration_unload = unload
        moved.clear()
        restore_faces(webui, parts.left)
        assert moved == devices


def test_weights_loaded_during_a_generation_are_usable_afterwards(webui: WebUI, parts: Parts) -> None:
    """The host generates in inference mode, whose tensors cannot be used outside of it."""
    webui.adapter.engine.cache.drop()
    webui.opts.gpen_detector = "retinaface_mobile0.25"
    weights: list[torch.Tensor] = []
    watch = register_module_forward_pre_hook(lambda module, _: weights.extend(module.state_dict().values()))
    with watch, torch.inference_mode():
        during = restore_faces(webui, parts.left)
    assert weights
    assert not any(weight.is_inference() for weight in weights)
    assert not np.array_equal(during, parts.left)
    assert np.array_equal(restore_faces(webui, parts.left), during)


def test_the_folder_of_our_flag_comes_first(webui: WebUI) -> None:
    assert webui.shared.cmd_opts.gpen_models_path == str(webui.data / "given")
    models = webui.data / "models"
    expected = [webui.data / "given", models / "GPEN", models / "GFPGAN"]
    assert list(dict.fromkeys(webui.adapter.folders()))[:3] == expected
    for name in ("facerestore_models", "facedetection", "facexlib"):
        assert models / name in webui.adapter.folders()


def test_networks_of_the_host_s_own_restorers_are_not_listed(
    webui: WebUI, synthetic_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guides put GPEN's files into models/GFPGAN, among GFPGAN's."""
    ours = tmp_path / "my-network.safetensors"
    ours.write_bytes(synthetic_models["facerestore_models/passthrough-256.safetensors"].read_bytes())
    for name in ("GFPGANv1.4.pth", "codeformer-v0.1.0.pth", "detection_Resnet50_Final.pth", "parsing_parsenet.pth"):
        (tmp_path / name).write_bytes(b"something else")
    monkeypatch.setattr(webui.adapter, "folders", lambda: [tmp_path])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("GPEN_MODELS_PATH", raising=False)
    assert webui.adapter.networks() == ["auto", ours.name]
    assert webui.adapter.network_files("auto").first == ours
    ours.unlink()
    with pytest.raises(Exception, match="No published model that restores faces is on this computer"):
        webui.adapter.network_files("auto")


def test_auto_takes_for_each_face_the_network_of_its_size(
    webui: WebUI, parts: Parts, synthetic_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = synthetic_models["facerestore_models/passthrough-256.safetensors"].read_bytes()
    names = [f"GPEN-BFR-{size}.safetensors" for size in (512, 1024)]
    for name in names:
        (tmp_path / name).write_bytes(network)
    folders = webui.adapter.folders()
    monkeypatch.setattr(webui.adapter, "folders", lambda: [tmp_path, *folders])
    files = webui.adapter.network_files("auto")
    assert [path.name for path in (files.first, *files.others)] == names
    request = webui.adapter.PictureRequest(networks=files, options=webui.adapter.options_from({}))
    result = webui.adapter.engine.run(parts.left, request)
    # Both make faces of the same size, larger than any in the photo.
    assert {(face.network.name, face.network.size) for face in result.faces} == {(names[0], 256)}
    assert webui.adapter.facts_of(result, request)["GPEN model"] == "auto"
    named = webui.adapter.PictureRequest(
        networks=webui.adapter.network_files(names[1]), options=webui.adapter.options_from({})
    )
    assert webui.adapter.facts_of(webui.adapter.engine.run(parts.left, named), named)["GPEN model"] == names[1]

"""The extension in AUTOMATIC1111's own modules, with the versions of gradio, FastAPI and pydantic that it pins."""

from __future__ import annotations

import importlib
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gpen.errors import CheckpointError
from gpen.options import OPTIONS
from gpen.weights.checkpoint import load_model
from tests.hosts.conftest import Parts
from tests.hosts.webui.conftest import MakeClient, Reference
from tests.hosts.webui.host import CHECKOUT, EXTENSION, WebUI
from tests.hosts.webui.pictures import bytes_of, decoded, encoded, restore_faces, run_panel

ALLOWED = ("data.pkl", "version")
"""The members that the host accepts in an archive, besides the tensors' data."""


@pytest.fixture
def state(synthetic_models: dict[str, Path]) -> dict[str, Tensor]:
    return dict(load_model(synthetic_models["facerestore_models/marker-256.safetensors"]).network.state_dict())


@pytest.fixture
def reported(a1111: WebUI, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Errors that the host reported."""
    lines: list[str] = []
    monkeypatch.setattr(a1111.errors, "report", lambda message, **_: lines.append(message))
    return lines


def without_newer_members(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            if name.partition("/")[2] in ALLOWED or "/data/" in name:
                archive.writestr(name, content)


def legacy(state: dict[str, Tensor], file: Path) -> None:
    torch.save(state, file, _use_new_zipfile_serialization=False)


def half_legacy(state: dict[str, Tensor], file: Path) -> None:
    legacy({name: tensor.half() for name, tensor in state.items()}, file)


def half_zip(state: dict[str, Tensor], file: Path) -> None:
    torch.save({name: tensor.half() for name, tensor in state.items()}, file)
    without_newer_members(file)


def nested_zip(state: dict[str, Tensor], file: Path) -> None:
    torch.save({"g_ema": state}, file)
    without_newer_members(file)


class RunsCode:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize("write", [legacy, half_legacy, half_zip, nested_zip])
def test_weights_load_under_the_host_s_safety_check(
    a1111: WebUI,
    parts: Parts,
    state: dict[str, Tensor],
    reference: Reference,
    reported: list[str],
    write: Callable[..., None],
) -> None:
    file = a1111.data / "models" / "GFPGAN" / "synthetic.pth"
    file.parent.mkdir(exist_ok=True)
    write(state, file)
    assert torch.load is a1111.safe.load
    a1111.opts.gpen_model = file.name
    result = restore_faces(a1111, parts.left)
    file.unlink()
    assert reported == []
    # float16 rounds the weights.
    allowed = 2 if write in (half_legacy, half_zip) else 0
    assert np.abs(result.astype(int) - bytes_of(reference(parts.left).photo)).max() <= allowed


def test_safetensors_load_under_the_host_s_safety_check(
    a1111: WebUI, parts: Parts, reference: Reference, reported: list[str]
) -> None:
    a1111.opts.gpen_model = "marker-256.safetensors"
    assert np.array_equal(restore_faces(a1111, parts.left), bytes_of(reference(parts.left).photo))
    assert reported == []


def test_files_of_newer_pytorch_are_refused_with_what_to_do(
    a1111: WebUI, parts: Parts, state: dict[str, Tensor], reported: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = a1111.data / "models" / "newer.pth"
    torch.save(state, file)
    assert torch.load(file) is None
    assert "Error verifying pickled file" in reported[0]
    with pytest.raises(CheckpointError, match=r"rejected newer\.pth .* Convert the file") as refused:
        load_model(file)
    assert ".safetensors" in str(refused.value)
    a1111.opts.gpen_model = str(file)
    assert restore_faces(a1111, parts.left) is parts.left
    assert "Convert the file" in caplog.text
    file.unlink()


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_malicious_file_is_refused_before_the_host_sees_it(
    a1111: WebUI, state: dict[str, Tensor], tmp_path: Path, reported: list[str], new: bool
) -> None:
    file = tmp_path / "malicious.pth"
    torch.save(state | {"extra": RunsCode()}, file, _use_new_zipfile_serialization=new)
    if new:
        without_newer_members(file)
    with pytest.raises(CheckpointError, match=r"malicious\.pth wants to run code .* refused, and nothing was executed"):
        load_model(file)
    assert reported == []
    assert torch.load(file) is None
    assert "may be malicious" in reported[0]


def test_reload_ui_leaves_one_restorer_and_sys_path_unchanged(a1111: WebUI, parts: Parts) -> None:
    """The extension's folder is on sys.path only while scripts are imported: later imports have to work without it."""
    ours = str(a1111.data / "extensions" / EXTENSION)
    before = list(sys.path)
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("gpen", "gpen_hosts")}
    for name in kept:
        del sys.modules[name]
    sys.path[:] = [folder for folder in before if Path(folder or ".").resolve() != CHECKOUT]
    without = list(sys.path)
    try:
        for _ in range(2):
            a1111.load_scripts()
            assert sys.path == without
            assert ours not in sys.path
            [restorer] = [restorer for restorer in a1111.shared.face_restorers if restorer.name() == "GPEN"]
            assert type(restorer) is sys.modules["gpen_hosts.webui.face_restorer"].GpenFaceRestorer
        fresh = sys.modules["gpen"]
        assert fresh is not kept["gpen"]
        assert str(fresh.__file__).startswith(ours)
        a1111.opts.gpen_model = "marker-256.safetensors"
        for detector in ("yunet", "retinaface_mobile0.25"):
            a1111.opts.gpen_detector = detector
            assert not np.array_equal(restore_faces(a1111, parts.left), parts.left)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ("gpen", "gpen_hosts")]:
            del sys.modules[name]
        sys.modules.update(kept)
        sys.path[:] = before
        a1111.load_scripts()


def test_gradio_3_builds_every_control_of_the_panel(a1111: WebUI) -> None:
    run_panel(a1111, Image.new("RGB", (8, 8)), {})
    script = next(s for s in a1111.scripts.scripts_postproc.scripts_in_preferred_order() if s.name == "GPEN")
    controls = script.controls
    assert type(controls["enable"]).__name__ == "InputAccordion"
    assert controls["model"].choices[:2] == ["auto", "GPEN-BFR-256.safetensors"]
    for name in [name for name in controls if name in OPTIONS]:
        option, control = OPTIONS[name], controls[name]
        assert (control.label, control.info, control.value) == (option.label, option.help, option.default)
        if option.choices:
            assert control.choices == list(option.choices)
        elif option.minimum is not None:
            assert (control.minimum, control.maximum, control.step) == (option.minimum, option.maximum, option.step)


def test_extras_with_arguments_without_any_and_with_alpha(a1111: WebUI, parts: Parts, reference: Reference) -> None:
    alpha = np.full(parts.left.shape[:2], 77, np.uint8)
    image = Image.fromarray(np.dstack([parts.left, alpha]), "RGBA")
    assert run_panel(a1111, image, {}).image is image
    picture = run_panel(a1111, image, {"enable": True, "model": "marker-256.safetensors", "strength": 0.5})
    assert picture.image.mode == "RGBA"
    assert np.array_equal(np.asarray(picture.image)[..., :3], bytes_of(reference(parts.left, strength=0.5).photo))
    assert (np.asarray(picture.image)[..., 3] == 77).all()


def test_the_api_under_pydantic_1(a1111: WebUI, make_client: MakeClient, parts: Parts) -> None:
    client, image = make_client(a1111), encoded(parts.left)
    assert client.get("/gpen/models").json()["default"] == "auto"
    assert client.post("/gpen/restore", json={"image": image}).json()["faces"] == 5
    for change in ({"strength": 2}, {"mask": "circle"}, {"image": "?"}):
        assert client.post("/gpen/restore", json={"image": image} | change).status_code == 422
    assert client.post("/gpen/restore", json={"image": image, "model": "nothing"}).status_code == 404
    fields = client.get("/openapi.json").json()["components"]["schemas"]["GpenRestoreRequest"]["properties"]
    assert set(fields) == {"image", "task", "model", "damage", "protect", "person", "aligned", *OPTIONS} - {
        "video",
        "texture",
    }
    assert fields["strength"]["maximum"] == 1


@pytest.mark.parametrize(("sent", "method"), [(True, "lab"), (False, "none"), ("wavelet", "wavelet")])
def test_matching_colours_may_still_be_yes_or_no(
    a1111: WebUI, make_client: MakeClient, parts: Parts, reference: Reference, sent: bool | str, method: str
) -> None:
    request = {"image": encoded(parts.left), "model": "marker-256.safetensors", "color_match": sent}
    expected = bytes_of(reference(parts.left, color_match=method).photo)
    assert np.array_equal(decoded(make_client(a1111).post("/gpen/restore", json=request)), expected)


def test_gradio_3_builds_the_components_of_the_settings(a1111: WebUI) -> None:
    gradio = importlib.import_module("gradio")
    names = [name for name in a1111.opts.data_labels if name.startswith("gpen_")]
    assert len(names) == 10
    for name in names:
        info = a1111.opts.data_labels[name]
        arguments = info.component_args() if callable(info.component_args) else info.component_args
        with gradio.Blocks():
            built = info.component(label=info.label, value=info.default, elem_id=f"setting_{name}", **(arguments or {}))
        assert built.value == info.default

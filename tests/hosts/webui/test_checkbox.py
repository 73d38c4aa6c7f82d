"""The Face Restoration checkbox and the plot axes, in the modules of SD-WebUI Forge or of a relative."""

from __future__ import annotations

import logging
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gpen.restoration.result import Restoration
from gpen.weights.checkpoint import load_model
from tests.face_parsers import FILE, write_parser
from tests.hosts.conftest import Parts
from tests.hosts.webui.conftest import Reference
from tests.hosts.webui.host import CHECKOUT, CHOSEN, EXTENSION, WebUI
from tests.hosts.webui.pictures import Pixels, bytes_of, restore_faces
from tests.restoration import checks

pytestmark = pytest.mark.usefixtures("checkbox")
reads_any_pth = pytest.mark.skipif(CHOSEN == "a1111", reason="it refuses files of newer PyTorch: see test_a1111.py")


class Generation:
    """Those attributes of the host's class that extensions' scripts use."""

    def __init__(self) -> None:
        self.extra_generation_params: dict[str, Any] = {"Steps": 20}
        self.script_args: tuple[Any, ...] = ()


def as_restoration(restoration: Restoration, pixels: Pixels) -> Restoration:
    return replace(restoration, photo=pixels.astype(np.float32) / 255)


@pytest.fixture
def corrupted(webui: WebUI, synthetic_models: dict[str, Path]) -> Any:
    """A .pth file that the setting names: its zip directory is intact, one of its members is not."""
    state = load_model(synthetic_models["facerestore_models/passthrough-256.safetensors"]).network.state_dict()
    file = webui.data / "models" / "facerestore_models" / "corrupted.pth"
    torch.save(state, file)
    start = zipfile.ZipFile(file).infolist()[9].header_offset
    with file.open("r+b") as written:
        written.seek(start)
        written.write(bytes(4))
    webui.opts.gpen_model = file.name
    yield file
    for path in file.parent.glob("corrupted*"):
        path.unlink()


@pytest.fixture
def job(webui: WebUI) -> Any:
    """A running generation."""
    runner = webui.scripts.scripts_txt2img
    runner.initialize_scripts(is_img2img=False)
    runner.scripts = [script for script in runner.scripts if EXTENSION in script.filename]
    runner.alwayson_scripts = list(runner.scripts)
    # Since the host remembers which scripts have a method.
    getattr(runner, "callback_map", {}).clear()
    processing = Generation()
    runner.process(processing)
    yield processing
    runner.postprocess(processing, None)


def test_reload_ui_leaves_one_restorer_one_panel_and_one_of_each_script(webui: WebUI) -> None:
    for _ in range(2):
        webui.load_scripts()
        assert [restorer.name() for restorer in webui.shared.face_restorers].count("GPEN") == 1
        ours = [data for data in webui.scripts.scripts_data if EXTENSION in data.path]
        panels = [data for data in webui.scripts.postprocessing_scripts_data if EXTENSION in data.path]
        assert [data.script_class.__name__ for data in ours] == ["RememberJob"]
        assert [data.script_class.name for data in panels] == ["GPEN"]


def test_the_setting_face_restoration_model_lists_gpen(webui: WebUI) -> None:
    choices = webui.shared_options.options_templates["face_restoration_model"].component_args()
    assert "GPEN" in choices["choices"]


def test_passthrough_returns_the_solvay_photo(webui: WebUI, solvay_pixels: Pixels, reference: Reference) -> None:
    before = solvay_pixels.copy()
    restored = restore_faces(webui, solvay_pixels)
    assert restored.dtype == np.uint8
    assert restored.shape == solvay_pixels.shape
    assert np.array_equal(solvay_pixels, before)
    expected = reference(solvay_pixels, "passthrough-256")
    assert len(expected.faces) >= 25
    checks.passed_through(as_restoration(expected, restored), solvay_pixels.astype(np.float32) / 255, mean=1)
    assert np.array_equal(restored, bytes_of(expected.photo))


def test_marker_weights_change_the_colours(webui: WebUI, parts: Parts, reference: Reference) -> None:
    webui.opts.gpen_model = "marker-256.safetensors"
    restored = restore_faces(webui, parts.left)
    expected = reference(parts.left)
    checks.marked(as_restoration(expected, restored), parts.left.astype(np.float32) / 255)


def test_the_strength_setting_takes_effect(webui: WebUI, parts: Parts, reference: Reference) -> None:
    webui.opts.gpen_model, webui.opts.gpen_strength = "marker-256.safetensors", 0.5
    expected = bytes_of(reference(parts.left, strength=0.5).photo)
    assert np.array_equal(restore_faces(webui, parts.left), expected)


def test_the_checkbox_never_enlarges(webui: WebUI, parts: Parts) -> None:
    plain = restore_faces(webui, parts.left)
    webui.opts.gpen_upscale = 2.0
    assert np.array_equal(restore_faces(webui, parts.left), plain)


def test_without_the_settings_page_defaults_apply(webui: WebUI, parts: Parts, reference: Reference) -> None:
    """With --nowebui it is never built."""
    for name in [name for name in webui.opts.data if name.startswith("gpen_")]:
        del webui.opts.data[name], webui.opts.data_labels[name]
    assert not hasattr(webui.opts, "gpen_model")
    expected = bytes_of(reference(parts.left, "passthrough-256").photo)
    assert np.array_equal(restore_faces(webui, parts.left), expected)


def test_infotext_of_the_checkbox_is_read_back_into_settings(webui: WebUI, parts: Parts, job: Any) -> None:
    restore_faces(webui, parts.left)
    written = job.extra_generation_params
    read = {info.infotext: name for name, info in webui.opts.data_labels.items() if name.startswith("gpen_")}
    assert {read[name]: written[name] for name in written if name in read} == {
        "gpen_model": "GPEN-BFR-256.safetensors",
        "gpen_mask": "ellipse",
        "gpen_strength": 1.0,
    }
    assert written["GPEN model"] in webui.opts.data_labels["gpen_model"].component_args()["choices"]


def test_a_generation_within_another_has_an_infotext_of_its_own(webui: WebUI, parts: Parts, job: Any) -> None:
    inner, runner = Generation(), webui.scripts.scripts_txt2img
    runner.process(inner)
    restore_faces(webui, parts.left)
    runner.postprocess(inner, None)
    assert inner.extra_generation_params["GPEN faces"] == 5
    assert "GPEN faces" not in job.extra_generation_params
    restore_faces(webui, parts.left)
    assert job.extra_generation_params["GPEN faces"] == 5


def test_infotext_of_the_running_job(webui: WebUI, parts: Parts, job: Any) -> None:
    restore_faces(webui, parts.left)
    first = {"Steps": 20, "GPEN model": "GPEN-BFR-256.safetensors", "GPEN mask": "ellipse", "GPEN strength": 1.0}
    first["GPEN faces"] = 5
    assert job.extra_generation_params == first
    webui.opts.gpen_model = "not there"
    restore_faces(webui, parts.left)
    assert set(job.extra_generation_params) == {"Steps", "GPEN error"}
    assert "not there" in job.extra_generation_params["GPEN error"]
    webui.opts.gpen_model = "auto"
    restore_faces(webui, parts.left)
    assert job.extra_generation_params == first
    webui.scripts.scripts_txt2img.postprocess(job, None)
    webui.opts.gpen_strength = 0.5
    restore_faces(webui, parts.left)
    assert job.extra_generation_params == first


@reads_any_pth
def test_the_mask_auto_is_parsed_where_a_parser_is_and_infotext_says_so(
    webui: WebUI, parts: Parts, job: Any, tmp_path: Path
) -> None:
    def restored(mask: str) -> Pixels:
        webui.opts.gpen_mask = mask
        return restore_faces(webui, parts.left)

    webui.opts.gpen_model = "marker-256.safetensors"
    ellipse = restored("ellipse")
    assert np.array_equal(restored("auto"), ellipse)
    assert job.extra_generation_params["GPEN mask"] == "ellipse"
    parser = webui.data / "models" / "facedetection" / FILE
    shutil.copy(write_parser(tmp_path), parser)
    try:
        parsed = restored("parsed")
        assert not np.array_equal(parsed, ellipse)
        assert np.array_equal(restored("auto"), parsed)
        assert job.extra_generation_params["GPEN mask"] == "parsed"
        # What a saved setting or an infotext says stays.
        assert np.array_equal(restored("ellipse"), ellipse)
    finally:
        parser.unlink()
    template = webui.opts.data_labels["gpen_mask"]
    assert template.infotext == "GPEN mask"
    assert {"auto", "ellipse", "parsed"} < set(template.component_args["choices"])


def test_sdnext_passes_the_job(webui: WebUI, parts: Parts) -> None:
    restorer = next(restorer for restorer in webui.shared.face_restorers if restorer.name() == "GPEN")
    processing = Generation()
    restorer.restore(parts.left, processing)
    assert processing.extra_generation_params["GPEN faces"] == 5


def test_gpen_is_listed_once_among_sdnext_s_detailers(webui: WebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(name=lambda: "Detailer")
    monkeypatch.setattr(webui.shared, "detailers", [other], raising=False)
    for _ in range(2):
        webui.load_scripts()
        assert [detailer.name() for detailer in webui.shared.detailers] == ["Detailer", "GPEN"]


@reads_any_pth
def test_the_host_wraps_torch_load(corrupted: Path) -> None:
    """The premise of the next test: Forge's wrapper renames a corrupted file, if it is given its path as text."""
    with pytest.raises((ValueError, BufferError)):  # the latter in Forge Neo
        torch.load(str(corrupted), weights_only=True)
    assert not corrupted.exists()
    assert corrupted.with_name("corrupted.pth.corrupted").exists()


@reads_any_pth
def test_a_corrupted_file_leaves_the_picture_unchanged_and_is_not_renamed(
    webui: WebUI, parts: Parts, corrupted: Path, job: Any, caplog: pytest.LogCaptureFixture
) -> None:
    content = corrupted.read_bytes()
    assert restore_faces(webui, parts.left) is parts.left
    assert corrupted.read_bytes() == content
    assert sorted(file.name for file in corrupted.parent.glob("corrupted*")) == ["corrupted.pth"]
    assert "corrupted.pth" in caplog.text
    # The error came from torch.load, inside the wrapper.
    assert "corrupted.pth could not be read by PyTorch's safe reader" in job.extra_generation_params["GPEN error"]


def test_a_bug_of_ours_does_not_lose_the_picture(
    webui: WebUI, parts: Parts, job: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(webui.adapter.engine, "run", fail)
    assert restore_faces(webui, parts.left) is parts.left
    assert caplog.records[-1].levelno == logging.ERROR
    assert caplog.records[-1].exc_info
    assert job.extra_generation_params["GPEN error"] == "ZeroDivisionError: a bug"


@pytest.mark.parametrize("flag", ["interrupted", "skipped"])
def test_interrupt_and_skip_keep_the_faces_done_so_far(
    webui: WebUI, parts: Parts, reference: Reference, monkeypatch: pytest.MonkeyPatch, flag: str, job: Any
) -> None:
    class Pressed(type(webui.state)):  # type: ignore[misc]
        """The user presses the button while the third face is restored."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if (name, value) == ("sampling_step", 2):
                super().__setattr__(flag, True)

    monkeypatch.setattr(webui.shared, "state", Pressed())
    webui.opts.gpen_model = "marker-256.safetensors"
    restored = restore_faces(webui, parts.left)
    assert np.array_equal(restored, bytes_of(reference(parts.left, only_faces="0,1").photo))
    assert job.extra_generation_params["GPEN faces"] == 2


def test_progress_counts_faces_and_is_restored_afterwards(
    webui: WebUI, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int, str]] = []

    class Watched(type(webui.state)):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "textinfo" and value and value.startswith("GPEN"):
                shown.append((self.sampling_step, self.sampling_steps, value))

    state = Watched()
    state.sampling_step, state.sampling_steps, state.textinfo = 7, 20, "before"
    monkeypatch.setattr(webui.shared, "state", state)
    restore_faces(webui, parts.left)
    assert shown == [(done, 5, f"GPEN: {done} of 5 faces") for done in range(6)]
    assert (state.sampling_step, state.sampling_steps, state.textinfo) == (7, 20, "before")


def test_another_extension_s_package_gpen_is_refused(webui: WebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("gpen")
    other.__file__ = str(webui.data / "extensions" / "other" / "gpen" / "__init__.py")
    monkeypatch.setitem(sys.modules, "gpen", other)
    with pytest.raises(ImportError, match="Disable one of the two extensions") as refused:
        webui.script_loading.load_module(str(CHECKOUT / "scripts" / "gpen_webui.py"))
    assert other.__file__ in str(refused.value)


def test_each_plot_axis_is_listed_once_and_sets_its_value(webui: WebUI, parts: Parts, reference: Reference) -> None:
    grid = next(data.module for data in webui.scripts.scripts_data if data.path.endswith("xyz_grid.py"))
    for _ in range(2):
        webui.script_callbacks.before_ui_callback()
        axes = {axis.label: axis for axis in grid.axis_options if "GPEN" in axis.label}
        assert [axis.label for axis in grid.axis_options if "GPEN" in axis.label] == list(axes)
    model, strength = axes["[GPEN] Model"], axes["[GPEN] Strength"]
    assert "marker-256.safetensors" in model.choices()
    with pytest.raises(RuntimeError, match="Unknown GPEN model: nonsense"):
        model.confirm(None, ["auto", "nonsense"])
    model.confirm(None, model.choices())

    processing = SimpleNamespace(restore_faces=False, override_settings={})
    model.apply(processing, "marker-256.safetensors", [])
    strength.apply(processing, strength.type("0.5"), [])
    assert processing.restore_faces
    for name, value in processing.override_settings.items():
        assert webui.opts.set(name, value, is_api=True) or webui.opts.data[name] == value
    expected = bytes_of(reference(parts.left, strength=0.5).photo)
    assert np.array_equal(restore_faces(webui, parts.left), expected)

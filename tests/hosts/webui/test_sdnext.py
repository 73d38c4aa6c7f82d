"""What is different in SD.Next, in its own modules."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.hosts.conftest import Parts
from tests.hosts.webui.conftest import Reference
from tests.hosts.webui.host import EXTENSION, WebUI
from tests.hosts.webui.pictures import bytes_of, choices_of


@pytest.fixture
def shown(sdnext: WebUI, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the host's logger is given, and thus shows."""
    lines: list[str] = []
    log = sdnext.logger.log
    handle = log.handle

    def watched(record: logging.LogRecord) -> None:
        lines.append(record.getMessage())
        handle(record)

    monkeypatch.setattr(log, "handle", watched)
    return lines


def controls_of(sdnext: WebUI) -> dict[str, Any]:
    runner = sdnext.scripts.scripts_postproc
    runner.create_args_for_run({})
    [script] = [script for script in runner.scripts_in_preferred_order() if script.name == "GPEN"]
    return dict(script.controls)


def process(sdnext: WebUI, mode: int, arguments: dict[str, Any], **given: Any) -> tuple[list[Image.Image], Any, str]:
    """Pictures, video and infotext, as the Process tab makes them."""
    values = sdnext.scripts.scripts_postproc.create_args_for_run({"GPEN": arguments})
    images, video = given.get("images"), given.get("video")
    outputs, video, infotext, _ = sdnext.postprocessing.run_postprocessing(
        mode, None, images, "", "", video, True, *values, save_output=False
    )
    return outputs, video, infotext


def test_what_the_extension_used_is_gone(sdnext: WebUI) -> None:
    """The premise of these tests."""
    for name in ("face_restorers", "detailers"):
        assert not hasattr(sdnext.shared, name)
    assert not hasattr(sdnext.devices, "get_device_for")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("modules.face_restoration")


def test_where_else_gpen_is_is_said_once(sdnext: WebUI, shown: list[str]) -> None:
    importlib.import_module("gpen_hosts.webui.face_restorer")._say_where_else.cache_clear()
    for _ in range(2):
        sdnext.load_scripts()
    # The host also repeats what it printed while a script was loaded.
    [said] = [line for line in shown if line.startswith("This WebUI has no face restorers to choose from")]
    options = sdnext.opts.data_labels["postprocessing_enable_in_main_ui"]
    assert f'"{options.label}"' in said
    assert options.section[1] in said
    # Not filled before the tab is built.
    assert controls_of(sdnext)
    assert "GPEN" in options.component_args()["choices"]


def test_it_runs_after_each_generation_where_the_user_adds_it(
    sdnext: WebUI, parts: Parts, reference: Reference
) -> None:
    """The nearest thing to the checkbox, through the host's own runner; its Control tab has no extensions."""
    sdnext.opts.postprocessing_enable_in_main_ui = ["GPEN"]
    gradio = importlib.import_module("gradio")
    sdnext.load_scripts()
    for name, more in (("txt2img", {}), ("img2img", {"is_img2img": True}), ("control", {"is_control": True})):
        runner = sdnext.scripts_manager.ScriptRunner(name)
        runner.initialize_scripts(**more)
        runner.scripts = [script for script in runner.scripts if EXTENSION in script.filename]
        runner.selectable_scripts, runner.alwayson_scripts = [], list(runner.scripts)
        with gradio.Blocks():
            inputs = runner.setup_ui(parent=name)
        scripts = [script for script in runner.scripts if script.title() == "GPEN"]
        assert len(scripts) == (name != "control")
        for script in scripts:
            values = [getattr(component, "value", None) for component in inputs]
            names = list(script.postprocessing_controls)
            values[script.args_from + names.index("enable")] = True
            values[script.args_from + names.index("model")] = "marker-256.safetensors"
            fields = {"extra_generation_params": {}, "script_args": values, "per_script_args": {}}
            generation = type("Generation", (), fields)()
            picture = sdnext.scripts_manager.PostprocessImageArgs(Image.fromarray(parts.left))
            runner.postprocess_image(generation, picture)
            assert np.array_equal(np.asarray(picture.image), bytes_of(reference(parts.left).photo))
            assert generation.extra_generation_params["Postprocess GPEN faces"] == 5


def test_the_plot_gets_no_axes_that_nothing_reads(sdnext: WebUI) -> None:
    sdnext.script_callbacks.before_ui_callback()
    [grid] = [data.module for data in sdnext.scripts.scripts_data if data.path.endswith("xyz_grid.py")]
    assert len(grid.axis_options) > 10
    assert not [axis.label for axis in grid.axis_options if "GPEN" in axis.label]


def test_transparency_does_not_arrive_and_the_panel_says_so(sdnext: WebUI, parts: Parts, shown: list[str]) -> None:
    task = controls_of(sdnext)["task"]
    assert "inpaint does not work here" in task.info
    assert "inpaint" in choices_of(task)
    alpha = np.full(parts.left.shape[:2], 255, np.uint8)
    alpha[100:110, 100:110] = 0
    picture = Image.fromarray(np.dstack([parts.left, alpha]))
    model = {"enable": True, "task": "inpaint", "model": "marker-256.safetensors"}
    [output], _, infotext = process(sdnext, 1, model, images=[picture])
    assert output.mode == "RGB"
    assert np.array_equal(np.asarray(output), parts.left)
    # Before the model, which is one for another task, is opened at all.
    assert "SD.Next drops the transparency of pictures" in infotext
    assert [line for line in shown if "SD.Next drops the transparency of pictures" in line]


def test_a_video_is_left_as_it_is_with_a_sentence(sdnext: WebUI, tmp_path: Path, shown: list[str]) -> None:
    file = tmp_path / "video.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    before = file.read_bytes()
    outputs, video, _ = process(sdnext, 3, {"enable": True}, video=str(file))
    assert (outputs, video) == ([], str(file))
    assert file.read_bytes() == before
    assert [line for line in shown if "restore videos with the command gpen restore film.mp4" in line]
    shown.clear()
    process(sdnext, 3, {"enable": False}, video=str(file))
    assert not [line for line in shown if "GPEN works" in line]


def test_messages_of_the_package_are_shown_with_their_arguments(sdnext: WebUI, shown: list[str]) -> None:
    for _ in range(2):
        sdnext.load_scripts()
    shown.clear()
    logging.getLogger("gpen.weights.checkpoint").warning("%d of %s", 2, "three")
    logging.getLogger("gpen_hosts.webui.host").info("hello %s", "there")
    logging.getLogger("gpen.device").debug("not this")
    assert shown == ["2 of three", "hello there"]

"""The panel in the Extras tab, in the modules of SD-WebUI Forge or of a relative."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpen.images.resize import resize
from gpen.options import OPTIONS
from gpen.tasks import TASKS
from tests.hosts.conftest import Parts
from tests.hosts.webui.conftest import Reference
from tests.hosts.webui.host import EXTENSION, WebUI
from tests.hosts.webui.pictures import bytes_of, choices_of, known_facts, run_panel

MARKER = {"enable": True, "model": "marker-256.safetensors"}


@pytest.fixture
def errors(webui: WebUI, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Errors that the host reported while it ran our code."""
    reported: list[str] = []

    def display(error: Exception, task: str, **_: Any) -> None:
        if EXTENSION in task:
            reported.append(f"{task}: {error}")

    monkeypatch.setattr(webui.errors, "display", display)
    return reported


def panel(webui: WebUI) -> Any:
    """Our script, with newly built controls."""
    webui.load_scripts()
    runner = webui.scripts.scripts_postproc
    runner.create_args_for_run({})
    return next(script for script in runner.scripts_in_preferred_order() if script.name == "GPEN")


def test_restores_with_the_given_arguments(webui: WebUI, parts: Parts, reference: Reference, errors: list[str]) -> None:
    arguments = {"strength": 0.5, "mask": "box", "feather": 0.2, "only_faces": "0,2-3"}
    picture = run_panel(webui, Image.fromarray(parts.left), MARKER | arguments)
    expected = reference(parts.left, **arguments)
    assert len(expected.faces) == 3
    assert picture.image.mode == "RGB"
    assert np.array_equal(np.asarray(picture.image), bytes_of(expected.photo))
    assert known_facts(picture) == {
        "Postprocess GPEN model": "marker-256.safetensors",
        "Postprocess GPEN mask": "box",
        "Postprocess GPEN strength": 0.5,
        "Postprocess GPEN faces": 3,
    }
    assert errors == []


def test_the_default_model_and_the_settings_apply(webui: WebUI, parts: Parts) -> None:
    webui.opts.gpen_upscale = 2.0
    picture = run_panel(webui, Image.fromarray(parts.left), {"enable": True})
    assert picture.image.size == (2 * parts.left.shape[1], 2 * parts.left.shape[0])
    assert picture.info["Postprocess GPEN model"] == "GPEN-BFR-256.safetensors"
    assert picture.info["Postprocess GPEN upscale"] == 2.0
    expected = bytes_of(resize(parts.left.astype(np.float32) / 255, picture.image.size))
    error = np.abs(np.asarray(picture.image).astype(int) - expected)
    # In faces about 100 pixels of the picture went through 256 of the network.
    assert error.mean() < 0.5
    assert 0 < (error > 0).any(axis=-1).mean() < 0.5


@pytest.mark.parametrize("arguments", [{}, {"enable": False}, {"enable": False, "strength": 0.5}])
def test_without_enable_nothing_is_done(
    webui: WebUI, parts: Parts, errors: list[str], arguments: dict[str, Any]
) -> None:
    """With {} every argument is None, as the host's API passes them."""
    image = Image.fromarray(parts.left)
    picture = run_panel(webui, image, arguments)
    assert picture.image is image
    assert not picture.info
    assert errors == []


def test_alpha_is_kept(webui: WebUI, parts: Parts, reference: Reference) -> None:
    alpha = np.linspace(0, 255, parts.left.size // 3).astype(np.uint8).reshape(parts.left.shape[:2])
    image = Image.fromarray(np.dstack([parts.left, alpha]), "RGBA")
    picture = run_panel(webui, image, MARKER)
    assert picture.image.mode == "RGBA"
    result = np.asarray(picture.image)
    assert np.array_equal(result[..., 3], alpha)
    assert np.array_equal(result[..., :3], bytes_of(reference(parts.left).photo))


def test_alpha_grows_with_the_picture(webui: WebUI, parts: Parts) -> None:
    alpha = np.zeros(parts.left.shape[:2], np.uint8)
    alpha[60:200, 50:250] = 255
    picture = run_panel(webui, Image.fromarray(np.dstack([parts.left, alpha]), "RGBA"), MARKER | {"upscale": 2.0})
    grown = np.asarray(picture.image)[..., 3]
    assert grown.shape == (2 * alpha.shape[0], 2 * alpha.shape[1])
    assert (grown[130:390, 110:490] == 255).all()
    assert (grown[:110] == 0).all()


def test_upscale_enlarges(webui: WebUI, parts: Parts, reference: Reference) -> None:
    picture = run_panel(webui, Image.fromarray(parts.left), MARKER | {"upscale": 2.0})
    assert np.array_equal(np.asarray(picture.image), bytes_of(reference(parts.left, upscale=2.0).photo))
    assert picture.info["Postprocess GPEN upscale"] == 2.0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"model": "not there.pth"}, "not there.pth"),
        ({"strength": 3}, "Strength is 3"),
        ({"only_faces": "first"}, "first"),
        ({"mask": "parsed"}, "parsing"),
    ],
)
def test_an_error_is_in_the_infotext_and_the_picture_is_unchanged(
    webui: WebUI, parts: Parts, errors: list[str], arguments: dict[str, Any], reason: str
) -> None:
    image = Image.fromarray(parts.left)
    picture = run_panel(webui, image, {"enable": True} | arguments)
    assert picture.image is image
    assert list(picture.info) == ["Postprocess GPEN error"]
    assert reason in picture.info["Postprocess GPEN error"]
    assert errors == []


def test_a_corrupted_file_is_reported_and_keeps_its_name(webui: WebUI, parts: Parts) -> None:
    file = webui.data / "models" / "facerestore_models" / "broken.safetensors"
    whole = file.with_name("marker-256.safetensors").read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    image = Image.fromarray(parts.left)
    picture = run_panel(webui, image, {"enable": True, "model": file.name})
    assert picture.image is image
    assert "broken.safetensors" in picture.info["Postprocess GPEN error"]
    assert [found.name for found in file.parent.glob("broken*")] == ["broken.safetensors"]
    file.unlink()


def batch(
    webui: WebUI, mode: int, images: list[Image.Image] | None, folder: str, arguments: dict[str, Any]
) -> tuple[list[Image.Image], str]:
    """The pictures of a batch or of a folder as the tab makes them, and the infotext of the last one."""
    runner = webui.scripts.scripts_postproc
    webui.infotext_utils.quote = str
    given = runner.create_args_for_run({"GPEN": arguments})
    # SD.Next takes a video after the folders, and gives one back after the pictures. Forge Neo takes one after the
    # choice whether results are shown.
    parameters = list(inspect.signature(webui.postprocessing.run_postprocessing).parameters)
    middle = parameters[parameters.index("output_dir") + 1 : parameters.index("args")]
    outputs, *_, infotext, _ = webui.postprocessing.run_postprocessing(
        mode, None, images, folder, "", *(name == "show_extras_results" for name in middle), *given, save_output=False
    )
    return outputs, infotext


def test_batch_and_folder_mode_restore_every_picture(
    webui: WebUI, parts: Parts, reference: Reference, tmp_path: Path
) -> None:
    pictures = [Image.fromarray(part) for part in (parts.left, parts.nobody, parts.right)]
    expected = [bytes_of(reference(part).photo) for part in (parts.left, parts.nobody, parts.right)]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    for mode, images, folder in ((1, pictures, ""), (2, None, str(tmp_path))):
        outputs, infotext = batch(webui, mode, images, folder, MARKER)
        # SD.Next does not sort a folder.
        unsorted = folder and webui.name == "sdnext"
        order = [int(path.stem) for path in tmp_path.iterdir()] if unsorted else [0, 1, 2]
        assert len(outputs) == 3
        assert all(np.array_equal(output, expected[n]) for output, n in zip(outputs, order, strict=True))
        assert f"Postprocess GPEN faces: {(5, 0, 4)[order[-1]]}" in infotext


def test_one_bad_picture_does_not_end_the_batch(
    webui: WebUI, parts: Parts, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = webui.adapter.engine
    original = engine.run

    def fail_first(*_: Any) -> Any:
        monkeypatch.setattr(engine, "run", original)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(engine, "run", fail_first)
    pictures = [Image.fromarray(parts.right), Image.fromarray(parts.left)]
    outputs, _ = batch(webui, 1, pictures, "", MARKER)
    assert np.array_equal(outputs[0], parts.right)
    assert np.array_equal(outputs[1], bytes_of(reference(parts.left).photo))


def test_interrupt_keeps_the_faces_done_so_far(
    webui: WebUI, parts: Parts, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pressed(type(webui.state)):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if (name, value) == ("sampling_step", 1):
                super().__setattr__("interrupted", True)

    monkeypatch.setattr(webui.shared, "state", Pressed())
    picture = run_panel(webui, Image.fromarray(parts.left), MARKER)
    assert np.array_equal(np.asarray(picture.image), bytes_of(reference(parts.left, only_faces="0").photo))
    assert picture.info["Postprocess GPEN faces"] == 1


def test_runs_after_a_generation_where_the_user_enables_that(webui: WebUI, parts: Parts, reference: Reference) -> None:
    webui.opts.postprocessing_enable_in_main_ui = ["GPEN"]
    gradio = importlib.import_module("gradio")
    for is_img2img in (False, True):
        [data] = webui.scripts_auto_postprocessing.create_auto_preprocessing_script_data()
        script = data.script_class()
        with gradio.Blocks():
            components = list(script.ui(is_img2img))
        arguments = [component.value for component in components]
        names = list(script.postprocessing_controls)
        arguments[names.index("enable")] = True
        arguments[names.index("model")] = "marker-256.safetensors"
        generation = type("Generation", (), {"extra_generation_params": {}})()
        # Forge also takes the picture's number.
        number = len(inspect.signature(webui.scripts.PostprocessImageArgs).parameters) - 1
        generated = webui.scripts.PostprocessImageArgs(Image.fromarray(parts.left), *[0] * number)
        script.postprocess_image(generation, generated, *arguments)
        assert np.array_equal(np.asarray(generated.image), bytes_of(reference(parts.left).photo))
        assert generation.extra_generation_params["Postprocess GPEN faces"] == 5


def test_gradio_builds_every_control_from_the_options(webui: WebUI) -> None:
    webui.opts.gpen_strength = 0.75
    controls = panel(webui).controls
    options = [name for name in controls if name in OPTIONS]
    assert list(controls) == ["enable", "task", "model", *options, "aligned", "person", "protect"]
    assert choices_of(controls["task"]) == list(TASKS)
    assert controls["task"].value == "restore"
    assert controls["aligned"].value is False
    assert set(OPTIONS) - set(options) == {"precision", "detector", "max_megapixels", "video", "texture"}
    assert controls["enable"].value is False
    assert controls["model"].value == "auto"
    for name in options:
        option, control = OPTIONS[name], controls[name]
        assert control.label == option.label
        assert control.info == option.help
        assert control.value == (0.75 if name == "strength" else option.default)
        kind = type(control).__name__
        if option.choices:
            assert kind == "Dropdown"
            assert choices_of(control) == list(option.choices)
        elif option.kind in (int, float):
            assert kind == "Slider"
            limits = (control.minimum, control.maximum, control.step)
            assert limits == (option.minimum, option.maximum, option.step)
        else:
            assert kind == {bool: "Checkbox", str: "Textbox"}[option.kind]
    ids = [control.elem_id for control in controls.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("saved", "shown"), [(True, "lab"), (False, "none"), ("wavelet", "wavelet")])
def test_a_default_saved_for_a_checkbox_is_still_the_default(
    webui: WebUI, tmp_path: Path, saved: bool | str, shown: str
) -> None:
    """As the host saves it under Settings, Defaults, and applies it when it starts."""
    webui.shared.cmd_opts.ui_config_file = str(tmp_path / "ui-config.json")
    key = "customscript/gpen_webui.py/extras/Match colours/value"
    (tmp_path / "ui-config.json").write_text(json.dumps({key: saved}), encoding="utf-8")
    control = panel(webui).controls["color_match"]
    defaults = importlib.import_module("modules.ui_loadsave").UiLoadsave(webui.shared.cmd_opts.ui_config_file)
    defaults.add_block(control, "extras")
    assert list(defaults.component_mapping) == [key]
    assert control.value == shown


@pytest.mark.parametrize(("sent", "method"), [(True, "lab"), (False, "none"), ("wavelet", "wavelet")])
def test_matching_colours_may_still_be_yes_or_no(
    webui: WebUI, parts: Parts, reference: Reference, sent: bool | str, method: str
) -> None:
    picture = run_panel(webui, Image.fromarray(parts.left), MARKER | {"color_match": sent})
    assert np.array_equal(np.asarray(picture.image), bytes_of(reference(parts.left, color_match=method).photo))


def test_process_accepts_the_values_of_the_controls(webui: WebUI, parts: Parts, reference: Reference) -> None:
    """As the tab sends them."""
    script = panel(webui)
    values = {name: control.value for name, control in script.controls.items()} | MARKER
    picture = webui.scripts_postprocessing.PostprocessedImage(Image.fromarray(parts.left))
    script.process(picture, **values)
    assert np.array_equal(np.asarray(picture.image), bytes_of(reference(parts.left).photo))


def test_the_panel_comes_between_restorers_and_upscalers_of_the_host(webui: WebUI) -> None:
    orders = {data.script_class.name: data.script_class.order for data in webui.scripts.postprocessing_scripts_data}
    assert orders.get("GFPGAN", 2000) < orders["GPEN"] < orders.get("CodeFormer", 3000)

    assert [data.path for data in webui.scripts.postprocessing_scripts_data if EXTENSION in data.path]


def test_protected_pixels_stay_as_they_are(webui: WebUI, parts: Parts, reference: Reference) -> None:
    mask = np.zeros(parts.left.shape[:2], np.uint8)
    mask[:, :150] = 255
    picture = run_panel(webui, Image.fromarray(parts.left), MARKER | {"protect": Image.fromarray(mask)})
    result, free = np.asarray(picture.image), bytes_of(reference(parts.left).photo)
    assert np.array_equal(result[:, :150], parts.left[:, :150])
    assert not np.array_equal(free[:, :150], parts.left[:, :150])
    assert np.array_equal(result[:, 170:], free[:, 170:])
    assert not np.array_equal(free[:, 170:], parts.left[:, 170:])

    picture = run_panel(webui, Image.fromarray(parts.left), MARKER | {"protect": Image.fromarray(mask[1:])})
    assert np.array_equal(np.asarray(picture.image), parts.left)
    assert "The mask of what is protected is 301 x 256 pixels" in str(known_facts(picture))


class Colours:
    """A recogniser for which a person is where the colours of a face are."""

    same_person = 0.95

    def align(self, crop: Any, landmarks: Any) -> Any:
        return crop

    def embed(self, faces: list[Any]) -> Any:
        side = len(faces[0]) // 8
        cells = np.stack([np.asarray(face).reshape(8, side, 8, side, 3).mean(axis=(1, 3)).ravel() for face in faces])
        cells -= cells.mean(axis=1, keepdims=True)
        return cells / np.linalg.norm(cells, axis=1, keepdims=True)


def test_only_the_face_of_a_person_is_restored(
    webui: WebUI, parts: Parts, reference: Reference, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    components = importlib.import_module("gpen.restoration.components")
    monkeypatch.setattr(components, "find_recognizer", lambda folders: ("sface", tmp_path))
    monkeypatch.setattr(components, "SFaceRecognizer", lambda weights: Colours())
    wanted = reference(parts.left).faces[1]
    x0, y0, x1, y1 = (round(value) for value in wanted.face.box)
    margin = x1 - x0
    person = parts.left[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]
    file = tmp_path / "person.png"
    Image.fromarray(person).save(file)
    picture = run_panel(webui, Image.fromarray(parts.left), MARKER | {"person": str(file)})
    expected = reference(parts.left, only_faces=str(wanted.number))
    assert known_facts(picture)["Postprocess GPEN faces"] == 1
    assert np.array_equal(np.asarray(picture.image), bytes_of(expected.photo))


def test_a_person_without_a_recogniser_is_an_error(webui: WebUI, parts: Parts, tmp_path: Path) -> None:
    file = tmp_path / "person.png"
    Image.fromarray(parts.left).save(file)
    picture = run_panel(webui, Image.fromarray(parts.left), MARKER | {"person": str(file)})
    assert np.array_equal(np.asarray(picture.image), parts.left)
    assert "is not on this computer" in picture.info["Postprocess GPEN error"]


def test_a_video_is_left_as_it_is(webui: WebUI) -> None:
    """SD.Next's Process tab gives a postprocessor videos as well, without a picture."""
    script = panel(webui)
    video = webui.scripts_postprocessing.PostprocessedImage(None)
    script.process(video, enable=True)
    assert video.image is None
    assert "GPEN works on pictures" in video.info["Postprocess GPEN error"]


def test_a_host_without_face_restorers(
    webui: WebUI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As SD.Next is since July 2026."""
    face_restorer = importlib.import_module("gpen_hosts.webui.face_restorer")
    monkeypatch.delattr(webui.shared, "face_restorers", raising=False)
    face_restorer._say_where_else.cache_clear()
    with caplog.at_level("INFO"):
        face_restorer.register_restorer()
        said = caplog.text
        assert "no face restorers to choose from" in said
        face_restorer.register_restorer()
    assert caplog.text == said

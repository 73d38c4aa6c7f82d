"""Options as inputs of ComfyUI nodes, on hosts that know fewer arguments, and beside a broken facexlib."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.loading import from_checkout

OptionError = from_checkout("gpen.errors").OptionError
OPTIONS = from_checkout("gpen.options").OPTIONS
Options = from_checkout("gpen.options").Options
widgets = from_checkout("gpen_hosts.comfyui.widgets")

KINDS = {
    "precision": "Combo",
    "detector": "Combo",
    "detection_threshold": "Float",
    "select": "Combo",
    "only_faces": "String",
    "min_face_size": "Int",
    "max_face_size": "Int",
    "skip_sharp": "Float",
    "template": "Combo",
    "mask": "Combo",
    "feather": "Float",
    "damage_feather": "Float",
    "strength": "Float",
    "color_match": "Combo",
    "grain": "Float",
    "occlusion": "Combo",
    "identity_guard": "Float",
    "identity_action": "Combo",
    "upscale": "Float",
    "video": "Boolean",
    "texture": "Float",
    "max_megapixels": "Float",
}


@pytest.fixture(autouse=True)
def _uncached() -> Iterator[None]:
    """Usability of choices is cached for the process."""
    widgets.is_usable.cache_clear()
    yield
    widgets.is_usable.cache_clear()


@pytest.fixture
def broken_facexlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A facexlib that raises an error of its own on import."""
    (tmp_path / "facexlib").mkdir()
    (tmp_path / "facexlib" / "__init__.py").write_text("raise RuntimeError('built for another\\nversion')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "facexlib"]:
        monkeypatch.delitem(sys.modules, name)


def test_every_option_has_a_kind_of_input() -> None:
    assert {name: widgets.widget(name)[0] for name in OPTIONS} == KINDS


@pytest.mark.parametrize("name", OPTIONS)
def test_an_input_agrees_with_its_option(name: str) -> None:
    option = OPTIONS[name]
    kind, arguments = widgets.widget(name)
    assert arguments["id"] == name
    assert arguments["display_name"] == option.label
    assert arguments["tooltip"] == option.help
    assert arguments["default"] == option.default
    assert type(arguments["default"]) is option.kind
    assert arguments["advanced"] is (True if option.advanced else None)
    own = set(arguments) - {"id", "display_name", "tooltip", "default", "advanced"}
    if kind == "Combo":
        assert own == {"options"}
        assert arguments["options"] == list(option.choices)
    elif kind in ("Int", "Float"):
        assert own == {"min", "max", "step"}
        assert (arguments["min"], arguments["max"]) == (option.minimum, option.maximum)
        assert arguments["step"] == option.step
        assert {type(arguments[key]) for key in own} == {int if kind == "Int" else float}
    else:
        assert own == set()


def test_a_host_gets_only_the_arguments_that_it_knows() -> None:
    def older(id: str, tooltip: str | None = None, *, default: int = 0) -> dict[str, Any]:
        return {"id": id, "tooltip": tooltip, "default": default}

    class Newer:
        def __init__(self, id: str, tooltip: str | None = None, advanced: bool | None = None) -> None:
            self.got = (id, tooltip, advanced)

    arguments = {"id": "size", "tooltip": "Pixels.", "advanced": True}
    assert widgets.supported(older, **arguments, default=3) == {"id": "size", "tooltip": "Pixels.", "default": 3}
    assert widgets.supported(Newer, **arguments, default=3).got == ("size", "Pixels.", True)
    with pytest.raises(TypeError, match="'id'"):
        widgets.supported(older, tooltip="Pixels.")


def test_options_are_read_from_a_nodes_values() -> None:
    values = {"mask": "box", "feather": 0, "only_faces": "2", "size": 512, "filename": "a"}
    assert widgets.options_from(values) == Options(mask="box", feather=0.0, only_faces="2")
    assert widgets.options_from({"size": 512}) == Options()
    with pytest.raises(OptionError, match="Strength is 3"):
        widgets.options_from({"strength": 3})


def test_all_choices_are_offered_with_facexlib() -> None:
    pytest.importorskip("facexlib.detection.retinaface")
    pytest.importorskip("facexlib.parsing.parsenet")
    for name in ("detector", "mask"):
        assert widgets.widget(name)[1]["options"] == list(OPTIONS[name].choices)


@pytest.mark.usefixtures("broken_facexlib")
def test_a_broken_facexlib_removes_only_its_choices(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = {name: widgets.widget(name) for name in OPTIONS}
    assert found["detector"][1]["options"] == ["auto", "yunet"]
    assert found["mask"][1]["options"] == ["auto", "ellipse", "box"]
    assert {name: kind for name, (kind, _) in found.items()} == KINDS
    for name, (_, arguments) in found.items():
        assert arguments["default"] in arguments.get("options", [OPTIONS[name].default])
        if name not in ("detector", "mask") and "options" in arguments:
            assert arguments["options"] == list(OPTIONS[name].choices)


@pytest.mark.usefixtures("broken_facexlib")
def test_the_reason_is_logged_once_for_each_choice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for name in OPTIONS:
                widgets.widget(name)
    missing = ["retinaface_resnet50", "retinaface_mobile0.25", "parsed"]
    assert [message.split('"')[1] for message in caplog.messages] == missing
    for message in caplog.messages:
        assert message.startswith("GPEN Face Restore leaves out the choice ")
        assert "RuntimeError: built for another version" in message

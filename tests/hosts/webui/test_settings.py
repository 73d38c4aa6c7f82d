"""The section of the host's settings, in the modules of SD-WebUI Forge or of a relative."""

from __future__ import annotations

import importlib

from gpen.options import OPTIONS
from tests.hosts.webui.host import WebUI

SETTINGS = ("detector", "precision", "mask", "strength", "upscale", "identity_guard", "identity_action")


def test_settings_are_registered_with_the_defaults_of_the_options(webui: WebUI) -> None:
    added = {name: info for name, info in webui.opts.data_labels.items() if name.startswith("gpen_")}
    defaults = {name: OPTIONS[name].default for name in SETTINGS}
    defaults |= {"model": "auto", "keep_in_memory": True}
    saved = {name: info.default for name, info in added.items() if not getattr(info, "do_not_save", False)}
    assert saved == {f"gpen_{k}": v for k, v in defaults.items()}
    # Hosts whose settings all have a value have no place for the button.
    assert set(added) - set(saved) <= {"gpen_downloads"}
    assert {info.section for info in added.values()} == {("gpen", "GPEN")}
    choices = added["gpen_model"].component_args()["choices"]
    assert choices[:2] == ["auto", "GPEN-BFR-256.safetensors"]
    assert {"passthrough-256.safetensors", "marker-256.safetensors"} < set(choices)
    assert not [name for name in choices if "yunet" in name or "detection" in name]


def test_gradio_builds_the_components_of_the_settings(webui: WebUI) -> None:
    gradio = importlib.import_module("gradio")
    for name in [name for name in webui.opts.data_labels if name.startswith("gpen_")]:
        info = webui.opts.data_labels[name]
        arguments = info.component_args() if callable(info.component_args) else info.component_args
        with gradio.Blocks():
            built = info.component(label=info.label, value=info.default, elem_id=f"setting_{name}", **(arguments or {}))
        assert built.value == info.default

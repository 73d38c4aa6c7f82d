"""GPEN's section of SD-WebUI's settings, and its axes of the XYZ plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from modules import scripts, shared

from gpen.options import OPTIONS, Option

from .host import DEFAULTS, NAME, networks


def add_settings() -> None:
    """The section GPEN of the settings page."""
    section = ("gpen", NAME)

    def add(name: str, component: Any, arguments: Any, label: str, help: str, **more: Any) -> None:
        info = shared.OptionInfo(DEFAULTS[name], label, component, arguments, section=section, **more)
        shared.opts.add_option(f"gpen_{name}", info.info(help))

    add(
        "model",
        gr.Dropdown,
        lambda: {"choices": networks()},
        "Model",
        "auto: 512 where it is there, which suits most faces",
        refresh=lambda: None,
        infotext="GPEN model",
    )
    add("detector", *_component(OPTIONS["detector"]))
    add("precision", *_component(OPTIONS["precision"]))
    add("strength", *_component(OPTIONS["strength"]), infotext="GPEN strength")
    upscale = _component(OPTIONS["upscale"])
    add("upscale", upscale[0], upscale[1], "Upscale in Extras", upscale[3])
    add("identity_guard", *_component(OPTIONS["identity_guard"]))
    add("identity_action", *_component(OPTIONS["identity_action"]))
    add("keep_in_memory", gr.Checkbox, None, "Keep in memory", "spares loading the network for every picture")


def _component(option: Option) -> tuple[Any, Any, str, str]:
    """Component, its arguments, label and help of a setting that is an option."""
    component, values = option.control()
    return getattr(gr, component), values, option.label, option.help


def add_plot_axes() -> None:
    """GPEN's axes of the XYZ plot, each once."""
    for data in scripts.scripts_data:
        if Path(data.path).name == "xyz_grid.py" and hasattr(data.module, "axis_options"):
            axes = data.module.axis_options
            ours = [
                data.module.AxisOption("[GPEN] Model", str, _set("gpen_model"), confirm=_confirm, choices=networks),
                data.module.AxisOption("[GPEN] Strength", float, _set("gpen_strength")),
            ]
            axes[:] = [axis for axis in axes if axis.label not in [added.label for added in ours]] + ours
            return


def _confirm(_p: Any, names: list[str]) -> None:
    for name in names:
        if name not in networks():
            raise RuntimeError(f"Unknown GPEN model: {name}")


def _set(name: str) -> Any:
    def apply(p: Any, value: Any, _values: Any) -> None:
        p.restore_faces = True
        p.override_settings |= {"face_restoration_model": NAME, name: value}

    return apply

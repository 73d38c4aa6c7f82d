"""GPEN's section of SD-WebUI's settings, and its axes of the XYZ plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from modules import scripts, shared

from gpen.options import OPTIONS

from .downloads import download_area
from .host import DEFAULTS, DOWNLOADS, NAME, networks, restorer_lists


def add_settings() -> None:
    """Add the section GPEN to the settings page."""
    section = ("gpen", NAME)

    def add(name: str, component: Any, arguments: Any, label: str, help: str, **more: Any) -> None:
        info = shared.OptionInfo(DEFAULTS[name], label, component, arguments, section=section, **more)
        shared.opts.add_option(f"gpen_{name}", info.info(help))

    def add_option(name: str, label: str = "", **more: Any) -> None:
        option = OPTIONS[name]
        component, arguments = option.control()
        add(name, getattr(gr, component), arguments, label or option.label, option.help, **more)

    add(
        "model",
        gr.Dropdown,
        lambda: {"choices": networks()},
        "Model",
        "auto: for each face the one of its size, of those that are installed",
        refresh=lambda: None,
        infotext="GPEN model",
    )
    add_option("detector")
    add_option("precision")
    add_option("mask", infotext="GPEN mask")
    add_option("strength", infotext="GPEN strength")
    add_option("upscale", "Upscale in Extras")
    add_option("identity_guard")
    add_option("identity_action")
    add("keep_in_memory", gr.Checkbox, None, "Keep in memory", "so that models are not loaded again for every picture")
    info = shared.OptionInfo("<h3>Download models</h3>", "", _downloads, section=section)
    # SD.Next has no settings without a value: there the models are downloaded in the panel.
    if hasattr(info, "do_not_save"):
        info.do_not_save = True
        shared.opts.add_option(DOWNLOADS, info)


def _downloads(*, value: str, elem_id: str, **_: Any) -> Any:
    """The setting's component: a heading, which is its value, above controls of our own."""
    heading = gr.HTML(value=value, elem_id=elem_id)
    # Built before, as its setting comes first.
    model = (getattr(shared, "settings_components", None) or {}).get("gpen_model")
    lists = [] if model is None else [model]
    download_area("settings", lists, lambda: [gr.update(choices=networks()) for _ in lists])
    return heading


def add_plot_axes() -> None:
    """Add GPEN's axes to the XYZ plot, in place of those added before, where the host has a checkbox that they set."""
    if not restorer_lists():
        return
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

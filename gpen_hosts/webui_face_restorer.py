"""The Face Restoration checkbox of SD-WebUI, its settings and its axes of the XYZ plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from modules import scripts, shared
from numpy.typing import NDArray

from gpen.options import OPTIONS, Option

from .webui import (
    DEFAULTS,
    NAME,
    engine,
    facts_of,
    failure,
    job,
    network_path,
    networks,
    options_from,
    samples_of,
    setting,
)

try:
    from modules.face_restoration import FaceRestoration
except ImportError:  # newer versions of SD.Next, which ask for the methods alone
    FaceRestoration = object


class GpenFaceRestorer(FaceRestoration):  # type: ignore[misc]
    """What the checkbox runs when "GPEN" is chosen in Settings, Face restoration."""

    def name(self) -> str:
        """As the settings page lists it."""
        return NAME

    def restore(self, np_image: NDArray[np.uint8], p: Any = None, *_: Any) -> NDArray[np.uint8]:
        """Restore a picture (H, W, 3), RGB, which keeps its size; where that fails it comes back as it is.

        p: the generation, which only SD.Next passes.
        """
        if p is not None:
            job.begin(p)
        try:
            # What is generated is composited by its size: enlarging belongs to Extras.
            weights, options = network_path(setting("model")), options_from({"upscale": 1.0})
            result = engine.run(np_image, weights, options)
            restored = samples_of(result.photo)
        except Exception as error:
            # Nothing around this catches it, and the user's generation would be lost.
            job.note(failure(error))
            return np_image
        job.note(facts_of(result, weights, options))
        return restored


def register_restorer() -> None:
    """Put it into the host's list; scripts run again on Reload UI, while the list is not cleared."""
    for listed in (getattr(shared, "face_restorers", None), getattr(shared, "detailers", None)):
        if listed is not None:
            listed[:] = [restorer for restorer in listed if restorer.name() != NAME]
            listed.append(GpenFaceRestorer())


class RememberJob(scripts.Script):
    """Tells the face restorer which generation runs, so that the infotext can say what became of the faces."""

    create_group = False

    def title(self) -> str:
        """As the API lists it."""
        return "GPEN infotext"

    def show(self, is_img2img: bool) -> Any:
        """In every generation, without controls."""
        return scripts.AlwaysVisible

    def process(self, p: Any, *args: Any) -> None:
        """Before a generation."""
        job.begin(p)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """After it."""
        job.end()


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
    if option.choices:
        return gr.Dropdown, {"choices": list(option.choices)}, option.label, option.help
    limits = {"minimum": option.minimum, "maximum": option.maximum, "step": option.step}
    return gr.Slider, limits, option.label, option.help


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

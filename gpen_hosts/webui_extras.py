"""The panel GPEN of SD-WebUI's Extras tab."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import gradio as gr
import numpy as np
from modules import scripts_postprocessing
from PIL import Image

from gpen.options import OPTIONS, Option
from gpen.pipeline import Restoration, resize

from .webui import NAME, engine, facts_of, failure, network_path, networks, options_from, samples_of, setting

# Detector and precision are settings; of the limits the host has its own.
SHOWN = (("strength", "upscale"), ("mask", "select"), ("only_faces", "detection_threshold"), ("color_match",))
FOLDED = ("feather", "template", "min_face_size")


class GpenPostprocessing(scripts_postprocessing.ScriptPostprocessing):
    """Restores the faces of each picture, in Extras or, where the user enables that, after a generation."""

    name = NAME
    order = 2500

    def ui(self) -> dict[str, Any]:
        """The controls, by the names that :meth:`process` takes."""
        with ExitStack() as panel:
            enable = _enable(panel)
            with gr.Row():
                model = gr.Dropdown(
                    choices=networks(), value=setting("model"), label="Model", elem_id="extras_gpen_model"
                )
                _refresh_button(model)
            controls = {}
            for names in SHOWN:
                with gr.Row():
                    controls |= {name: _control(name) for name in names}
            with gr.Accordion("More", open=False):
                controls |= {name: _control(name) for name in FOLDED}
        return {"enable": enable, "model": model, **controls}

    def process(
        self,
        pp: scripts_postprocessing.PostprocessedImage,
        enable: bool | None = None,
        model: str | None = None,
        **values: Any,
    ) -> None:
        """Restore ``pp.image``. The generic API passes None for everything: then nothing is done.

        What goes wrong is said in the log and the infotext.
        """
        if not enable:
            return
        try:
            weights, options = network_path(model or setting("model")), options_from(values)
            result = engine.restore(np.asarray(pp.image.convert("RGB")), weights, options)
            pp.image = _picture(result, pp.image)
            facts = facts_of(result, weights, options)
        except Exception as error:
            # The host ends the user's whole batch for one.
            facts = failure(error)
        # The names without the prefix are those of the checkbox.
        pp.info |= {f"Postprocess {name}": value for name, value in facts.items()}


def _picture(result: Restoration, before: Image.Image) -> Image.Image:
    """As the host wants it, with the alpha of the picture before."""
    picture = Image.fromarray(samples_of(result.photo))
    if "A" in before.getbands():
        alpha = resize(np.asarray(before.getchannel("A"), np.float32) / 255, picture.size)
        picture.putalpha(Image.fromarray(samples_of(alpha)))
    return picture


def _enable(panel: ExitStack) -> Any:
    try:
        from modules.ui_components import InputAccordion
    except ImportError:  # SD.Next, and AUTOMATIC1111 before 1.6
        panel.enter_context(gr.Accordion(NAME, open=False))
        return gr.Checkbox(False, label="Enable", elem_id="extras_gpen_enable")
    return panel.enter_context(InputAccordion(False, label=NAME, elem_id="extras_gpen"))


def _refresh_button(model: Any) -> None:
    button = gr.Button("\U0001f504", elem_id="extras_gpen_refresh", elem_classes=["tool"], scale=0, min_width=40)
    button.click(fn=lambda: gr.update(choices=networks()), inputs=[], outputs=[model])


def _control(name: str) -> Any:
    option = OPTIONS[name]
    value = setting(name) if name in ("strength", "upscale") else option.default
    shown = {"value": value, "label": option.label, "info": option.help, "elem_id": f"extras_gpen_{name}"}
    if option.choices:
        return gr.Dropdown(choices=list(option.choices), **shown)
    if option.kind is bool:
        return gr.Checkbox(**shown)
    if option.kind is str:
        return gr.Textbox(**shown)
    return _slider(option, shown)


def _slider(option: Option, shown: dict[str, Any]) -> Any:
    return gr.Slider(minimum=option.minimum, maximum=option.maximum, step=option.step, **shown)

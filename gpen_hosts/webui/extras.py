"""The panel GPEN of SD-WebUI's Extras tab."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import gradio as gr
import numpy as np
from modules import scripts_postprocessing
from PIL import Image

from gpen.errors import PhotoError
from gpen.images.picture import FloatImage
from gpen.images.resize import resize
from gpen.options import ALIGNED, OPTIONS
from gpen.restoration.result import Restoration
from gpen.tasks import RESTORE, TASKS, Task, find_task

from .host import (
    IN_SETTINGS,
    NAME,
    PictureRequest,
    default_model,
    engine,
    facts_of,
    failure,
    network_path,
    networks,
    options_from,
    samples_of,
    setting,
)

# Detector and precision are settings; of the limits the host has its own; a picture is no frame of a video.
SHOWN = (("strength", "upscale"), ("mask", "select"), ("only_faces", "detection_threshold"), ("color_match",))
FOLDED = ("feather", "damage_feather", "template", "min_face_size", "identity_guard", "identity_action")
TASK_HELP = "inpaint: a picture that is transparent where it is damaged. synthesize: a segmentation map becomes a face."


class GpenPostprocessing(scripts_postprocessing.ScriptPostprocessing):
    """Restores the faces of each picture, or colorizes, inpaints or makes them.

    In Extras or, where the user enables that, after a generation.
    """

    name = NAME
    order = 2500

    def ui(self) -> dict[str, Any]:
        """The controls, by the names that :meth:`process` takes."""
        with ExitStack() as panel:
            enable = _enable(panel)
            task = gr.Dropdown(
                choices=list(TASKS), value=RESTORE.name, label="Task", info=TASK_HELP, elem_id="extras_gpen_task"
            )
            with gr.Row():
                model = gr.Dropdown(
                    choices=networks(), value=setting("model"), label="Model", elem_id="extras_gpen_model"
                )
                _refresh_button(model, task)
            task.change(
                fn=lambda task: gr.update(choices=networks(find_task(task)), value=default_model(find_task(task))),
                inputs=[task],
                outputs=[model],
                show_progress=False,
            )
            controls = {}
            for names in SHOWN:
                with gr.Row():
                    controls |= {name: _control(name) for name in names}
            with gr.Accordion("More", open=False):
                controls |= {name: _control(name) for name in FOLDED}
                aligned = gr.Checkbox(
                    ALIGNED.default, label=ALIGNED.label, info=ALIGNED.help, elem_id="extras_gpen_aligned"
                )
        return {"enable": enable, "task": task, "model": model, **controls, "aligned": aligned}

    def process(
        self,
        pp: scripts_postprocessing.PostprocessedImage,
        enable: bool | None = None,
        task: str | None = None,
        model: str | None = None,
        aligned: bool | None = None,
        **values: Any,
    ) -> None:
        """Do the task to ``pp.image``. The generic API passes None for everything: then nothing is done.

        What goes wrong is said in the log and the infotext.
        """
        if not enable:
            return
        try:
            row = find_task(task or RESTORE.name)
            request = PictureRequest(
                task=row,
                weights=network_path(model or default_model(row), row),
                options=options_from(values),
                damage=_transparent(pp.image) if row.needs_damage_mask else None,
                # The panel shows the checkbox for every task.
                aligned=bool(aligned) and row.accepts_aligned,
            )
            result = engine.run(np.asarray(pp.image.convert("RGB")), request)
            pp.image = _picture(result, pp.image, row)
            facts = facts_of(result, request)
        except Exception as error:
            # The host ends the user's whole batch for one.
            facts = failure(error)
        # The names without the prefix are those of the checkbox.
        pp.info |= {f"Postprocess {name}": value for name, value in facts.items()}


def _transparent(image: Image.Image) -> FloatImage:
    """Where a picture is transparent, from 0 to 1; PhotoError where it cannot be."""
    if "A" not in image.getbands():
        raise PhotoError(
            "To inpaint, a picture is needed that is transparent where it is damaged, such as a PNG whose damage was "
            "erased; here this one has no alpha channel. Save it as RGBA: of grey and palette pictures the WebUI drops "
            "the transparency."
        )
    return 1 - np.asarray(image.getchannel("A"), np.float32) / 255


def _picture(result: Restoration, before: Image.Image, task: Task) -> Image.Image:
    """As the host wants it, with the alpha of the picture before, but for damage that was filled in."""
    picture = Image.fromarray(samples_of(result.photo))
    if "A" in before.getbands() and task.keeps_photo:
        alpha = resize(np.asarray(before.getchannel("A"), np.float32) / 255, picture.size)
        if task.needs_damage_mask:
            alpha = np.maximum(alpha, result.mask)
        picture.putalpha(Image.fromarray(samples_of(alpha)))
    return picture


def _enable(panel: ExitStack) -> Any:
    try:
        from modules.ui_components import InputAccordion
    except ImportError:  # SD.Next, and AUTOMATIC1111 before 1.6
        panel.enter_context(gr.Accordion(NAME, open=False))
        return gr.Checkbox(False, label="Enable", elem_id="extras_gpen_enable")
    return panel.enter_context(InputAccordion(False, label=NAME, elem_id="extras_gpen"))


def _refresh_button(model: Any, task: Any) -> None:
    button = gr.Button("\U0001f504", elem_id="extras_gpen_refresh", elem_classes=["tool"], scale=0, min_width=40)
    button.click(fn=lambda task: gr.update(choices=networks(find_task(task))), inputs=[task], outputs=[model])


def _control(name: str) -> Any:
    option = OPTIONS[name]
    component, values = option.control()
    value = setting(name) if name in IN_SETTINGS else option.default
    return getattr(gr, component)(
        value=value, label=option.label, info=option.help, elem_id=f"extras_gpen_{name}", **values
    )

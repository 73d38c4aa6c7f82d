"""The panel GPEN of SD-WebUI's Extras tab."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
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

from .downloads import download_area
from .host import (
    IN_SETTINGS,
    NAME,
    PictureRequest,
    default_model,
    engine,
    facts_of,
    failure,
    missing,
    network_files,
    networks,
    options_from,
    saved_default,
    setting,
    to_float,
    to_samples,
)
from .sdnext import is_sdnext

# The detector and the precision are settings, the host has a limit of its own, and a picture is not a video.
SHOWN = (("strength", "upscale"), ("mask", "select"), ("only_faces", "detection_threshold"), ("color_match", "grain"))
FOLDED = (
    *("feather", "damage_feather", "template", "min_face_size", "identity_guard", "identity_action"),
    *("max_face_size", "skip_sharp", "occlusion"),
)
PERSON = "Only this person: a photo"
PROTECT = "Protect: white where nothing changes"
"""Labels over small uploads, which have no room for help."""
INPAINT_HELP = "inpaint fills in what is transparent."
INPAINT_HELP_SDNEXT = "inpaint does not work here: SD.Next drops transparency. Use POST /gpen/restore or gpen inpaint."
SYNTHESIZE_HELP = "synthesize makes a face from a segmentation map."


class GpenPostprocessing(scripts_postprocessing.ScriptPostprocessing):
    """Restores the faces of each picture, or does another task to them.

    It runs in Extras and, where the user enables it there, after a generation.
    """

    name = NAME
    order = 2500

    def ui(self) -> dict[str, Any]:
        """The controls, by the names of :meth:`process`'s arguments."""
        with ExitStack() as panel:
            enable = _enable(panel)
            help = f"{INPAINT_HELP_SDNEXT if is_sdnext() else INPAINT_HELP} {SYNTHESIZE_HELP}"
            task = gr.Dropdown(
                choices=list(TASKS), value=RESTORE.name, label="Task", info=help, elem_id="extras_gpen_task"
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
            with gr.Accordion("Download models", open=bool(missing())):
                download_area("extras", [model], lambda: [gr.update(choices=networks())])
            controls: dict[str, Any] = {}
            for names in SHOWN:
                with gr.Row():
                    controls |= {name: _control(name) for name in names}
            with gr.Accordion("More", open=False):
                controls |= {name: _control(name) for name in FOLDED}
                aligned = gr.Checkbox(
                    ALIGNED.default, label=ALIGNED.label, info=ALIGNED.help, elem_id="extras_gpen_aligned"
                )
                person = gr.Image(label=PERSON, type="filepath", elem_id="extras_gpen_person")
                protect = gr.Image(label=PROTECT, type="pil", image_mode="L", elem_id="extras_gpen_protect")
        further = {"aligned": aligned, "person": person, "protect": protect}
        return {"enable": enable, "task": task, "model": model, **controls, **further}

    def process(
        self,
        pp: scripts_postprocessing.PostprocessedImage,
        enable: bool | None = None,
        task: str | None = None,
        model: str | None = None,
        aligned: bool | None = None,
        person: str | None = None,
        protect: Image.Image | None = None,
        **values: Any,
    ) -> None:
        """Do the task to ``pp.image``. The host's API passes None for every argument that was not sent.

        An error goes to the log and the infotext.
        """
        if not enable:
            return
        try:
            if pp.image is None:  # in SD.Next's Process tab
                raise PhotoError("GPEN works on pictures here; restore videos with the command gpen restore film.mp4.")
            row = find_task(task or RESTORE.name)
            request = PictureRequest(
                task=row,
                networks=network_files(model or default_model(row), row),
                options=options_from(values),
                damage=_transparent(pp.image) if row.needs_damage_mask else None,
                protect=None if protect is None else to_float(np.asarray(protect.convert("L"))),
                people=(Path(person),) if person else (),
                aligned=bool(aligned),
            )
            result = engine.run(np.asarray(pp.image.convert("RGB")), request)
            pp.image = _picture(result, pp.image, row)
            facts = facts_of(result, request)
        except Exception as error:
            # The host would end the whole batch.
            facts = failure(error)
        # Without the prefix they would be the checkbox's.
        pp.info |= {f"Postprocess {name}": value for name, value in facts.items()}


def _transparent(image: Image.Image) -> FloatImage:
    """How transparent each pixel is, (H, W), [0, 1]; PhotoError for a picture without alpha."""
    if "A" not in image.getbands() and is_sdnext():
        raise PhotoError(
            "SD.Next drops the transparency of pictures before GPEN gets them, so that they cannot be inpainted here. "
            'Use POST /gpen/restore with the picture\'s mask as "damage", or the command gpen inpaint.'
        )
    if "A" not in image.getbands():
        raise PhotoError(
            "This picture has no alpha channel; to inpaint, it has to be transparent where it is damaged. Erase the "
            "damage and save it as an RGBA file such as PNG: the WebUI drops the transparency of grey and palette "
            "pictures."
        )
    return np.asarray(1 - _alpha(image), np.float32)


def _picture(result: Restoration, before: Image.Image, task: Task) -> Image.Image:
    """The result as the host wants it: with the alpha of the input, opaque where damage was filled in."""
    picture = Image.fromarray(to_samples(result.photo))
    if "A" in before.getbands() and task.keeps_photo:
        alpha = resize(_alpha(before), picture.size)
        if task.needs_damage_mask:
            alpha = np.maximum(alpha, result.mask)
        picture.putalpha(Image.fromarray(to_samples(alpha)))
    return picture


def _alpha(image: Image.Image) -> FloatImage:
    return to_float(np.asarray(image.getchannel("A")))


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
    value = setting(name) if name in IN_SETTINGS else saved_default(option)
    return getattr(gr, component)(
        value=value, label=option.label, info=option.help, elem_id=f"extras_gpen_{name}", **values
    )

"""The ComfyUI nodes that colorize, inpaint and make faces: wiring only, as in nodes.py."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .gpen.options import Options
from .gpen.tasks import COLORIZE, INPAINT, SYNTHESIZE, Task
from .gpen.wording import count
from .gpen_hosts.comfyui import host
from .gpen_hosts.comfyui.face_inputs import FaceInputs
from .gpen_hosts.comfyui.frames import FrameInputs, RestoredFrames, restore_frames
from .gpen_hosts.comfyui.schema import (
    GpenModel,
    aligned_input,
    detector_input,
    faces_input,
    option_inputs,
    output,
    person_input,
    protect_input,
    region_input,
    schema,
)
from .gpen_hosts.comfyui.widgets import options_from

_log = logging.getLogger(__name__)


class GPENColorizeFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENColorizeFaces",
            "GPEN Colorize Faces",
            "Colours the faces of grey photos. Only the colours come from the model: the brightness of each pixel "
            "stays as it is.",
            inputs=[
                io.Image.Input(
                    "image", tooltip="One grey photo or a batch; the colours of coloured ones are replaced."
                ),
                GpenModel.Input("model", tooltip="GPEN-Colorization-1024, from GPEN Load Model."),
                detector_input(),
                faces_input(),
                region_input(),
                protect_input(),
                person_input(),
                aligned_input(),
                *option_inputs(COLORIZE),
            ],
            outputs=[
                output(io.Image, "colorized", "image", "The photos with their faces coloured."),
                output(io.Image, "colorized_faces", "colorized faces", "Each face, as the model coloured it."),
                output(io.Mask, "blend_mask", "mask", "How much of each pixel's colour comes from the model."),
            ],
            search_aliases=["colorize", "colourise", "black and white", "old photo", "DeOldify", "DDColor"],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        return host.state_of(host.detector_files())

    @classmethod
    def execute(
        cls,
        image: Tensor,
        model: host.ManagedModel,
        protect: Tensor | None = None,
        **values: Any,
    ) -> Any:
        where = FaceInputs.taken_from(values)
        result = _work(COLORIZE, image, model, where, options_from(values), FrameInputs(protect=protect))
        return io.NodeOutput(result.images, result.after, result.mask)


class GPENInpaintFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENInpaintFaces",
            "GPEN Inpaint Faces",
            "Fills in scratches, stains and holes in faces. Where the mask is black nothing changes, except along its "
            "soft edge.",
            inputs=[
                io.Image.Input("image", tooltip="One photo or a batch."),
                io.Mask.Input("damage", tooltip="White where the photos are damaged: one mask, or one for each."),
                GpenModel.Input("model", tooltip="GPEN-Inpainting-1024, from GPEN Load Model."),
                detector_input(),
                faces_input(),
                region_input(),
                protect_input(),
                person_input(),
                aligned_input(),
                *option_inputs(INPAINT),
            ],
            outputs=[
                output(io.Image, "inpainted", "image", "The photos with the damage in their faces filled in."),
                output(io.Mask, "blend_mask", "mask", "How much of each pixel was filled in."),
            ],
            search_aliases=["inpaint", "scratch", "repair old photo", "LaMa"],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        return host.state_of(host.detector_files())

    @classmethod
    def execute(
        cls,
        image: Tensor,
        damage: Tensor,
        model: host.ManagedModel,
        protect: Tensor | None = None,
        **values: Any,
    ) -> Any:
        where = FaceInputs.taken_from(values)
        inputs = FrameInputs(damage=damage, protect=protect)
        result = _work(INPAINT, image, model, where, options_from(values), inputs)
        return io.NodeOutput(result.images, result.mask)


class GPENSegmentationToFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENSegmentationToFace",
            "GPEN Segmentation to Face",
            "Makes a face from a segmentation map: a square image with a colour for each part of the face.",
            inputs=[
                io.Image.Input("image", tooltip="One map or a batch, in the colours that the model was trained with."),
                GpenModel.Input("model", tooltip="GPEN-Seg2face-512, from GPEN Load Model."),
                *option_inputs(SYNTHESIZE),
            ],
            outputs=[output(io.Image, "face", "image", "The face, as large as the model makes it.")],
            search_aliases=["seg2face", "face parsing", "labels to face"],
        )

    @classmethod
    def execute(cls, image: Tensor, model: host.ManagedModel, **values: Any) -> Any:
        where = FaceInputs(aligned=True)
        return io.NodeOutput(_work(SYNTHESIZE, image, model, where, options_from(values), FrameInputs()).images)


def _work(
    task: Task,
    image: Tensor,
    model: host.ManagedModel,
    where: FaceInputs,
    options: Options,
    inputs: FrameInputs,
) -> RestoredFrames:
    """Do a task to the faces of each photo."""
    components = host.components_for(task, model, options, aligned=where.aligned)
    found = where.find(image, options)
    result = restore_frames(task, image, components, found, options, inputs=inputs, host=host.frame_host(model))
    level = logging.INFO if result.faces else logging.WARNING
    summary = "" if found is None else found.summary
    _log.log(level, "%s %s. %s", count(result.faces, "face"), task.done, summary)
    return result

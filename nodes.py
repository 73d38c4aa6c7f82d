"""The ComfyUI nodes: wiring only, between gpen/ and gpen_hosts/comfyui/.

The nodes for tasks other than restoring are in nodes_tasks.py, the one for videos in nodes_video.py.
"""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import ComfyExtension, io
from torch import Tensor

from .gpen.errors import OptionError
from .gpen.tasks import RESTORE
from .gpen.weights.convert import convert, converted, target_of
from .gpen.wording import count
from .gpen_hosts.comfyui import host, replacements
from .gpen_hosts.comfyui.face_inputs import FaceInputs
from .gpen_hosts.comfyui.found_faces import FoundFaces
from .gpen_hosts.comfyui.frames import FrameInputs, crop_faces, draw_frames, paste_faces, restore_frames
from .gpen_hosts.comfyui.schema import (
    GpenDetector,
    GpenFaces,
    GpenModel,
    best_model_input,
    detector_input,
    faces_input,
    model_file_input,
    model_file_problem,
    option,
    option_inputs,
    output,
    person_input,
    protect_input,
    region_input,
    schema,
    switch_problem,
)
from .gpen_hosts.comfyui.widgets import CHOOSING, CHOOSING_LATER, PASTING, options_from
from .nodes_tasks import GPENColorizeFaces, GPENInpaintFaces, GPENSegmentationToFace
from .nodes_video import GPENRestoreVideo

_log = logging.getLogger(__name__)


class GPENLoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENLoadModel",
            "GPEN Load Model",
            "Loads a GPEN model that restores, colorizes, inpaints or makes faces. Its size and task are read from the "
            "file.",
            inputs=[
                model_file_input(
                    "model_name",
                    "Model",
                    "A GPEN model, .safetensors or .pth, from the folder models/facerestore_models. 512 suits most "
                    "faces; 1024 and 2048 give more detail where a face is that large in the result.",
                    files=host.network_files(),
                ),
                option("precision"),
            ],
            outputs=[
                output(
                    GpenModel,
                    "model",
                    "model",
                    "The model, for the node of its task, such as GPEN Restore Faces.",
                )
            ],
            search_aliases=["face restore model", "face restoration", "GFPGAN", "CodeFormer"],
        )

    @classmethod
    def validate_inputs(cls, model_name: str | None) -> bool | str:
        return model_file_problem(model_name)

    @classmethod
    def fingerprint_inputs(cls, model_name: str | None, **values: Any) -> Any:
        return None if model_name is None else host.state_of([host.network_path(model_name)])

    @classmethod
    def execute(cls, model_name: str, precision: str) -> Any:
        return io.NodeOutput(host.ManagedModel(host.network_path(model_name), precision))


class GPENLoadFaceDetector(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENLoadFaceDetector",
            "GPEN Load Face Detector",
            "Loads a face detector. Its model file belongs in the folder models/facedetection.",
            inputs=[option("detector")],
            outputs=[output(GpenDetector, "face_detector", "detector", "The detector, for the nodes that find faces.")],
            search_aliases=["face detection", "YuNet", "RetinaFace"],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        return host.state_of(host.detector_files())

    @classmethod
    def execute(cls, detector: str) -> Any:
        return io.NodeOutput(host.detector_of(detector))


class GPENRestoreFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENRestoreFaces",
            "GPEN Restore Faces",
            "Finds the faces in each photo, restores them and pastes them back. Everything else stays as it is.",
            inputs=[
                io.Image.Input("image", tooltip="One photo or a batch, such as the frames of a video."),
                best_model_input(),
                detector_input(),
                faces_input(),
                region_input(),
                io.Image.Input(
                    "background",
                    optional=True,
                    tooltip="The same photos enlarged, for the faces to be pasted into. Their size replaces upscale.",
                ),
                io.UpscaleModel.Input(
                    "upscale_model",
                    display_name="upscale model",
                    optional=True,
                    tooltip="Enlarges the photos before the faces are pasted: by upscale if that is above 1, else by "
                    "the scale of this model.",
                ),
                protect_input(),
                person_input(),
                *option_inputs(RESTORE),
            ],
            outputs=[
                output(io.Image, "restored", "image", "The photos with their faces restored."),
                output(io.Image, "restored_faces", "restored faces", "Each restored face, as the model made it."),
                output(io.Image, "original_faces", "original faces", "The same faces, as the model saw them."),
                output(io.Mask, "blend_mask", "mask", "How much of each pixel is restored face."),
            ],
            # Only output nodes get their previews back after the page is reloaded and nothing has to run again.
            is_output_node=True,
            search_aliases=["face restore", "face enhance", "fix faces", "GFPGAN", "CodeFormer", "face detailer"],
        )

    @classmethod
    def validate_inputs(cls, color_match: Any, input_types: dict[str, str]) -> bool | str:
        return switch_problem(cls, "color_match", color_match, input_types)

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        best = host.best_network(RESTORE)
        return host.state_of([*host.detector_files(), *([] if best is None else [best])])

    @classmethod
    def execute(
        cls,
        image: Tensor,
        model: host.ManagedModel | None = None,
        background: Tensor | None = None,
        upscale_model: Any = None,
        protect: Tensor | None = None,
        **values: Any,
    ) -> Any:
        where = FaceInputs.taken_from(values)
        options = options_from(values)
        if background is not None and upscale_model is not None:
            raise OptionError("A background and an upscale model are connected. Disconnect one of them.")
        if model is None:
            model = host.best_model(RESTORE)
        faces = where.faces if where.faces is not None else where.find_anew(image, options)
        if background is not None:
            enlarged = host.backgrounds(background, len(image))
        else:
            enlarged = upscale_model and host.enlarger(upscale_model, image, options)
        result = restore_frames(
            RESTORE,
            image,
            host.components_for(RESTORE, model, options),
            faces,
            options,
            inputs=FrameInputs(background=enlarged, protect=protect),
            host=host.frame_host(model),
        )
        _log.log(
            logging.INFO if result.faces else logging.WARNING,
            "%s restored. %s",
            count(result.faces, "face"),
            faces.summary,
        )
        shown = faces.chosen[0].frame if faces.chosen else 0
        previews = {"images": host.preview(result.images[shown]), "gpen_before": host.preview(image[shown])}
        return io.NodeOutput(result.images, result.after, result.before, result.mask, ui=previews)


class GPENDetectFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENDetectFaces",
            "GPEN Detect Faces",
            "Finds the faces in each photo and numbers them from left to right. Click a box in the preview to "
            "choose that face.",
            inputs=[
                io.Image.Input("image", tooltip="One photo or a batch."),
                GpenDetector.Input("detector", tooltip="The detector, from GPEN Load Face Detector."),
                region_input(),
                person_input(),
                *map(option, CHOOSING),
                option("video"),
                *map(option, CHOOSING_LATER),
            ],
            outputs=[
                output(GpenFaces, "faces", "faces", "The chosen faces of each photo."),
                output(
                    io.Image, "drawing", "image", "The photos with numbered boxes; those of skipped faces are grey."
                ),
            ],
            is_output_node=True,
            has_intermediate_output=True,
            search_aliases=["face detection", "find faces", "face box"],
        )

    @classmethod
    def execute(cls, image: Tensor, **values: Any) -> Any:
        where = FaceInputs.taken_from(values)
        found = where.find_anew(image, options_from(values))
        _log.info(found.summary)
        drawings = draw_frames(image, found, host.output_format())
        return io.NodeOutput(found, drawings, ui=host.numbered_preview(drawings, found))


class GPENCropFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENCropFaces",
            "GPEN Crop Faces",
            "Crops the chosen faces, upright. Change the crops with any nodes, then paste them back with GPEN Paste "
            "Faces.",
            inputs=[
                io.Image.Input("image", tooltip="The photos that the faces were found in, or the same enlarged."),
                GpenFaces.Input("faces", tooltip="From GPEN Detect Faces."),
                io.Int.Input(
                    "size",
                    display_name="Size",
                    default=512,
                    min=64,
                    max=2048,
                    step=64,
                    tooltip="Width and height of each crop, in pixels.",
                ),
                option("template"),
            ],
            outputs=[
                output(io.Image, "crops", "crops", "One square crop for each face; a black one if there is none."),
                output(GpenFaces, "placed_faces", "faces", "The faces, with their positions in the crops."),
            ],
            search_aliases=["face crop", "extract faces", "align faces"],
        )

    @classmethod
    def execute(cls, image: Tensor, faces: FoundFaces, size: int, template: str) -> Any:
        crops, placed = crop_faces(image, faces, size, template, host.output_format())
        if not placed.chosen:
            _log.warning("There is no face to crop: the crop is black.")
        return io.NodeOutput(crops, placed)


class GPENPasteFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENPasteFaces",
            "GPEN Paste Faces",
            "Pastes crops from GPEN Crop Faces, changed by any nodes since, back into their photos.",
            inputs=[
                io.Image.Input("image", tooltip="The photos that the crops came from, or the same enlarged."),
                io.Image.Input("crops", tooltip="All of the crops, in their order; of any size, but square."),
                GpenFaces.Input("faces", tooltip="The faces that came with the crops, from GPEN Crop Faces."),
                protect_input(),
                *map(option, PASTING),
            ],
            outputs=[
                output(io.Image, "pasted", "image", "The photos with the crops pasted in."),
                output(io.Mask, "blend_mask", "mask", "How much of each pixel comes from a crop."),
            ],
            search_aliases=["face paste", "uncrop", "stitch faces"],
        )

    @classmethod
    def validate_inputs(cls, color_match: Any, input_types: dict[str, str]) -> bool | str:
        return switch_problem(cls, "color_match", color_match, input_types)

    @classmethod
    def fingerprint_inputs(cls, mask: str, occlusion: str = "none", **values: Any) -> Any:
        needs_files = mask in ("auto", "parsed") or occlusion != "none"
        return host.state_of(host.detector_files()) if needs_files else None

    @classmethod
    def execute(
        cls, image: Tensor, crops: Tensor, faces: FoundFaces, protect: Tensor | None = None, **values: Any
    ) -> Any:
        options = options_from(values)
        if not faces.chosen:
            _log.warning("There is no face to paste: the photos stay as they are.")
        loader = host.component_loader()
        images, mask = paste_faces(
            image,
            crops,
            faces,
            options,
            protect=protect,
            parser=loader.parser(options.mask),
            occluder=loader.occluder(options.occlusion),
            host=host.frame_host(),
        )
        return io.NodeOutput(images, mask)


class GPENConvertCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENConvertCheckpoint",
            "GPEN Convert Checkpoint",
            "Saves a GPEN model as .safetensors beside the original, verified bit for bit. Such a file loads "
            "faster and cannot contain code.",
            inputs=[
                model_file_input(
                    "weight_file", "Model", "The file to convert. It stays as it is.", files=host.files_to_convert()
                ),
                io.Boolean.Input(
                    "half",
                    display_name="Half precision",
                    default=False,
                    tooltip="Store 16-bit floats: half the size and slightly less precise, for GPUs.",
                ),
            ],
            outputs=[output(io.String, "path", "path", "The path of the converted file.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            search_aliases=["safetensors", "pth"],
        )

    @classmethod
    def validate_inputs(cls, weight_file: str | None) -> bool | str:
        return model_file_problem(weight_file)

    @classmethod
    def fingerprint_inputs(cls, weight_file: str | None, half: bool) -> Any:
        if weight_file is None:
            return None
        source = host.network_path(weight_file)
        return host.state_of([source, target_of(source, half=half)])

    @classmethod
    def execute(cls, weight_file: str, half: bool) -> Any:
        source = host.network_path(weight_file)
        target = converted(source, half=half)
        if target is not None:
            text = f"{target}, converted from this file before"
        else:
            result = convert(source, half=half)
            target = result.target
            text = f"{target}, {result.target_size / 1e6:.0f} MB, {count(result.tensors, 'tensor')} verified"
            if result.comparison is not None:
                text += f"; {result.comparison}"
        host.show_text(cls.hidden.unique_id, text)
        return io.NodeOutput(str(target), ui={"text": [text]})


class GPENExtension(ComfyExtension):
    """The node pack."""

    async def on_load(self) -> None:
        await replacements.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            GPENLoadModel,
            GPENLoadFaceDetector,
            GPENRestoreFaces,
            GPENDetectFaces,
            GPENCropFaces,
            GPENPasteFaces,
            GPENConvertCheckpoint,
            GPENColorizeFaces,
            GPENInpaintFaces,
            GPENSegmentationToFace,
            GPENRestoreVideo,
        ]

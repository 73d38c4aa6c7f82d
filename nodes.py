"""The ComfyUI nodes. They only wire: what is done stands in gpen/, what the host has to offer in gpen_hosts/.

The nodes for other tasks than restoring are in nodes_tasks.py.
"""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import ComfyExtension, io
from torch import Tensor

from .gpen.errors import OptionError
from .gpen.faces.detection.detector import FaceDetector
from .gpen.tasks import RESTORE
from .gpen.weights.convert import convert, converted, target_of
from .gpen.wording import count
from .gpen_hosts.comfyui import host
from .gpen_hosts.comfyui.frames import FoundFaces, FrameInputs, crop_faces, draw_frames, paste_faces, restore_frames
from .gpen_hosts.comfyui.schema import (
    GpenDetector,
    GpenFaces,
    GpenModel,
    detector_input,
    faces_input,
    option,
    option_inputs,
    output,
    region_input,
    schema,
    weight_file_input,
    weight_file_problem,
)
from .gpen_hosts.comfyui.widgets import CHOOSING, PASTING, options_from
from .nodes_tasks import GPENColorizeFaces, GPENInpaintFaces, GPENSegmentationToFace

_log = logging.getLogger(__name__)


class GPENLoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENLoadModel",
            "GPEN Load Model",
            "Loads a GPEN network, which restores faces, or colorizes, inpaints or makes them. Its size and kind are "
            "read from the weights.",
            inputs=[
                weight_file_input(
                    "model_name",
                    "Weights",
                    "Weights of a GPEN network, .safetensors or .pth, from the folder models/facerestore_models. "
                    "512 suits most faces; 1024 and 2048 give more detail where a face is that large in the result.",
                    files=host.network_files(),
                ),
                option("precision"),
            ],
            outputs=[
                output(
                    GpenModel,
                    "model",
                    "model",
                    "The network, for the node that does its task, such as GPEN Restore Faces.",
                )
            ],
            search_aliases=["face restore model", "face restoration", "GFPGAN", "CodeFormer"],
        )

    @classmethod
    def validate_inputs(cls, model_name: str | None) -> bool | str:
        return weight_file_problem(model_name)

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
            "Loads what finds faces. Its weights belong in the folder models/facedetection.",
            inputs=[option("detector")],
            outputs=[output(GpenDetector, "face_detector", "detector", "What finds the faces in a picture.")],
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
            "Finds the faces in each picture, restores them and lays them back. All else stays as it is.",
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch, such as the frames of a video."),
                GpenModel.Input("model", tooltip="The network, from GPEN Load Model."),
                detector_input(),
                faces_input(),
                region_input(),
                io.Image.Input(
                    "background",
                    optional=True,
                    tooltip="The same pictures enlarged, which the faces are laid over. Their size takes the place "
                    "of upscale.",
                ),
                io.UpscaleModel.Input(
                    "upscale_model",
                    display_name="upscale model",
                    optional=True,
                    tooltip="Enlarges the pictures before the faces are laid over them; to the size that upscale "
                    "says if that is above 1, else as far as the model does.",
                ),
                *option_inputs(RESTORE),
            ],
            outputs=[
                output(io.Image, "restored", "image", "The pictures with their faces restored."),
                output(io.Image, "restored_faces", "restored faces", "Each restored face, as the network made it."),
                output(io.Image, "original_faces", "original faces", "The same faces as the network saw them."),
                output(io.Mask, "blend_mask", "mask", "How much of each pixel is restored face."),
            ],
            # The page forgets the previews of other nodes when it is loaded anew and nothing has to run again.
            is_output_node=True,
            search_aliases=["face restore", "face enhance", "fix faces", "GFPGAN", "CodeFormer", "face detailer"],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        return host.state_of(host.detector_files())

    @classmethod
    def execute(
        cls,
        image: Tensor,
        model: host.ManagedModel,
        detector: FaceDetector | None = None,
        faces: FoundFaces | None = None,
        region: Tensor | None = None,
        background: Tensor | None = None,
        upscale_model: Any = None,
        **values: Any,
    ) -> Any:
        options = options_from(values)
        if background is not None and upscale_model is not None:
            raise OptionError("A background and an upscale model are connected. Disconnect one of them.")
        if faces is None:
            faces = host.faces_of(image, detector, options, region)
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
            inputs=FrameInputs(background=enlarged),
            host=host.frame_host(model),
        )
        _log.log(
            logging.INFO if result.faces else logging.WARNING,
            "%s restored. %s",
            count(result.faces, "face"),
            faces.summary,
        )
        shown = faces.chosen[0].frame if faces.chosen else 0
        pictures = {"images": host.preview(result.images[shown]), "gpen_before": host.preview(image[shown])}
        return io.NodeOutput(result.images, result.after, result.before, result.mask, ui=pictures)


class GPENDetectFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENDetectFaces",
            "GPEN Detect Faces",
            "Finds the faces in each picture and numbers them from left to right. Click a box in the preview to "
            "choose that face.",
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch."),
                GpenDetector.Input("detector", tooltip="What finds the faces, from GPEN Load Face Detector."),
                region_input(),
                *map(option, CHOOSING),
                option("video"),
            ],
            outputs=[
                output(GpenFaces, "faces", "faces", "The chosen faces of each picture."),
                output(io.Image, "drawing", "image", "The pictures with numbered boxes, grey around faces left out."),
            ],
            is_output_node=True,
            search_aliases=["face detection", "find faces", "face box"],
        )

    @classmethod
    def execute(cls, image: Tensor, detector: FaceDetector, region: Tensor | None = None, **values: Any) -> Any:
        found = host.faces_of(image, detector, options_from(values), region)
        _log.info(found.summary)
        drawings = draw_frames(image, found, host.output_device())
        return io.NodeOutput(found, drawings, ui=host.numbered_preview(drawings, found))


class GPENCropFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENCropFaces",
            "GPEN Crop Faces",
            "Cuts the chosen faces out, upright. Change the crops with any nodes, then GPEN Paste Faces lays them "
            "back.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures that the faces were found in, or the same enlarged."),
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
                output(io.Image, "crops", "crops", "One square picture for each face; a black one if there is none."),
                output(GpenFaces, "placed_faces", "faces", "The faces, with their places in the crops."),
            ],
            search_aliases=["face crop", "extract faces", "align faces"],
        )

    @classmethod
    def execute(cls, image: Tensor, faces: FoundFaces, size: int, template: str) -> Any:
        crops, placed = crop_faces(image, faces, size, template, host.output_device())
        if not placed.chosen:
            _log.warning("There is no face to cut out: the crop is a black picture.")
        return io.NodeOutput(crops, placed)


class GPENPasteFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENPasteFaces",
            "GPEN Paste Faces",
            "Lays crops from GPEN Crop Faces, changed by any nodes since, back over the pictures they came from.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures that the crops were cut out of, or the same enlarged."),
                io.Image.Input("crops", tooltip="The crops, all of them and in their order; of any size, but square."),
                GpenFaces.Input("faces", tooltip="The faces that came with the crops, from GPEN Crop Faces."),
                *map(option, PASTING),
            ],
            outputs=[
                output(io.Image, "pasted", "image", "The pictures with the crops laid over them."),
                output(io.Mask, "blend_mask", "mask", "How much of each pixel is a crop."),
            ],
            search_aliases=["face paste", "uncrop", "stitch faces"],
        )

    @classmethod
    def fingerprint_inputs(cls, mask: str, **values: Any) -> Any:
        return host.state_of(host.detector_files()) if mask == "parsed" else None

    @classmethod
    def execute(cls, image: Tensor, crops: Tensor, faces: FoundFaces, **values: Any) -> Any:
        options = options_from(values)
        if not faces.chosen:
            _log.warning("There is no face to lay back: the pictures stay as they are.")
        device, parser = host.output_device(), host.parser_for(options.mask)
        images, mask = paste_faces(image, crops, faces, options, parser=parser, on_step=host.Progress(), device=device)
        return io.NodeOutput(images, mask)


class GPENConvertCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENConvertCheckpoint",
            "GPEN Convert Checkpoint",
            "Writes a GPEN network as .safetensors beside the file it is in, compared bit for bit before it gets "
            "its name. Such a file opens faster and cannot hold code.",
            inputs=[
                weight_file_input(
                    "weight_file", "Weights", "The file to convert. It stays as it is.", files=host.files_to_convert()
                ),
                io.Boolean.Input(
                    "half",
                    display_name="Half precision",
                    default=False,
                    tooltip="Store 16-bit numbers: half the size, for GPUs, with a little less precision.",
                ),
            ],
            outputs=[output(io.String, "path", "path", "The file that was written.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            search_aliases=["safetensors", "pth"],
        )

    @classmethod
    def validate_inputs(cls, weight_file: str | None) -> bool | str:
        return weight_file_problem(weight_file)

    @classmethod
    def fingerprint_inputs(cls, weight_file: str | None, half: bool) -> Any:
        if weight_file is None:
            return None
        source = host.network_path(weight_file)
        return host.state_of([source, target_of(source, half=half)])

    @classmethod
    def execute(cls, weight_file: str, half: bool) -> Any:
        source = host.network_path(weight_file)
        there = converted(source, half=half)
        if there is not None:
            written = f"{there}, which was made of this file before"
        else:
            result = convert(source, half=half)
            there = result.target
            written = f"{there}, {result.target_size / 1e6:.0f} MB, {count(result.tensors, 'tensor')} verified"
            if result.comparison is not None:
                written += f"; {result.comparison}"
        host.say(cls.hidden.unique_id, written)
        return io.NodeOutput(str(there), ui={"text": [written]})


class GPENExtension(ComfyExtension):
    """The node pack."""

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
        ]

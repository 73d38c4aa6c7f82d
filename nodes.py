"""The ComfyUI nodes. They only wire: what is done stands in gpen/, what the host has to offer in gpen_hosts/."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import ComfyExtension, io
from torch import Tensor

from .gpen.errors import GpenError, OptionError
from .gpen.faces.detect import FaceDetector, make_detector
from .gpen.faces.parsing import FaceParser, make_parser
from .gpen.model.convert import convert, converted, target_of
from .gpen.options import Options
from .gpen.wording import count
from .gpen_hosts import comfyui as host
from .gpen_hosts.comfyui_widgets import options_from, supported, widget
from .gpen_hosts.frames import FoundFaces, cut_faces, draw_frames, find_faces, paste_faces, restore_frames

CATEGORY = "image/face restoration"
FINDING = ("detection_threshold", "select", "only_faces", "min_face_size")
PASTING = ("mask", "feather", "strength", "color_match")

GpenModel = io.Custom("GPEN_MODEL")
GpenDetector = io.Custom("GPEN_FACE_DETECTOR")
GpenFaces = io.Custom("GPEN_FACES")

_log = logging.getLogger(__name__)


def _option(name: str) -> Any:
    kind, arguments = widget(name)
    return supported(getattr(io, kind).Input, **arguments)


def _weight_file(name: str, display_name: str, tooltip: str, *, files: list[str]) -> Any:
    tooltip = tooltip if files else host.where_to_put()
    return io.Combo.Input(name, options=files, display_name=display_name, tooltip=tooltip)


def _output(kind: Any, id: str, name: str, tooltip: str) -> Any:
    return kind.Output(id, display_name=name, tooltip=tooltip)


def _schema(node_id: str, display_name: str, description: str, **more: Any) -> Any:
    return supported(
        io.Schema, node_id=node_id, display_name=display_name, category=CATEGORY, description=description, **more
    )


def _region() -> Any:
    return io.Mask.Input(
        "region", optional=True, tooltip="Only faces whose centre lies in the white of this mask are chosen."
    )


def _parser(mask: str) -> FaceParser | None:
    if mask != "parsed":
        return None
    host.make_room()
    return make_parser(host.folders(host.DETECTORS), host.compute_device())


def _find(image: Tensor, detector: FaceDetector, options: Options, region: Tensor | None) -> FoundFaces:
    host.make_room()
    return find_faces(image, detector, options, region, host.Progress())


def _make_detector(name: str) -> FaceDetector:
    return make_detector(name, host.folders(host.DETECTORS), host.compute_device())


class GPENLoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return _schema(
            "GPENLoadModel",
            "GPEN Load Model",
            "Loads a GPEN network, which restores faces. Its size and kind are read from the weights.",
            inputs=[
                _weight_file(
                    "model_name",
                    "Weights",
                    "Weights of a GPEN network, .safetensors or .pth, from the folder models/facerestore_models. "
                    "512 suits most faces; 1024 and 2048 give more detail where a face is that large in the result.",
                    files=host.network_files("restore"),
                ),
                _option("precision"),
            ],
            outputs=[_output(GpenModel, "model", "model", "The network, for GPEN Restore Faces.")],
            search_aliases=["face restore model", "face restoration", "GFPGAN", "CodeFormer"],
        )

    @classmethod
    def validate_inputs(cls, model_name: str | None) -> bool | str:
        return _there(model_name)

    @classmethod
    def fingerprint_inputs(cls, model_name: str | None, **values: Any) -> Any:
        return None if model_name is None else host.state_of([host.network_path(model_name)])

    @classmethod
    def execute(cls, model_name: str, precision: str) -> Any:
        return io.NodeOutput(host.ManagedModel(host.network_path(model_name), precision))


class GPENLoadFaceDetector(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return _schema(
            "GPENLoadFaceDetector",
            "GPEN Load Face Detector",
            "Loads what finds faces. Its weights belong in the folder models/facedetection.",
            inputs=[_option("detector")],
            outputs=[_output(GpenDetector, "face_detector", "detector", "What finds the faces in a picture.")],
            search_aliases=["face detection", "YuNet", "RetinaFace"],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        return host.state_of(host.detector_files())

    @classmethod
    def execute(cls, detector: str) -> Any:
        return io.NodeOutput(_make_detector(detector))


class GPENRestoreFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return _schema(
            "GPENRestoreFaces",
            "GPEN Restore Faces",
            "Finds the faces in each picture, restores them and lays them back. All else stays as it is.",
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch, such as the frames of a video."),
                GpenModel.Input("model", tooltip="The network, from GPEN Load Model."),
                GpenDetector.Input(
                    "detector", optional=True, tooltip="What finds the faces. Not connected: chosen automatically."
                ),
                GpenFaces.Input(
                    "faces",
                    optional=True,
                    tooltip="Faces that GPEN Detect Faces found and chose in these pictures. No others are looked "
                    "for, and the inputs for finding and choosing faces do not count.",
                ),
                _region(),
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
                *map(_option, FINDING),
                _option("template"),
                *map(_option, PASTING),
                _option("upscale"),
                _option("max_megapixels"),
            ],
            outputs=[
                _output(io.Image, "restored", "image", "The pictures with their faces restored."),
                _output(io.Image, "restored_faces", "restored faces", "Each restored face, as the network made it."),
                _output(io.Image, "original_faces", "original faces", "The same faces as the network saw them."),
                _output(io.Mask, "blend_mask", "mask", "How much of each pixel is restored face."),
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
            faces = _find(image, detector or _make_detector("auto"), options, region)
        if background is not None:
            enlarged = host.backgrounds(background, len(image))
        else:
            enlarged = upscale_model and host.enlarger(upscale_model, image, options)
        result = restore_frames(
            image,
            model.for_run(),
            faces,
            options,
            parser=_parser(options.mask),
            background=enlarged,
            before_frame=model.load,
            on_step=host.Progress(),
            device=host.output_device(),
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
        return _schema(
            "GPENDetectFaces",
            "GPEN Detect Faces",
            "Finds the faces in each picture and numbers them from left to right. Click a box in the preview to "
            "choose that face.",
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch."),
                GpenDetector.Input("detector", tooltip="What finds the faces, from GPEN Load Face Detector."),
                _region(),
                *map(_option, FINDING),
            ],
            outputs=[
                _output(GpenFaces, "faces", "faces", "The chosen faces of each picture."),
                _output(io.Image, "drawing", "image", "The pictures with numbered boxes, grey around faces left out."),
            ],
            is_output_node=True,
            search_aliases=["face detection", "find faces", "face box"],
        )

    @classmethod
    def execute(cls, image: Tensor, detector: FaceDetector, region: Tensor | None = None, **values: Any) -> Any:
        found = _find(image, detector, options_from(values), region)
        _log.info(found.summary)
        drawings = draw_frames(image, found, host.output_device())
        return io.NodeOutput(found, drawings, ui=host.numbered_preview(drawings, found))


class GPENCropFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return _schema(
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
                _option("template"),
            ],
            outputs=[
                _output(io.Image, "crops", "crops", "One square picture for each face; a black one if there is none."),
                _output(GpenFaces, "placed_faces", "faces", "The faces, with their places in the crops."),
            ],
            search_aliases=["face crop", "extract faces", "align faces"],
        )

    @classmethod
    def execute(cls, image: Tensor, faces: FoundFaces, size: int, template: str) -> Any:
        crops, placed = cut_faces(image, faces, size, template, host.output_device())
        if not placed.chosen:
            _log.warning("There is no face to cut out: the crop is a black picture.")
        return io.NodeOutput(crops, placed)


class GPENPasteFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return _schema(
            "GPENPasteFaces",
            "GPEN Paste Faces",
            "Lays crops from GPEN Crop Faces, changed by any nodes since, back over the pictures they came from.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures that the crops were cut out of, or the same enlarged."),
                io.Image.Input("crops", tooltip="The crops, all of them and in their order; of any size, but square."),
                GpenFaces.Input("faces", tooltip="The faces that came with the crops, from GPEN Crop Faces."),
                *map(_option, PASTING),
            ],
            outputs=[
                _output(io.Image, "pasted", "image", "The pictures with the crops laid over them."),
                _output(io.Mask, "blend_mask", "mask", "How much of each pixel is a crop."),
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
        device, parser = host.output_device(), _parser(options.mask)
        images, mask = paste_faces(image, crops, faces, options, parser=parser, on_step=host.Progress(), device=device)
        return io.NodeOutput(images, mask)


class GPENConvertCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return _schema(
            "GPENConvertCheckpoint",
            "GPEN Convert Checkpoint",
            "Writes a GPEN network as .safetensors beside the file it is in, compared bit for bit before it gets "
            "its name. Such a file opens faster and cannot hold code.",
            inputs=[
                _weight_file(
                    "weight_file", "Weights", "The file to convert. It stays as it is.", files=host.files_to_convert()
                ),
                io.Boolean.Input(
                    "half",
                    display_name="Half precision",
                    default=False,
                    tooltip="Store 16-bit numbers: half the size, for GPUs, with a little less precision.",
                ),
            ],
            outputs=[_output(io.String, "path", "path", "The file that was written.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            search_aliases=["safetensors", "pth"],
        )

    @classmethod
    def validate_inputs(cls, weight_file: str | None) -> bool | str:
        return _there(weight_file)

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


def _there(name: str | None) -> bool | str:
    """Whether the chosen file is there; in place of the host's list check, whose sentence helps nobody."""
    try:
        if name is not None:
            host.network_path(name)
    except GpenError as error:
        return str(error)
    return True


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
        ]

"""The ComfyUI node that restores a video from file to file: wiring only, as in nodes.py."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .gpen.tasks import RESTORE
from .gpen_hosts.comfyui import host
from .gpen_hosts.comfyui.face_inputs import FaceInputs
from .gpen_hosts.comfyui.films import CODECS, USUAL_CRF, restore_video, settings_from
from .gpen_hosts.comfyui.schema import (
    best_model_input,
    detector_input,
    film_option_inputs,
    output,
    person_input,
    protect_input,
    region_input,
    schema,
)
from .gpen_hosts.comfyui.widgets import options_from

_log = logging.getLogger(__name__)


class GPENRestoreVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            "GPENRestoreVideo",
            "GPEN Restore Video",
            "Restores the faces of a video of any length, from file to file: frames are never all in memory. Sound, "
            "timestamps and everything else stay as they are.",
            inputs=[
                io.Video.Input("video", tooltip="The video, from Load Video for instance. A trimmed one is respected."),
                best_model_input(),
                detector_input(),
                region_input(),
                protect_input(),
                person_input(),
                io.Combo.Input(
                    "codec",
                    options=list(CODECS),
                    display_name="Codec",
                    default=CODECS[0],
                    tooltip="How the result is encoded. auto: H.264, or HEVC for more than 8 bits, AV1 for .webm. ffv1 "
                    "loses nothing; its files are large, and Save Video can only write them as mkv.",
                ),
                io.Float.Input(
                    "crf",
                    display_name="CRF",
                    default=USUAL_CRF,
                    min=USUAL_CRF,
                    max=63,
                    step=1,
                    tooltip="Quality of the encoding: the lower, the better and the larger. -1: the codec's usual one.",
                ),
                io.Boolean.Input(
                    "steady",
                    display_name="Steady faces",
                    default=True,
                    tooltip="Follow faces from frame to frame, smooth their positions, and bridge gaps of up to 5 "
                    "frames. Off: each frame stands alone.",
                ),
                io.Boolean.Input(
                    "deinterlace",
                    display_name="Deinterlace",
                    default=False,
                    tooltip="Make whole frames of interlaced ones, as many as before. Without it an interlaced video "
                    "is refused.",
                ),
                *film_option_inputs(RESTORE),
            ],
            outputs=[output(io.Video, "restored", "video", "The video with its faces restored, in a temporary file.")],
            search_aliases=["face restore", "video face restoration", "film", "deflicker faces"],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        best = host.best_network(RESTORE)
        return host.state_of([*host.detector_files(), *([] if best is None else [best])])

    @classmethod
    def execute(
        cls, video: Any, model: host.ManagedModel | None = None, protect: Tensor | None = None, **values: Any
    ) -> Any:
        where = FaceInputs.taken_from(values)
        settings = settings_from(values)
        options = options_from(values)
        if model is None:
            model = host.best_model(RESTORE)
        restored, result = restore_video(video, model, where, protect, options, settings)
        level = logging.INFO if result.outcome.restored else logging.WARNING
        _log.log(level, "%s", result.message)
        return io.NodeOutput(restored)

"""Every user-facing option, declared once: default, range, step, label and help text.

The command line, the ComfyUI nodes, the SD-WebUI panels and the API are built from
:data:`OPTIONS`; none of them holds a default or a range of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import OptionError
from .option import Option as Option
from .tasks import RESTORE, Task
from .weights import catalog

OCCLUDERS = ("none", "auto", *(occluder.name for occluder in catalog.OCCLUDERS))
DETECTORS = ("auto", *(detector.name for detector in catalog.DETECTORS))
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def _option(default: Any, label: str, help: str, group: str, **more: Any) -> Any:
    return field(default=default, metadata={"label": label, "help": help, "group": group, **more})


@dataclass(frozen=True)
class Options:
    """Values for every option. Building one checks each value and raises OptionError on a bad one.

    The numbers in ``only_faces`` are read, and refused, where faces are chosen: :func:`parse_face_numbers`.
    """

    precision: str = _option(
        "auto",
        "Precision",
        "Number format of the model. auto: float16 on NVIDIA GPUs of compute capability 7 (RTX) or higher, bfloat16 on "
        "CPUs that are fast with it, else float32. Smaller formats need less memory; a model whose values exceed their "
        "range continues in float32.",
        "model",
        choices=PRECISIONS,
        advanced=True,
    )
    detector: str = _option(
        "auto",
        "Face detector",
        "Model that finds the faces. auto: RetinaFace if it is on disk, else YuNet; on a CPU, YuNet first.",
        "detection",
        choices=DETECTORS,
    )
    detection_threshold: float = _option(
        0.7,
        "Detection threshold",
        "Skip faces that score lower. Lower it when a face is missed, raise it when something that is not a face is "
        "restored.",
        "detection",
        minimum=0.05,
        maximum=1.0,
        step=0.05,
    )
    select: str = _option(
        "all",
        "Faces",
        "Which of the detected faces to restore: all, the largest, or the most central one.",
        "selection",
        choices=("all", "largest", "central"),
    )
    only_faces: str = _option(
        "",
        "Only these faces",
        "Numbers of the faces to restore, counted from left to right from 0, such as 0,2,5-7. Empty: no restriction.",
        "selection",
    )
    min_face_size: int = _option(
        0,
        "Smallest face",
        "Skip faces whose box is narrower or shorter than this many pixels of the photo. 0: all that are found, from "
        "about 12 pixels up, in photos of more than 3,072 pixels in proportion.",
        "selection",
        minimum=0,
        maximum=4096,
        step=1,
        advanced=True,
    )
    max_face_size: int = _option(
        0,
        "Largest face",
        "Skip faces whose box is wider or taller than this many pixels of the photo. 0: no limit.",
        "selection",
        minimum=0,
        maximum=16384,
        step=1,
        advanced=True,
    )
    skip_sharp: float = _option(
        0.0,
        "Skip sharp faces",
        "Leave faces that are sharper than this as they are: restore only what needs it. Most portraits at full "
        "quality measure 0.7 to 1, most that are blurred, noisy, small or heavily compressed less than 0.5. 0: off.",
        "selection",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
        advanced=True,
    )
    template: str = _option(
        "gpen",
        "Alignment",
        "Where the landmarks lie in the crop. gpen: as the published models were trained. ffhq: a tighter crop, as in "
        "facexlib and facefusion.",
        "alignment",
        choices=("gpen", "ffhq"),
        advanced=True,
    )
    mask: str = _option(
        "auto",
        "Mask",
        "Where the restored face replaces the photo. auto: parsed if a face-parsing model is on disk, else ellipse. "
        "ellipse: fitted to the landmarks. box: nearly the whole crop. parsed: skin, features and hair, found by a "
        "face-parsing model that has to be on disk.",
        "mask",
        choices=("auto", "ellipse", "box", "parsed"),
    )
    occlusion: str = _option(
        "none",
        "Occlusion",
        "Leave what is in front of a face, such as a hand or a microphone, as it is. none: off. auto: found by the "
        "newest occlusion model on disk. xseg_3, xseg_2, xseg_1: by this one. They take hair for something else, too.",
        "mask",
        choices=OCCLUDERS,
        advanced=True,
    )
    feather: float = _option(
        0.1,
        "Feather",
        "Width of the mask's soft edge, as a fraction of the face's height.",
        "mask",
        minimum=0.0,
        maximum=0.5,
        step=0.01,
        advanced=True,
    )
    strength: float = _option(
        1.0,
        "Strength",
        "How much of the restored face is blended over the original: 0 changes nothing, 1 replaces it.",
        "blending",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
    )
    damage_feather: float = _option(
        0.02,
        "Damage feather",
        "Width of the soft edge around damage that is filled in, as a fraction of the face's height.",
        "mask",
        minimum=0.0,
        maximum=0.5,
        step=0.01,
        advanced=True,
    )
    color_match: str = _option(
        "none",
        "Match colours",
        "Give the restored face the original's colours. none: as the model made them. lab: their mean and spread (in "
        "Lab, inside the mask). wavelet: all that is wider than about 1/8 of the crop, so tints and shading too; "
        "detail is the model's.",
        "blending",
        choices=("none", "lab", "wavelet"),
        advanced=True,
        switch=("none", "lab"),
    )
    grain: float = _option(
        0.0,
        "Grain",
        "How much of the grain around a face, of film or a sensor, the restored face gets where it lacks it. 0: none. "
        "1: as much as the photo has.",
        "blending",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
        advanced=True,
    )
    identity_guard: float = _option(
        0.0,
        "Identity guard",
        "Largest cosine distance allowed between a face before and after, such as 0.3, measured by a face-recognition "
        "model that has to be on disk. 0: off.",
        "identity",
        minimum=0.0,
        maximum=2.0,
        step=0.01,
        advanced=True,
    )
    identity_action: str = _option(
        "blend",
        "If a face changes too much",
        "What to do with a face beyond the guard's limit. blend: blend in only as much of it as stays within. "
        "keep: keep the original.",
        "identity",
        choices=("blend", "keep"),
        advanced=True,
    )
    upscale: float = _option(
        1.0,
        "Upscale",
        "Enlarge the photo. Faces are pasted at the new size, so that more of their detail is kept.",
        "blending",
        minimum=1.0,
        maximum=4.0,
        step=0.5,
    )
    video: bool = _option(
        False,
        "Steady video",
        "For the frames of one video, in order: follow faces from frame to frame, smooth their positions, and bridge "
        "gaps of up to 5 frames. A face keeps its number for as long as it is followed. Not for unrelated photos.",
        "video",
        default_words="no, for films yes",
    )
    texture: float = _option(
        1.0,
        "Steady texture",
        "With Steady video: how much of what the model adds to a face, such as pores and hair, is averaged along its "
        "motion over the last 6 frames, so that it does not flicker. 0: each frame has its own.",
        "video",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
        advanced=True,
    )
    max_megapixels: float = _option(
        200.0,
        "Largest picture",
        "Refuse pictures with more megapixels before they are decoded, and results before they are made.",
        "limits",
        minimum=0.1,
        maximum=10000.0,
        step=1.0,
        advanced=True,
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            object.__setattr__(self, name, option.check(getattr(self, name)))


@dataclass(frozen=True)
class Preset:
    """Values that are chosen together."""

    label: str
    """What users see, such as "Selfie"."""
    help: str
    """One or two sentences about it."""
    model: str
    """The published network that the values are for."""
    values: Mapping[str, bool | int | float | str]
    """Values by the option's name."""
    task: Task = RESTORE
    """The task that it is for."""


PRESETS = {
    "selfie": Preset(
        "Selfie",
        "As the authors restore large faces: GPEN-BFR-2048, strength 0.8, twice the size. Options you set override it.",
        "GPEN-BFR-2048",
        {"strength": 0.8, "upscale": 2.0},
    ),
}


def preset_values(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for Options: the preset's, overridden by those that were given. OptionError for an unknown preset."""
    if name not in PRESETS:
        raise OptionError(f"The preset {name!r} is unknown. Choose one of: {', '.join(PRESETS)}.")
    return {**PRESETS[name].values, **given}


OPTIONS: dict[str, Option] = {
    f.name: Option(name=f.name, default=f.default, **f.metadata)  # type: ignore[arg-type]
    for f in fields(Options)
}

COMPARE_OPTIONS = (
    "precision",
    *("detector", "detection_threshold", "select", "only_faces", "min_face_size", "max_face_size", "template"),
    *("mask", "feather", "max_megapixels"),
)
"""Names of the options that comparing models supports."""

FRAME_OPTIONS = ("video", "texture")
"""Names of the options about the frames of a video, which mean nothing where each photo stands alone."""


def supported(options: Options, task: Task) -> Options:
    """The options with the default in place of every value that the task does not support."""
    return Options(**{name: getattr(options, name) for name in task.options})


def parse_face_numbers(text: str) -> frozenset[int] | None:
    """The numbers in the value of option "only_faces", such as "0,2,5-7"; None for empty text.

    OptionError for anything else.
    """
    if not text.strip():
        return None
    ranges: list[tuple[int, int]] = []
    for part in text.split(","):
        match = _NUMBERS.fullmatch(part)
        if match is None:
            raise OptionError(
                f"Only these faces is {text!r}; it has to be numbers and ranges separated by commas, such as 0,2,5-7."
            )
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first:
            raise OptionError(f"Only these faces is {text!r}: the range {part.strip()} runs backwards.")
        ranges.append((first, last))
    numbers: set[int] = set()
    end = -1
    for first, last in sorted(ranges):  # each number once, however many ranges hold it
        numbers.update(range(max(first, end + 1), last + 1))
        end = max(end, last)
    return frozenset(numbers)


_NUMBERS = re.compile(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?")

ALIGNED = Option(
    "aligned",
    False,
    "Aligned portrait",
    "Each photo is one face, already cropped to a square as the model takes it. No faces are looked for.",
    "alignment",
)
"""For tasks that accept aligned portraits: it says what the photos are, not what is done to them."""

"""Parts of the nodes' schemas: wire types, and inputs that several nodes share."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from comfy_execution.validation import validate_node_input

from ...gpen.errors import GpenError, OptionError
from ...gpen.options import ALIGNED, OPTIONS
from ...gpen.tasks import Task
from . import host
from .widgets import film_option_names, option_names, supported, widget

CATEGORY = "image/face restoration"
GpenModel = io.Custom("GPEN_MODEL")
GpenDetector = io.Custom("GPEN_FACE_DETECTOR")
GpenFaces = io.Custom("GPEN_FACES")


def schema(node_id: str, display_name: str, description: str, **more: Any) -> Any:
    """A node's schema, without the arguments that this version of ComfyUI does not know."""
    return supported(
        io.Schema, node_id=node_id, display_name=display_name, category=CATEGORY, description=description, **more
    )


def option(name: str) -> Any:
    """The input for an option."""
    kind, arguments = widget(name)
    return supported(getattr(io, kind).Input, **arguments)


def option_inputs(task: Task) -> list[Any]:
    """The inputs for all options of a task's node."""
    return [option(name) for name in option_names(task)]


def film_option_inputs(task: Task) -> list[Any]:
    """The inputs for all options of a task that a film has."""
    return [option(name) for name in film_option_names(task)]


def output(kind: Any, id: str, name: str, tooltip: str) -> Any:
    """An output."""
    return kind.Output(id, display_name=name, tooltip=tooltip)


def model_file_input(name: str, display_name: str, tooltip: str, *, files: list[str]) -> Any:
    """A choice among model files; if there are none, its tooltip says where to put one."""
    return io.Combo.Input(
        name, options=files, display_name=display_name, tooltip=tooltip if files else host.where_to_put()
    )


def model_file_problem(name: str | None) -> bool | str:
    """Why the chosen file is missing, or True; in place of ComfyUI's own check, which does not say what to do."""
    try:
        if name is not None:
            host.network_path(name)
    except GpenError as error:
        return str(error)
    return True


def switch_problem(node: Any, name: str, value: object, received: dict[str, str]) -> bool | str:
    """Why a node's inputs are wrong, or True; for a node with an option that was a switch before it had choices.

    In place of ComfyUI's own checks: workflows from before hold booleans, or links to nodes that return them. received:
    the type of each input that is linked. value: the option's, None if that is linked.
    """
    declared = {key: kind for group in node.INPUT_TYPES().values() for key, (kind, *_) in group.items()}
    for key, kind in received.items():
        if not validate_node_input(kind, declared[key]) and (key, kind) != (name, io.Boolean.io_type):
            return f"{key} is linked to an output of type {kind}, and takes {declared[key]}. Link another one."
    try:
        if value is not None:
            OPTIONS[name].check(value)
    except OptionError as error:
        return str(error)
    return True


def best_model_input() -> Any:
    """The model, for nodes that can choose one themselves."""
    return GpenModel.Input(
        "model",
        optional=True,
        tooltip="The model, from GPEN Load Model. If not connected, the best one on disk: GPEN-BFR-512, else 1024, "
        "2048 or 256.",
    )


def detector_input() -> Any:
    """The detector, for nodes that can choose one themselves."""
    return GpenDetector.Input(
        "detector", optional=True, tooltip="Finds the faces. Chosen automatically if not connected."
    )


def faces_input() -> Any:
    """Faces from another node."""
    return GpenFaces.Input(
        "faces",
        optional=True,
        tooltip="Faces that GPEN Detect Faces found and chose in these photos. No others are detected, and the inputs "
        "for detecting and choosing faces have no effect.",
    )


def region_input() -> Any:
    """A mask of where faces are chosen."""
    return io.Mask.Input(
        "region", optional=True, tooltip="Only faces whose centre lies in the white of this mask are chosen."
    )


def protect_input() -> Any:
    """A mask of what stays as it is."""
    return io.Mask.Input(
        "protect",
        optional=True,
        tooltip="Where this mask is white, the photos stay as they are: a hand, glasses or text in front of a face.",
    )


def person_input() -> Any:
    """Whose faces are chosen."""
    return io.Image.Input(
        "person",
        optional=True,
        tooltip="Only faces of the person in this photo are chosen; of the people in a batch of photos, one in each. "
        "Where a photo shows several, the largest face counts. Needs a face-recognition model.",
    )


def aligned_input() -> Any:
    """For photos that are aligned portraits."""
    return io.Boolean.Input(
        "aligned",
        display_name=ALIGNED.label,
        default=ALIGNED.default,
        tooltip=ALIGNED.help,
    )

"""What the nodes' schemas are made of: wire types, inputs that several nodes have, and how they are declared."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...gpen.errors import GpenError
from ...gpen.options import ALIGNED
from ...gpen.tasks import Task
from . import host
from .widgets import option_names, supported, widget

CATEGORY = "image/face restoration"
GpenModel = io.Custom("GPEN_MODEL")
GpenDetector = io.Custom("GPEN_FACE_DETECTOR")
GpenFaces = io.Custom("GPEN_FACES")


def schema(node_id: str, display_name: str, description: str, **more: Any) -> Any:
    """A node's schema, without what this version of the host does not know."""
    return supported(
        io.Schema, node_id=node_id, display_name=display_name, category=CATEGORY, description=description, **more
    )


def option(name: str) -> Any:
    """The input for one of the options."""
    kind, arguments = widget(name)
    return supported(getattr(io, kind).Input, **arguments)


def option_inputs(task: Task) -> list[Any]:
    """The inputs for all options that a node for a task has."""
    return [option(name) for name in option_names(task)]


def output(kind: Any, id: str, name: str, tooltip: str) -> Any:
    """An output."""
    return kind.Output(id, display_name=name, tooltip=tooltip)


def weight_file_input(name: str, display_name: str, tooltip: str, *, files: list[str]) -> Any:
    """A choice among weight files; its tooltip says what to do where there is none."""
    return io.Combo.Input(
        name, options=files, display_name=display_name, tooltip=tooltip if files else host.where_to_put()
    )


def weight_file_problem(name: str | None) -> bool | str:
    """Whether the chosen file is there; in place of the host's list check, whose sentence helps nobody."""
    try:
        if name is not None:
            host.network_path(name)
    except GpenError as error:
        return str(error)
    return True


def detector_input() -> Any:
    """What finds the faces, for nodes that can choose it themselves."""
    return GpenDetector.Input(
        "detector", optional=True, tooltip="What finds the faces. Not connected: chosen automatically."
    )


def faces_input() -> Any:
    """Faces that were found already."""
    return GpenFaces.Input(
        "faces",
        optional=True,
        tooltip="Faces that GPEN Detect Faces found and chose in these pictures. No others are looked "
        "for, and the inputs for finding and choosing faces do not count.",
    )


def region_input() -> Any:
    """Where faces are chosen."""
    return io.Mask.Input(
        "region", optional=True, tooltip="Only faces whose centre lies in the white of this mask are chosen."
    )


def aligned_input() -> Any:
    """For pictures that are crops already."""
    return io.Boolean.Input(
        "aligned",
        display_name=ALIGNED.label,
        default=ALIGNED.default,
        tooltip=ALIGNED.help,
    )

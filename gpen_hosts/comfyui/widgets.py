"""The options of :mod:`gpen.options` as inputs of ComfyUI nodes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from ...gpen.faces.facexlib import facexlib_problem
from ...gpen.options import OPTIONS, Options
from ...gpen.tasks import Task

_KINDS = {bool: "Boolean", int: "Int", float: "Float", str: "String"}
_NEEDED_PARTS = {
    "retinaface_resnet50": "detection.retinaface",
    "retinaface_mobile0.25": "detection.retinaface",
    "parsed": "parsing.parsenet",
}
"""Modules of facexlib that choices need; it is often broken where many node packs share packages."""

CHOOSING = ("detection_threshold", "select", "only_faces", "min_face_size")
"""Options for detecting and choosing faces, in the order of the widgets."""

CHOOSING_LATER = ("max_face_size", "skip_sharp")
"""More of them, which came after others: saved workflows store the values of widgets by position."""

PASTING = ("mask", "feather", "strength", "color_match", "grain", "occlusion")
"""Options for pasting crops, in the order of the widgets."""

_ORDER = (
    *CHOOSING,
    *("template", "mask", "feather", "damage_feather", "strength", "color_match", "upscale", "max_megapixels"),
    *("identity_guard", "identity_action", "video"),
    "grain",
    *CHOOSING_LATER,
    "occlusion",
    "texture",
)
"""New options go last."""

_OF_LOADERS = ("precision", "detector")
"""Options of the nodes that load models and detectors."""

_NOT_OF_FILMS = ("upscale", "video")
"""A film keeps its size, and its faces are steady unless an input of the node says otherwise."""

_log = logging.getLogger(__name__)


def option_names(task: Task) -> list[str]:
    """The options that the node of a task has widgets for, in the order of the widgets."""
    names = [name for name in task.options if name not in _OF_LOADERS]
    return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def film_option_names(task: Task) -> list[str]:
    """The same for the node that does the task to a film."""
    return [name for name in option_names(task) if name not in _NOT_OF_FILMS]


def widget(name: str) -> tuple[str, dict[str, Any]]:
    """The kind of input for an option ("Float", "Combo", …), and the arguments of its Input."""
    option = OPTIONS[name]
    arguments: dict[str, Any] = {
        "id": name,
        "display_name": option.label,
        "tooltip": option.help,
        "default": option.default,
        "advanced": option.advanced or None,
    }
    if option.choices:
        return "Combo", arguments | {"options": [choice for choice in option.choices if is_usable(choice)]}
    if option.kind in (int, float):
        limits = {"min": option.minimum, "max": option.maximum, "step": option.step}
        arguments |= {key: option.kind(limit) for key, limit in limits.items() if limit is not None}
    return _KINDS[option.kind], arguments


def supported(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call ``function`` with the arguments that this version of ComfyUI knows."""
    known = inspect.signature(function).parameters
    return function(**{key: value for key, value in arguments.items() if key in known})


def options_from(values: dict[str, Any]) -> Options:
    """The options among a node's values; OptionError for an invalid value."""
    return Options(**{name: value for name, value in values.items() if name in OPTIONS})


@cache
def is_usable(choice: str) -> bool:
    """Whether the part of facexlib that a choice needs can be imported; the reason is logged once if not."""
    problem = facexlib_problem(_NEEDED_PARTS[choice]) if choice in _NEEDED_PARTS else None
    if problem is not None:
        _log.warning('GPEN Face Restore leaves out the choice "%s". %s', choice, problem)
    return problem is None

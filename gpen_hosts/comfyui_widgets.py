"""The options of :mod:`gpen.options` as inputs of ComfyUI nodes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from ..gpen.faces.facexlib import facexlib_trouble
from ..gpen.options import OPTIONS, Options

_KINDS = {bool: "Boolean", int: "Int", float: "Float", str: "String"}
_NEEDED_PARTS = {
    "retinaface_resnet50": "detection.retinaface",
    "retinaface_mobile0.25": "detection.retinaface",
    "parsed": "parsing.parsenet",
}
"""Choices that need a part of facexlib, which is often missing or broken where many node packs share packages."""

_log = logging.getLogger(__name__)


def widget(name: str) -> tuple[str, dict[str, Any]]:
    """The kind of input ("Float", "Combo", …) for an option, and the arguments of its Input."""
    option = OPTIONS[name]
    arguments: dict[str, Any] = {
        "id": name,
        "display_name": option.label,
        "tooltip": option.help,
        "default": option.default,
        "advanced": option.advanced or None,
    }
    if option.choices:
        return "Combo", arguments | {"options": [choice for choice in option.choices if _usable(choice)]}
    if option.kind in (int, float):
        limits = {"min": option.minimum, "max": option.maximum, "step": option.step}
        arguments |= {key: option.kind(limit) for key, limit in limits.items()}
    return _KINDS[option.kind], arguments


def supported(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call ``function`` with those of the arguments that this version of the host knows."""
    known = inspect.signature(function).parameters
    return function(**{key: value for key, value in arguments.items() if key in known})


def options_from(values: dict[str, Any]) -> Options:
    """The options among a node's values; GpenError for a value that is none of its option's."""
    return Options(**{name: value for name, value in values.items() if name in OPTIONS})


@cache
def _usable(choice: str) -> bool:
    trouble = facexlib_trouble(_NEEDED_PARTS[choice]) if choice in _NEEDED_PARTS else None
    if trouble is not None:
        _log.warning('GPEN Face Restore does without "%s". %s', choice, trouble)
    return trouble is None

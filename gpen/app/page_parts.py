"""What the parts of the page share: how events are called, and components that several parts have."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..images import KNOWN_SUFFIXES
from ..video.plan import SUFFIXES

IN_TURN: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}
"""Of events that use the network."""
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""Of events that are the page's own."""
AT_ONCE: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
"""Of events that take no time."""
LATEST: dict[str, Any] = {"trigger_mode": "always_last", **AT_ONCE}
"""Likewise, where only the last one counts."""
PICTURES = sorted(KNOWN_SUFFIXES)  # where a package is missing, reading says which
"""The suffixes of pictures."""
FILMS = sorted(SUFFIXES)
"""The suffixes of films."""
UPLOAD = 150
"""Height of an upload: labels of two lines fit in."""


def first_sentence(help: str) -> str:
    """The first sentence of an option's help."""
    return help.partition(". ")[0].rstrip(".") + "."


def many_files(label: str, elem_id: str, *, films: bool = False, **more: Any) -> Any:
    """An upload of pictures, and of zips of them; films: of films too."""
    kinds = [*PICTURES, *(FILMS if films else ()), ".zip"]
    return gr.File(label=label, file_count="multiple", file_types=kinds, elem_id=elem_id, **more)


def people(elem_id: str, **more: Any) -> Any:
    """An upload of photos of people."""
    label = "Only these people: a photo of each"
    return gr.File(label=label, file_count="multiple", file_types=PICTURES, elem_id=elem_id, **more)

"""Texts that the page shows."""

from __future__ import annotations

import functools
import html
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import gradio as gr

from ..errors import GpenError
from ..weights.catalog import Published, find_published
from ..weights.search import AUTO
from ..wording import megabytes

NOT_A_MAP = (
    "This looks like a photo, not like a segmentation map: a picture of flat colours, one for hair, one for skin "
    "and so on. To mend a photo, choose another task."
)
"""Asks about a photo that is given as a map."""

_LARGE = 1024
"""Models of this size and larger are for large portraits."""

_NOT_DONE = "Not done"

SECONDS_OF_ERRORS = 20.0
"""After which a message about an error leaves; those about anything else leave after ten."""


def show_errors(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an event handler so that the page shows its GpenErrors; what was on the page stays there."""

    @functools.wraps(handler)
    def wrapped(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except (GpenError, MemoryError) as error:
            text = error_text(error)
        raise gr.Error(text, duration=SECONDS_OF_ERRORS, title=_NOT_DONE, print_exception=False)

    @functools.wraps(handler)
    def step_by_step(*arguments: Any) -> Any:
        try:
            yield from handler(*arguments)
        except (GpenError, MemoryError) as error:
            # After a gr.Error, Gradio would not go on to what follows the event, and Stop would stay.
            gr.Warning(error_text(error), duration=SECONDS_OF_ERRORS, title=_NOT_DONE)

    return step_by_step if inspect.isgeneratorfunction(handler) else wrapped


def error_text(error: GpenError | MemoryError) -> str:
    """The message of an error as HTML; file names in it may look like tags."""
    if isinstance(error, MemoryError):
        return "There is not enough memory for this. Close other programs, or use a smaller photo or model."
    return html.escape(str(error)).replace("\n", "<br>")


def model_label(file_name: str) -> str:
    """What a model file is called in the list, such as "Standard 512" for GPEN-BFR-512.pth."""
    if file_name == AUTO:
        return "By the size of each face"
    found = re.fullmatch(r"GPEN-BFR-(\d+)", PurePath(file_name).stem)
    if found is None:
        return file_name
    return f"{'Large portraits' if int(found[1]) >= _LARGE else 'Standard'} {found[1]}"


def licence_text(name: str | None) -> str:
    """The licence of a published model, as Markdown; empty without a name."""
    return f"**Licence.** {find_published(name).licence}" if name is not None else ""


def needed_text(missing: Sequence[Published]) -> str:
    """What has to be there before anything can be done, its size and its terms, as Markdown."""
    what = {"network": "restores the faces", "detector": "finds the faces"}
    lines = [f"- **{each.name}** {what.get(each.kind, each.kind)}: {size_text(each)}" for each in missing]
    terms = [f"- {each.name}: {each.licence}" for each in missing]
    return "\n".join(["### One thing first", "", *lines, "", "**Terms**", "", *terms])


def size_text(published: Published) -> str:
    """How large a download is."""
    return "several hundred MB" if published.about is None else megabytes(published.about)

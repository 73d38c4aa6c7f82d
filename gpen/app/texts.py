"""Texts that the page shows."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ..errors import GpenError
from ..weights.catalog import Published, find_published


def show_errors(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an event handler so that the page shows its GpenErrors; what was on the page stays there."""

    @functools.wraps(handler)
    def wrapped(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except GpenError as error:
            text = error_text(error)
        except MemoryError:
            text = "There is not enough memory for this. Close other programs, or use a smaller photo or model."
        raise gr.Error(text, duration=None, title="Not done", print_exception=False)

    return wrapped


def error_text(error: GpenError) -> str:
    """The message of an error as HTML; file names in it may look like tags."""
    return html.escape(str(error)).replace("\n", "<br>")


def licence_text(name: str | None) -> str:
    """The licence of a published model, as Markdown; empty without a name."""
    return f"**Licence.** {find_published(name).licence}" if name is not None else ""


def missing_text(missing: Sequence[Published]) -> str:
    """What has to be downloaded before anything can be done, as Markdown."""
    if not missing:
        return "Published models that are not on this computer yet:"
    what = " and ".join(f"**{published.name}** ({published.kind})" for published in missing)
    files = "it" if len(missing) == 1 else "them"
    return f"To get started, download {what} here, or put {files} into one of the folders that `gpen models` lists."

"""The sentences that the page shows."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import GpenError
from ..images import READABLE_SUFFIXES
from ..weights.catalog import Published, find_published


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose GpenErrors the page shows; what it showed before stays."""

    @functools.wraps(function)
    def shown(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except GpenError as error:
            text = error_text(error)
        except MemoryError:
            text = "There is not enough memory for this. Close other programs, or take a smaller photo or model."
        raise gr.Error(text, duration=None, title="Not done", print_exception=False)

    return shown


def error_text(error: GpenError) -> str:
    """What an error says, as the page shows it: names of files may look like HTML."""
    return html.escape(str(error)).replace("\n", "<br>")


def licence(name: str | None) -> tuple[str, bool]:
    """The licence of a published file, which is not accepted yet."""
    return (f"**Licence.** {find_published(name).licence}" if name is not None else ""), False


def needed(missing: Sequence[Published]) -> str:
    """What has to be got before anything can be done."""
    if not missing:
        return "Published models that are not on this computer yet:"
    what = " and ".join(f"**{published.name}** ({published.kind})" for published in missing)
    return f"To begin, download {what}, here or by hand into one of the folders that `gpen models` lists."


def joined(files: list[str] | None, more: list[str] | None) -> list[str]:
    """Files, and the pictures among more of them."""
    pictures = [file for file in more or () if Path(file).suffix.lower() in READABLE_SUFFIXES]
    return [*(files or ()), *pictures]

"""The part of SD-WebUI's Settings and Extras in which published models are downloaded."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from modules import shared

from gpen.errors import GpenError
from gpen.weights.catalog import PUBLISHED, Published, find_published
from gpen.weights.downloads import Downloads, accept_label, downloads_problem, progress_text
from gpen.weights.search import download_folder, find_file, search_folders
from gpen.wording import megabytes

from .host import folders, missing

_POLL_SECONDS = 0.5


def _folders_of(published: Published) -> list[Path]:
    return search_folders(folders(), kind=published.kind)


downloads = Downloads(lambda published: download_folder(folders()), _folders_of)
"""The downloads of this WebUI."""


def download_area(name: str, lists: Sequence[Any] = (), list_again: Callable[..., Any] | None = None) -> Any:
    """Build the controls; returns the text above them.

    name: of the place, for ids of elements. lists: components that are updated after a download, by what ``list_again``
    returns: one update for each.
    """
    ids = f"gpen_downloads_{name}"
    # Values that are functions are computed whenever the page is loaded.
    needed = gr.HTML(value=needed_text, elem_id=f"{ids}_needed")
    which = gr.Dropdown(
        choices=[published.name for published in PUBLISHED],
        value=_missing_names,
        multiselect=True,
        label="Models to download",
        elem_id=f"{ids}_which",
    )
    # The host would keep what is missing at its first start as the user's choice.
    which.do_not_save_to_config = True
    licences = gr.HTML(value=lambda: licences_text(_missing_names()), elem_id=f"{ids}_licences")
    with gr.Row():
        accept = gr.Button(value=lambda: button_text(_missing_names()), variant="primary", elem_id=f"{ids}_accept")
        stop = gr.Button(value="Stop", elem_id=f"{ids}_stop")
    progress = gr.HTML(value="", elem_id=f"{ids}_progress")

    def choose(names: list[str]) -> Any:
        return licences_text(names), gr.update(value=button_text(names))

    def download(names: list[str]) -> Iterator[Any]:
        unchanged = [gr.update() for _ in (needed, *lists)]
        for text in run(names):
            yield (text, *unchanged)
        updates = list_again() if list_again is not None else []
        yield (text, needed_text(), *updates)

    which.change(fn=choose, inputs=[which], outputs=[licences, accept], show_progress=False)
    accept.click(fn=_shown_at_once(download), inputs=[which], outputs=[progress, needed, *lists], show_progress=False)
    stop.click(fn=downloads.stop, inputs=[], outputs=[], show_progress=False)
    return needed


def run(names: list[str] | None) -> Iterator[str]:
    """Download models whose licences were accepted, and yield how far they are as HTML, last of all how it ended."""
    try:
        started = downloads.start(names or [], accepted=True)
    except GpenError as error:
        yield _html(str(error))
        return
    wanted = {published.name for published in started}
    while True:
        states = [download for download in downloads.states() if download.published.name in wanted]
        yield _html(progress_text(states))
        if not any(download.is_active for download in states):
            return
        time.sleep(_POLL_SECONDS)


def needed_text() -> str:
    """What is missing, or that nothing is, as HTML."""
    problem = downloads_problem()
    if problem:
        return _html(problem)
    lacking = missing()
    if not lacking:
        return "Everything that restoring needs is on this computer. Further models can be downloaded here."
    what = " and ".join(f"<b>{published.name}</b> ({published.kind})" for published in lacking)
    return f"To restore faces, {what} {'is' if len(lacking) == 1 else 'are'} missing."


def licences_text(names: list[str] | None) -> str:
    """The sizes and licences of models, as HTML."""
    lines = []
    for published in map(find_published, names or []):
        size = f", {megabytes(published.about)}" if published.about else ""
        here = " It is on this computer." if find_file(published, _folders_of(published)) is not None else ""
        lines.append(f"<b>{published.name}</b>{size}. {html.escape(published.licence)}{here}")
    return "<br>".join(lines)


def button_text(names: list[str] | None) -> str:
    """What the button says for these models."""
    return accept_label([find_published(name) for name in names]) if names else "Accept and download"


def _missing_names() -> list[str]:
    return [published.name for published in missing()]


def _shown_at_once(generator: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    """The generator, or a function that returns what it yields last: Gradio takes generators only with its queue."""
    if not getattr(shared.cmd_opts, "no_gradio_queue", False):
        return generator

    def last(*arguments: Any) -> Any:
        *_, result = generator(*arguments)
        return result

    return last


def _html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")

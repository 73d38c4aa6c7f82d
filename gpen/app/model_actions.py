"""Event handlers about models: which there are, and getting those that are missing."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from ..atomic import atomic_path, make_folder
from ..errors import FilesError, GpenError, named
from ..options import PRESETS, preset_values
from ..tasks import Task, find_task
from ..weights.catalog import NETWORK_SUFFIXES, PUBLISHED, Published, find_published
from ..weights.checkpoint import inspect
from ..weights.download import fetch
from ..weights.downloads import require_downloads
from ..weights.search import download_folder, search_folders
from .browser_storage import kept_settings
from .engine import Engine
from .texts import model_label, needed_text


class ModelActions:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_models(
        self, task: str, chosen: str | None, background: str | None, compared: list[str] | None, kept: str | None = None
    ) -> Any:
        """Update the lists of models, the card about those that the task still needs, and "Get models".

        chosen, background, compared: what is chosen in the lists, which stays as far as it is there.
        kept: where the page is loaded again, what the browser kept; its task and models count, whatever comes first.
        """
        settings = kept_settings(kept)
        if settings is not None:
            task, chosen, background = settings["task"], settings["model"], settings["background"]
        row, locator = find_task(task), self._engine.locator
        available, missing = locator.networks(row), locator.missing(row)
        absent = [published for published in PUBLISHED if locator.path_of(published) is None]
        names = [published.name for published in absent if published.task in (None, row.name)]
        upscalers = locator.upscalers()
        models = [(model_label(name), name) for name in available]
        return (
            gr.update(choices=models, value=chosen if chosen in available else next(iter(available), None)),
            gr.update(
                choices=[("The photo itself", ""), *upscalers],
                value=background if background in upscalers else "",
                visible=bool(upscalers) and row.accepts_background,
            ),
            gr.update(choices=models, value=[name for name in compared or () if name in available]),
            gr.update(visible=len(models) > 1),
            gr.update(visible=bool(missing)),
            needed_text(missing),
            False,
            gr.update(visible=bool(names)),
            gr.update(choices=names, value=next(iter(names), None)),
            False,
        )

    def download_model(
        self,
        task: str,
        chosen: str | None,
        background: str | None,
        compared: list[str] | None,
        name: str | None,
        accepted: bool,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Any:
        """Download a published model, once its licence is accepted."""
        require_downloads()
        if name is None:
            raise GpenError("No model is selected. Choose one to download first.")
        published = find_published(name)
        if not accepted:
            raise GpenError(f"Nothing was downloaded. Accept the terms of {published.name} first.")
        self._fetch(published, progress)
        gr.Info(f"{published.name} was downloaded.")
        return self.list_models(task, chosen, background, compared)

    def download_needed(
        self,
        task: str,
        chosen: str | None,
        background: str | None,
        compared: list[str] | None,
        accepted: bool,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Any:
        """Download everything that the task still needs, once the terms are accepted."""
        require_downloads()
        if not accepted:
            raise GpenError("Nothing was downloaded. Accept the terms first.")
        missing = self._engine.locator.missing(find_task(task))
        for published in missing:
            self._fetch(published, progress)
        gr.Info("Ready: drop a photo.")
        return self.list_models(task, chosen, background, compared)

    def add_model(
        self, task: str, chosen: str | None, background: str | None, compared: list[str] | None, file: str
    ) -> Any:
        """Keep a model file that the user has, if it is one that the page can use."""
        path = Path(file)
        published = _published_as(path.name)
        with named(path):
            if published is None and path.suffix.lower() not in NETWORK_SUFFIXES:
                raise FilesError(f"{path} is not a model file that is known here: {', '.join(NETWORK_SUFFIXES)}.")
            kind = "network" if published is None else published.kind
            if kind == "network":
                inspect(path, task)
            target = download_folder(search_folders(self._engine.locator.folders, kind=kind)) / path.name
            _keep(path, target)
        path.unlink()
        gr.Info(f"{target.name} was added.")
        return self.list_models(task, chosen, background, compared)

    def preset(self, name: str) -> Any:
        """The model and the option values of a preset."""
        preset = PRESETS[name]
        published = find_published(preset.model)
        path = self._engine.locator.path_of(published)
        if path is None:
            raise GpenError(
                f'{preset.label} needs {published.name}, which is not on this computer. Download it under "Get models".'
            )
        return [path.name, *preset_values(name, {}).values()]

    def choices(self, task: Task) -> list[tuple[str, str]]:
        """The models for a task, as label and value."""
        return [(model_label(name), name) for name in self._engine.locator.networks(task)]

    def _fetch(self, published: Published, progress: Callable[..., Any]) -> None:
        def show(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            progress(done / total if total else None, desc=f"{published.saved_as}, {done / 1e6:.1f}{of} MB")

        folder = download_folder(search_folders(self._engine.locator.folders, kind=published.kind))
        fetch(published, folder, on_progress=show)


def _published_as(file_name: str) -> Published | None:
    return next((each for each in PUBLISHED if file_name in each.all_file_names), None)


def _keep(upload: Path, target: Path) -> None:
    """Copy an upload to a file; FilesError where another one is there, or it cannot be written."""
    try:
        if target.exists() and not filecmp.cmp(upload, target, shallow=False):
            raise FilesError(
                f"Another file of the name {target.name} is in {target.parent}. Rename one of them, and add it again."
            )
        make_folder(target.parent)
        with atomic_path(target) as temporary:
            shutil.copyfile(upload, temporary)
    except OSError as error:
        raise FilesError(
            f"{target} cannot be written: {error.strerror or error}. Check the folder and the disk."
        ) from error

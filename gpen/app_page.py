"""The page: its controls, and what happens when they are used. Imported only where Gradio is there."""

from __future__ import annotations

import functools
import html
import inspect
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from .app_batch import Batch, run_batch
from .app_work import (
    Engine,
    Opened,
    Shelf,
    before_and_after,
    blend,
    find,
    open_photograph,
    work,
    write_result,
)
from .errors import GpenError
from .files.catalog import PUBLISHED, Published, find_published
from .files.fetch import fetch
from .files.folders import download_folder, find_file, search_folders
from .images import READABLE_SUFFIXES
from .options import OPTIONS, OPTIONS_OF, PRESETS, Option, Options, preset_values
from .pipeline import RestoredFace
from .wording import count

TASKS = {
    "restore": "Restore",
    "colorize": "Colorize",
    "inpaint": "Fill in damage",
    "segmentation": "Face from a map",
}
ENDPOINTS = {"restore": "restore", "colorize": "colorize", "inpaint": "inpaint", "segmentation": "synthesize"}
SHOWN = ("strength", "upscale", "mask", "select")
"""The options that are not folded away."""

NOT_SHOWN = ("only_faces", "max_megapixels")
"""Clicks take the place of the first; the second is a limit of whoever runs the page."""

CHOOSING = ("detector", "detection_threshold", "select", "min_face_size")
"""Options that decide which faces are chosen at first."""

UNPACKED = 4
"""How many times more bytes than one file may be uploaded with all photographs of a batch may have."""

ABOUT = (
    "# GPEN Face Restore\nDrop a photograph, click faces on or off, restore. Everything stays on this computer: "
    "photographs are not sent anywhere, and are forgotten after a while."
)
CSS = """
.gradio-container { max-width: 1700px !important; }
#gpen-faces img { cursor: pointer; }
#gpen-said, #gpen-batch-said { min-height: 1.6em; }
"""
_IN_TURN: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_PICTURES = sorted(READABLE_SUFFIXES)
_HOUR = 3600
_KEPT_BATCHES = 4


@dataclass(frozen=True)
class Limits:
    """What is refused: files with more bytes, pictures with more megapixels."""

    upload_bytes: int
    megapixels: float


class Page:
    """The page for an engine. folder: for files that are made, removed by whoever made it."""

    def __init__(self, engine: Engine, limits: Limits, folder: Path) -> None:
        self.engine = engine
        self.limits = limits
        self.shelf = Shelf()
        self._folder = folder
        self._batches: deque[Path] = deque()
        self._stops: dict[str, threading.Event] = {}
        self._controls: dict[str, Any] = {}

    def build(self) -> Any:
        """The page as Gradio's Blocks, with its queue."""
        with gr.Blocks(title="GPEN Face Restore", analytics_enabled=False, delete_cache=(600, 6 * _HOUR)) as page:
            gr.Markdown(ABOUT)
            self._key = gr.State(None, time_to_live=_HOUR, delete_callback=self.shelf.drop)
            with gr.Row():
                with gr.Column(scale=1, min_width=320):
                    self._build_options()
                with gr.Column(scale=3, min_width=480), gr.Tabs():
                    with gr.Tab("One photograph"):
                        self._build_photograph()
                    with gr.Tab("Many photographs"):
                        self._build_batch()
            self._connect_options(page)
            self._connect_photograph()
            self._connect_batch()
            for task in TASKS:
                self._add_endpoint(task)
            gr.api(self._networks, api_name="networks", api_description="Names of the weight files for a task.")
            page.unload(self._left)
        page.queue(max_size=64, default_concurrency_limit=8)
        return page

    # What is seen.

    def _build_options(self) -> None:
        self._task = gr.Radio([(label, name) for name, label in TASKS.items()], value="restore", label="Task")
        with gr.Row(equal_height=True):
            self._weights = gr.Dropdown([], label="Weights", elem_id="gpen-weights", scale=5, min_width=200)
            self._refresh = gr.Button("\U0001f504", elem_id="gpen-refresh", scale=0, min_width=48)
        with gr.Accordion("Get weights", open=False, elem_id="gpen-get") as self._get:
            self._needed = gr.Markdown(elem_id="gpen-needed")
            self._which = gr.Dropdown([], label="Published file", elem_id="gpen-which")
            self._licence = gr.Markdown(elem_id="gpen-licence")
            self._accepted = gr.Checkbox(False, label="I accept these terms", elem_id="gpen-accept")
            self._download = gr.Button("Download", elem_id="gpen-get-button")
        self._presets = {
            name: gr.Button(preset.label, size="sm", elem_id=f"gpen-preset-{name}") for name, preset in PRESETS.items()
        }
        for name in SHOWN:
            self._controls[name] = _control(OPTIONS[name])
        self._aligned = gr.Checkbox(
            False,
            label="Aligned portrait",
            info="The picture is one face, cut out as the network takes it, a square; faces are not looked for.",
            visible=False,
            elem_id="gpen-aligned",
        )
        with gr.Accordion("More options", open=False, elem_id="gpen-more"):
            for name, option in OPTIONS.items():
                if name not in (*SHOWN, *NOT_SHOWN):
                    self._controls[name] = _control(option, visible=name in OPTIONS_OF["restore"])

    def _build_photograph(self) -> None:
        with gr.Row():
            self._photo = gr.File(label="Photograph", file_types=_PICTURES, height=120, elem_id="gpen-photo")
            self._damage = gr.File(
                label="Mask: white where the photograph is damaged",
                file_types=_PICTURES,
                height=120,
                visible=False,
                elem_id="gpen-damage",
            )
        with gr.Row():
            with gr.Column(min_width=320):
                self._faces = gr.Image(
                    label="Faces: click a box to leave it out, or to take it in",
                    interactive=False,
                    buttons=["fullscreen"],
                    format="jpeg",
                    height=460,
                    elem_id="gpen-faces",
                )
                self._chosen = gr.CheckboxGroup(
                    [], label="Chosen faces", show_select_all=True, visible=False, elem_id="gpen-chosen"
                )
            with gr.Column(min_width=320):
                self._slider = gr.ImageSlider(
                    label="Before and after: drag the line",
                    interactive=False,
                    buttons=["fullscreen"],
                    height=460,
                    max_height=460,
                    elem_id="gpen-slider",
                )
                self._said = gr.Markdown(elem_id="gpen-said")
        with gr.Row():
            self._run = gr.Button(TASKS["restore"], variant="primary", elem_id="gpen-run")
            self._stop = gr.Button("Stop", variant="stop", elem_id="gpen-stop")
            self._save = gr.DownloadButton("Download", interactive=False, elem_id="gpen-save")

    def _build_batch(self) -> None:
        self._files = gr.File(
            label="Photographs, or zips of them, which keep their folders",
            file_count="multiple",
            file_types=[*_PICTURES, ".zip"],
            height=200,
            elem_id="gpen-files",
        )
        self._folder_button = gr.UploadButton(
            "Add all photographs of a folder", file_count="directory", size="sm", elem_id="gpen-folder"
        )
        self._masks = gr.File(
            label="Masks: white where photographs are damaged, each called as its photograph, or a zip of them",
            file_count="multiple",
            file_types=[*_PICTURES, ".zip"],
            height=160,
            visible=False,
            elem_id="gpen-masks",
        )
        with gr.Row():
            self._run_all = gr.Button("Do all", variant="primary", elem_id="gpen-run-all")
            self._stop_all = gr.Button("Stop", variant="stop", elem_id="gpen-stop-all")
        self._zip = gr.File(label="Results", interactive=False, height=120, elem_id="gpen-zip")
        self._batch_said = gr.Markdown(elem_id="gpen-batch-said")

    # What happens.

    def _connect_options(self, page: Any) -> None:
        weights = [self._weights, self._get, self._needed, self._which, self._accepted]
        listed = {"fn": said(self._list), "inputs": [self._task], "outputs": weights, "show_progress": "hidden"}
        gr.on([page.load, self._refresh.click, self._task.change], **listed, **_PRIVATE)
        self._task.change(
            self._show_task,
            self._task,
            [*self._controls.values(), self._aligned, self._damage, self._masks, self._run, *self._presets.values()],
            show_progress="hidden",
            **_PRIVATE,
        )
        self._which.change(_licence, self._which, self._licence, show_progress="hidden", **_PRIVATE)
        self._download.click(
            said(self._fetch),
            [self._task, self._which, self._accepted],
            weights,
            show_progress_on=self._needed,
            concurrency_id="download",
            **_PRIVATE,
        )
        for name, button in self._presets.items():
            changed = [self._weights, *(self._controls[option] for option in PRESETS[name].values)]
            button.click(said(functools.partial(self._preset, name)), None, changed, show_progress="hidden", **_PRIVATE)

    def _connect_photograph(self) -> None:
        options = [self._task, *self._controls.values()]
        seen = [self._faces, self._chosen, self._said]
        opened = [self._key, *seen, self._slider, self._save]
        self._photo.upload(
            said(self._open),
            [self._photo, self._key, self._aligned, *options],
            opened,
            show_progress_on=self._faces,
            **_IN_TURN,
            **_PRIVATE,
        )
        self._photo.clear(self._close, self._key, opened, show_progress="hidden", **_PRIVATE)
        gr.on(
            [*(self._controls[name].change for name in CHOOSING), self._task.change, self._aligned.change],
            said(self._find),
            [self._key, self._aligned, *options],
            seen,
            show_progress_on=self._faces,
            trigger_mode="always_last",
            **_IN_TURN,
            **_PRIVATE,
        )
        self._faces.select(
            said(self._click),
            [self._key, self._chosen],
            [self._faces, self._chosen],
            show_progress="hidden",
            **_PRIVATE,
        )
        self._chosen.input(
            said(self._draw),
            [self._key, self._chosen],
            self._faces,
            show_progress="hidden",
            trigger_mode="always_last",
            **_PRIVATE,
        )
        made = [self._slider, self._save, self._said]
        self._run.click(self._begin, queue=False, **_PRIVATE).then(
            said(self._work),
            [self._key, self._weights, self._chosen, self._damage, self._aligned, *options],
            made,
            show_progress_on=self._slider,
            **_IN_TURN,
            **_PRIVATE,
        )
        self._stop.click(self._stop_run, queue=False, **_PRIVATE)
        self._controls["strength"].change(
            said(self._blend),
            [self._key, self._controls["strength"]],
            made,
            show_progress="hidden",
            trigger_mode="always_last",
            **_IN_TURN,
            **_PRIVATE,
        )

    def _connect_batch(self) -> None:
        self._folder_button.upload(
            _joined, [self._files, self._folder_button], self._files, show_progress="hidden", **_PRIVATE
        )
        self._run_all.click(self._begin, queue=False, **_PRIVATE).then(
            said(self._work_all),
            [self._files, self._weights, self._masks, self._aligned, self._task, *self._controls.values()],
            [self._zip, self._batch_said],
            show_progress_on=self._zip,
            **_IN_TURN,
            **_PRIVATE,
        )
        self._stop_all.click(self._stop_run, queue=False, **_PRIVATE)

    # Weights.

    def _networks(self, task: str = "restore") -> list[str]:
        if task not in TASKS:
            raise gr.Error(f"The task is {task!r}; there are {', '.join(TASKS)}.", print_exception=False)
        return self.engine.places.networks(task)

    def _list(self, task: str) -> Any:
        """The weights to choose from, and what has to be got."""
        places = self.engine.places
        there, missing = places.networks(task), places.missing(task)
        absent = [published for published in PUBLISHED if self._place_of(published) is None]
        names = [published.name for published in absent if published.task in (None, task)]
        wanted = missing[0].name if missing else (names[0] if names else None)
        return (
            gr.update(choices=there, value=there[0] if there else None),
            gr.update(open=bool(missing), visible=bool(names)),
            _needed(missing),
            gr.update(choices=names, value=wanted),
            False,
        )

    def _place_of(self, published: Published) -> Path | None:
        return find_file(published, search_folders(self.engine.places.folders, kind=published.kind))

    def _fetch(self, task: str, name: str | None, accepted: bool, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        if name is None:
            raise GpenError("Choose first what to download.")
        published = find_published(name)
        if not accepted:
            raise GpenError(f"Nothing was downloaded: the terms of {published.name} have to be accepted first.")

        def show(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            progress(done / total if total else None, desc=f"{published.saved_as}, {done / 1e6:.1f}{of} MB")

        fetch(
            published,
            download_folder(search_folders(self.engine.places.folders, kind=published.kind)),
            on_progress=show,
        )
        gr.Info(f"{published.name} is there now.")
        return self._list(task)

    def _preset(self, name: str) -> Any:
        preset = PRESETS[name]
        published = find_published(preset.model)
        there = self._place_of(published)
        if there is None:
            raise GpenError(
                f'{preset.label} needs {published.name}, which is not on this computer. Download it under '
                '"Get weights".'
            )
        return [there.name, *preset_values(name, {}).values()]

    def _show_task(self, task: str) -> Any:
        heeded = OPTIONS_OF[task]
        return (
            *(gr.update(visible=name in heeded) for name in self._controls),
            gr.update(visible=task in ("colorize", "inpaint")),
            gr.update(visible=task == "inpaint"),
            gr.update(visible=task == "inpaint"),
            gr.update(value=TASKS[task]),
            *(gr.update(visible=task == "restore") for _ in self._presets),
        )

    # One photograph.

    def _options(self, task: str, values: Sequence[Any]) -> Options:
        given = dict(zip(self._controls, values, strict=True))
        heeded = {name: value for name, value in given.items() if name in OPTIONS_OF[task]}
        return Options(**{**heeded, "max_megapixels": self.limits.megapixels})

    def _open(self, photo: str, key: str | None, aligned: bool, task: str, *values: Any) -> Any:
        options = self._options(task, values)
        opened = self.engine.call(open_photograph, Path(photo), self._folder, self.limits.megapixels)
        self.shelf.drop(key)
        key = self.shelf.put(opened)
        try:
            seen = self._seen(opened, aligned, task, options)
        except GpenError as error:
            # The photograph can be read: what is missing, such as a detector, may be there the next time.
            gr.Warning(_text(error))
            seen = (opened.shown, gr.update(choices=[], value=[], visible=False), "")
        return (key, *seen, None, _no_result())

    def _close(self, key: str | None) -> Any:
        self.shelf.drop(key)
        return None, None, gr.update(choices=[], value=[], visible=False), "", None, _no_result()

    def _find(self, key: str | None, aligned: bool, task: str, *values: Any) -> Any:
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self._seen(self.shelf.get(key), aligned, task, self._options(task, values))

    def _seen(self, opened: Opened, aligned: bool, task: str, options: Options) -> Any:
        """The faces of a photograph, drawn and listed, and a sentence about them."""
        if task == "segmentation" or (aligned and task != "restore"):
            return opened.shown, gr.update(choices=[], value=[], visible=False), "All of the picture is one face."
        chosen = self.engine.call(find, self.engine, opened, options)
        self.shelf.make_room()
        numbers = range(len(opened.faces))
        listed = gr.update(choices=[(str(n), n) for n in numbers], value=chosen, visible=bool(numbers))
        text = f"{count(len(numbers), 'face')} found, {len(chosen)} chosen."
        if not numbers:
            text = "No face was found. Lower the detection threshold under More options."
        return opened.drawn(chosen), listed, text

    def _click(self, key: str | None, chosen: list[int], event: gr.SelectData) -> Any:
        opened = self.shelf.get(key)
        number = opened.face_at(*event.index)
        if number is None:
            return gr.skip(), gr.skip()
        changed = sorted(set(chosen) ^ {number})
        return opened.drawn(changed), changed

    def _draw(self, key: str | None, chosen: list[int]) -> Any:
        return self.shelf.get(key).drawn(chosen)

    def _work(
        self,
        key: str | None,
        weights: str | None,
        chosen: list[int],
        damage: str | None,
        aligned: bool,
        task: str,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Any:
        opened, options, stop = self.shelf.get(key), self._options(task, values), self._stop_of(request)

        def show(done: int, total: int, face: RestoredFace | None) -> bool:
            progress((done, total), desc=f"{done} of {count(total, 'face')}", unit="faces")
            return not stop.is_set()

        progress(0, desc="loading the network")
        mask = Path(damage) if damage else None
        return self.engine.call(self._worked, opened, task, weights or "", options, chosen, mask, aligned, show)

    def _worked(self, opened: Opened, task: str, weights: str, options: Options, *how: Any) -> Any:
        chosen, mask, aligned, show = how
        restoration = work(
            self.engine, opened, task, weights, options, chosen, damage=mask, aligned=aligned, on_progress=show
        )
        self.shelf.make_room()
        return self._made(opened, restoration.summary)

    def _blend(self, key: str | None, strength: float) -> Any:
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self.engine.call(self._blended, self.shelf.get(key), OPTIONS["strength"].check(strength))

    def _blended(self, opened: Opened, strength: float) -> Any:
        restoration = blend(opened, strength)
        if restoration is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self._made(opened, restoration.summary)

    def _made(self, opened: Opened, text: str) -> Any:
        """The slider, the download and a sentence, for the last restoration."""
        result = write_result(opened)
        shown = before_and_after(opened)
        return shown, gr.update(value=result, label=f"Download {result.name}", interactive=True), text

    # Many photographs.

    def _work_all(
        self,
        files: list[str] | None,
        weights: str | None,
        masks: list[str] | None,
        aligned: bool,
        task: str,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Any:
        options, stop = self._options(task, values), self._stop_of(request)

        def show(done: float, text: str) -> bool:
            progress(done, desc=text)
            return not stop.is_set()

        batch = self._batch(files, task, weights or "", options, masks, aligned, show)
        return str(batch.path), batch.summary

    def _batch(
        self,
        files: Sequence[str] | None,
        task: str,
        weights: str,
        options: Options,
        masks: Sequence[str] | None,
        aligned: bool,
        show: Callable[[float, str], bool | None],
    ) -> Batch:
        if not files:
            raise GpenError("There are no photographs yet: drop some, or a zip of them, first.")
        if task == "inpaint" and not masks:
            raise GpenError("To inpaint, masks are needed that are white where the photographs are damaged.")
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        self._batches.append(folder)
        if len(self._batches) > _KEPT_BATCHES:
            shutil.rmtree(self._batches.popleft(), ignore_errors=True)

        def run() -> Batch:
            return run_batch(
                self.engine,
                [Path(file) for file in files],
                folder,
                task,
                weights,
                options,
                most_bytes=UNPACKED * self.limits.upload_bytes,
                damage=[Path(mask) for mask in masks or () if task == "inpaint"],
                aligned=aligned,
                on_progress=show,
            )

        return self.engine.call(run)

    # Stopping.

    def _begin(self, request: gr.Request) -> None:
        self._stop_of(request).clear()

    def _stop_run(self, request: gr.Request) -> None:
        self._stop_of(request).set()

    def _left(self, request: gr.Request) -> None:
        """Somebody closed the page: what runs for nobody would only let others wait."""
        stop = self._stops.pop(str(request.session_hash), None)
        if stop is not None:
            stop.set()

    def _stop_of(self, request: gr.Request) -> threading.Event:
        return self._stops.setdefault(str(request.session_hash), threading.Event())

    # The interface for programs.

    def _add_endpoint(self, task: str) -> None:
        """Two endpoints: the task for one photograph, and for many."""
        names = [name for name in OPTIONS_OF[task] if name != "max_megapixels"]
        options = [_control(OPTIONS[name], visible=False, elem_id=None) for name in names]
        weights = gr.Textbox("", label="Weights: the name of a file; empty for the best one", visible=False)
        damage = [gr.File(label="Mask: white where the photograph is damaged", visible=False)]
        aligned = [gr.Checkbox(False, label="The photograph is one face, as the network takes it", visible=False)]
        more = {"damage": damage} if task == "inpaint" else {}
        more |= {"aligned": aligned} if task in ("colorize", "inpaint") else {}
        photo = gr.File(label="Photograph" if task != "segmentation" else "Segmentation map", visible=False)
        photos = gr.File(label="Photographs, or zips of them", file_count="multiple", visible=False)
        masks = [gr.File(label="Masks, each called as its photograph, or a zip of them", file_count="multiple")]
        masks[0].visible = False
        extra = [part for parts in more.values() for part in parts]
        said_in_words = gr.Textbox(label="What was done", visible=False)

        def one(photo: str, *given: Any) -> Any:
            values = dict(zip([*names, "weights", *more], given, strict=True))
            return self._one(task, photo, values)

        def many(photos: list[str], *given: Any) -> Any:
            values = dict(zip([*names, "weights", *more], given, strict=True))
            options = self._given_options(task, values)
            how = values.get("damage"), bool(values.get("aligned"))
            batch = self._batch(photos, task, values["weights"], options, *how, lambda done, text: None)
            return str(batch.path), batch.summary

        endpoint = ENDPOINTS[task]
        for name, function, inputs, result, text in (
            (endpoint, one, [photo, *options, weights, *extra], "Result", "one photograph"),
            (
                f"{endpoint}_many",
                many,
                [
                    photos,
                    *options,
                    weights,
                    *([*masks] if task == "inpaint" else []),
                    *(aligned if "aligned" in more else []),
                ],
                "Results and report.json",
                "photographs, or zips of them, into a zip",
            ),
        ):
            _name_parameters(function, [("photo" if function is one else "photos"), *names, "weights", *more])
            gr.Button(visible=False).click(
                said(function),
                inputs,
                [gr.File(label=result, visible=False), said_in_words],
                api_name=name,
                api_description=f"{TASKS[task]}: {text}. " + " ".join(f"{n}: {OPTIONS[n].help}" for n in names),
                **_IN_TURN,
            )

    def _given_options(self, task: str, values: dict[str, Any]) -> Options:
        given = {name: values[name] for name in OPTIONS_OF[task] if name in values}
        return Options(**{**given, "max_megapixels": self.limits.megapixels})

    def _one(self, task: str, photo: str | None, values: dict[str, Any]) -> Any:
        if photo is None:
            raise GpenError("There is no photograph: give one.")
        options = self._given_options(task, values)
        damage = Path(values["damage"]) if values.get("damage") else None

        def run() -> Any:
            opened = open_photograph(Path(photo), self._folder, self.limits.megapixels)
            self.shelf.put(opened)
            aligned = bool(values.get("aligned"))
            restoration = work(
                self.engine, opened, task, values["weights"], options, None, damage=damage, aligned=aligned
            )
            self.shelf.make_room()
            return str(write_result(opened)), restoration.summary

        return self.engine.call(run)


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose GpenErrors the page shows; what it showed before stays."""

    @functools.wraps(function)
    def shown(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except GpenError as error:
            raise gr.Error(_text(error), duration=None, title="Not done", print_exception=False) from error

    return shown


def _text(error: GpenError) -> str:
    """What an error says, as the page shows it: names of files may look like HTML."""
    return html.escape(str(error)).replace("\n", "<br>")


def _name_parameters(function: Callable[..., Any], names: Sequence[str]) -> None:
    """Let Gradio's description of the interface call a function's parameters by these names."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    function.__annotations__ = {}


def _control(option: Option, *, visible: bool = True, elem_id: str | None = "") -> Any:
    """What sets an option."""
    shown: dict[str, Any] = {"value": option.default, "label": option.label, "info": option.help, "visible": visible}
    shown["elem_id"] = f"gpen-{option.name}" if elem_id is not None else None
    if option.choices:
        return gr.Dropdown(list(option.choices), **shown)
    if option.kind is bool:
        return gr.Checkbox(**shown)
    if option.kind is str:
        return gr.Textbox(**shown)
    return gr.Slider(option.minimum, option.maximum, step=option.step, **shown)


def _no_result() -> Any:
    return gr.update(value=None, label="Download", interactive=False)


def _licence(name: str | None) -> str:
    return f"**Licence.** {find_published(name).licence}" if name is not None else ""


def _needed(missing: Sequence[Published]) -> str:
    """What has to be got before anything can be done."""
    if not missing:
        return "Published files that are not on this computer yet:"
    what = " and ".join(f"**{published.name}** ({published.kind})" for published in missing)
    return f"To begin, get {what}, here or by hand into one of the folders that `gpen models` lists."


def _joined(files: list[str] | None, more: list[str] | None) -> list[str]:
    pictures = [file for file in more or () if Path(file).suffix.lower() in READABLE_SUFFIXES]
    return [*(files or ()), *pictures]

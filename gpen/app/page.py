"""The layout of the page, and which event calls which handler."""

from __future__ import annotations

import functools
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from ..images import KNOWN_SUFFIXES, is_readable, unreadable
from ..options import ALIGNED, OPTIONS, PRESETS
from ..tasks import RESTORE, TASKS, find_task
from .actions import CONTROLS, SHOWN, Actions
from .api import add_endpoints, control
from .texts import licence_text, show_errors
from .uploads import is_picture

CHOOSING = ("detector", "detection_threshold", "select", "min_face_size", "max_face_size", "skip_sharp")
"""Options that decide which faces are ticked at first."""

ABOUT = (
    "# GPEN Face Restore\nDrop a photo, click faces to switch them on or off, restore. "
    "Photos never leave this computer, and the page deletes its copies after a few hours."
)
CSS = """
.gradio-container { width: 100% !important; max-width: 1800px !important; margin: 0 auto !important; }
#gpen-faces img { cursor: pointer; }
#gpen-said, #gpen-batch-said { min-height: 1.6em; }
#gpen-chosen label { padding: 3px 8px; }
button .icon-wrap { visibility: hidden; }
[data-testid="status-tracker"]:has(.error) { display: none !important; }
"""
"""The labels of uploads lie over their icons, which only keep their room.

The last rule hides Gradio's "Error" overlay, which would cover the last result: errors appear as messages.
"""

_IN_TURN: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_AT_ONCE: dict[str, Any] = {"show_progress": "hidden", **_PRIVATE}
_PICTURES = sorted(KNOWN_SUFFIXES)  # where a package is missing, reading says which
_HOUR = 3600
_TALL = 480
_UPLOAD = 150
"""Labels of two lines fit in."""


def build_page(actions: Actions) -> Any:
    """The page as Gradio's Blocks, with its queue."""
    with gr.Blocks(
        title="GPEN Face Restore", analytics_enabled=False, fill_width=True, delete_cache=(600, 6 * _HOUR)
    ) as page:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                options = _Options()
            with gr.Column(scale=3, min_width=480), gr.Tabs():
                with gr.Tab("One photo"):
                    photo = _OnePhoto(actions)
                with gr.Tab("Many photos"):
                    batch = _Batch()
        options.connect(actions, page)
        photo.connect(actions, options)
        batch.connect(actions, options)
        options.task.change(
            _for_task,
            options.task,
            [
                *options.controls.values(),
                *(options.aligned, photo.damage, batch.masks, photo.protect, batch.protect),
                *(photo.person, batch.person),
                *options.presets.values(),
                photo.run,
                photo.photo,
            ],
            trigger_mode="always_last",
            **_AT_ONCE,
        )
        add_endpoints(actions, _IN_TURN)
        page.unload(actions.leave)
    page.queue(max_size=64, default_concurrency_limit=8)
    return page


class _Options:
    """The column with the task, the model and the options."""

    def __init__(self) -> None:
        self.task = gr.Radio(
            [(task.label, task.name) for task in TASKS.values()], value=RESTORE.name, label="Task", elem_id="gpen-task"
        )
        with gr.Row(equal_height=True):
            self.weights = gr.Dropdown([], label="Model", elem_id="gpen-weights", scale=5, min_width=200)
            self.refresh = gr.Button("\u21bb", elem_id="gpen-refresh", scale=0, min_width=48)
        with gr.Accordion("Get models", open=False, elem_id="gpen-get") as self.get:
            self.needed = gr.Markdown(elem_id="gpen-needed")
            self.which = gr.Dropdown([], label="Published model", elem_id="gpen-which")
            self.licence = gr.Markdown(elem_id="gpen-licence")
            self.accepted = gr.Checkbox(False, label="I accept these terms", elem_id="gpen-accept")
            self.download = gr.Button("Download", elem_id="gpen-get-button")
        self.presets = {
            name: gr.Button(f"Preset: {preset.label}", size="sm", elem_id=f"gpen-preset-{name}")
            for name, preset in PRESETS.items()
        }
        self.controls = {name: control(OPTIONS[name], elem_id=f"gpen-{name}") for name in SHOWN}
        self.aligned = gr.Checkbox(
            ALIGNED.default,
            label=ALIGNED.label,
            info=ALIGNED.help,
            visible=False,
            elem_id="gpen-aligned",
        )
        with gr.Accordion("More options", open=False, elem_id="gpen-more"):
            for name in CONTROLS[len(SHOWN) :]:
                is_supported = name in RESTORE.options
                self.controls[name] = control(OPTIONS[name], visible=is_supported, elem_id=f"gpen-{name}")
        self.values = [self.task, *self.controls.values()]

    def connect(self, actions: Actions, page: Any) -> None:
        listed = [self.weights, self.get, self.needed, self.which, self.accepted]
        gr.on(
            [page.load, self.refresh.click, self.task.change],
            show_errors(actions.list_models),
            [self.task, self.weights],
            listed,
            # The task may change while the first list is on its way.
            trigger_mode="always_last",
            **_AT_ONCE,
        )
        # Each licence has to be accepted separately.
        self.which.change(
            lambda name: (licence_text(name), False), self.which, [self.licence, self.accepted], **_AT_ONCE
        )
        self.downloaded = self.download.click(
            show_errors(actions.download_model),
            [self.task, self.weights, self.which, self.accepted],
            listed,
            show_progress_on=self.licence,
            concurrency_limit=1,
            **_PRIVATE,
        )
        for name, button in self.presets.items():
            changed = [self.weights, *(self.controls[option] for option in PRESETS[name].values)]
            button.click(show_errors(functools.partial(actions.preset, name)), None, changed, **_AT_ONCE)


class _OnePhoto:
    """The tab for one photo: its faces, and the result."""

    def __init__(self, actions: Actions) -> None:
        self.key = gr.State(None, time_to_live=_HOUR, delete_callback=actions.sessions.drop)
        with gr.Row():
            self.photo = gr.File(label="Photo", file_types=_PICTURES, height=_UPLOAD, elem_id="gpen-photo")
            self.damage = gr.File(
                label="Mask: white where the photo is damaged",
                file_types=_PICTURES,
                height=_UPLOAD,
                visible=False,
                elem_id="gpen-damage",
            )
            self.protect = gr.File(
                label="Protect: white where nothing changes",
                file_types=_PICTURES,
                height=_UPLOAD,
                elem_id="gpen-protect",
            )
            self.person = _people("gpen-person", height=_UPLOAD)
        with gr.Row():
            self.faces = gr.Image(
                label="Faces: click to choose",
                interactive=False,
                buttons=["fullscreen"],
                format="jpeg",
                height=_TALL,
                min_width=320,
                elem_id="gpen-faces",
            )
            self.slider = gr.ImageSlider(
                label="Before and after: drag the line",
                interactive=False,
                buttons=["fullscreen"],
                height=_TALL,
                max_height=_TALL,
                min_width=320,
                elem_id="gpen-slider",
            )
        with gr.Row():
            self.run = gr.Button(RESTORE.label, variant="primary", elem_id="gpen-run")
            self.stop = gr.Button("Stop", elem_id="gpen-stop")
            self.save = gr.DownloadButton("Download", interactive=False, elem_id="gpen-save")
        self.message = gr.Markdown(elem_id="gpen-said")
        self.chosen = gr.CheckboxGroup(
            [], label="Chosen faces", show_select_all=True, visible=False, elem_id="gpen-chosen"
        )

    def connect(self, actions: Actions, options: _Options) -> None:
        faces = [self.faces, self.chosen, self.message]
        opened = [self.key, *faces, self.slider, self.save]
        result = [self.slider, self.save, self.message]
        self.photo.upload(
            show_errors(actions.open),
            [self.photo, self.key, self.person, options.aligned, *options.values],
            opened,
            show_progress_on=self.faces,
            **_IN_TURN,
            **_PRIVATE,
        )
        self.photo.clear(actions.forget, self.key, opened, **_AT_ONCE)
        gr.on(
            [
                *(options.controls[name].change for name in CHOOSING),
                *(options.task.change, options.aligned.change, self.person.change),
            ],
            show_errors(actions.find_faces),
            [self.key, self.person, options.aligned, *options.values],
            faces,
            show_progress_on=self.faces,
            trigger_mode="always_last",
            **_IN_TURN,
            **_PRIVATE,
        )
        options.downloaded.success(
            show_errors(actions.look_again),
            [self.key, self.person, options.aligned, *options.values],
            faces,
            show_progress_on=self.faces,
            **_IN_TURN,
            **_PRIVATE,
        )
        self.faces.select(show_errors(actions.click), [self.key, self.chosen], [self.faces, self.chosen], **_AT_ONCE)
        self.chosen.input(
            show_errors(actions.draw), [self.key, self.chosen], self.faces, trigger_mode="always_last", **_AT_ONCE
        )
        self.run.click(actions.begin, queue=False, **_PRIVATE).then(
            show_errors(actions.restore_photo),
            [self.key, options.weights, self.chosen, self.damage, self.protect, options.aligned, *options.values],
            result,
            show_progress_on=self.slider,
            **_IN_TURN,
            **_PRIVATE,
        )
        self.stop.click(actions.stop, queue=False, **_PRIVATE)
        strength = options.controls["strength"]
        strength.change(
            show_errors(actions.change_strength),
            [self.key, strength],
            result,
            trigger_mode="always_last",
            **_IN_TURN,
            **_AT_ONCE,
        )


class _Batch:
    """The tab for many photos, whose results come in a zip."""

    def __init__(self) -> None:
        self.files = _many_files("Photos, or zips of them; folders in a zip are kept", "gpen-files", height=200)
        self.folder = gr.UploadButton(
            "Add the photos in a folder", file_count="directory", size="sm", elem_id="gpen-folder"
        )
        self.masks = _many_files(
            "Masks: white where the photo is damaged, named like the photo; or a zip of them",
            "gpen-masks",
            height=160,
            visible=False,
        )
        self.protect = _many_files(
            "Protect, if anything: masks, white where the photo stays as it is, named like the photo; or a zip",
            "gpen-protects",
            height=160,
        )
        self.person = _people("gpen-people", height=_UPLOAD)
        with gr.Row():
            self.run = gr.Button("Restore all", variant="primary", elem_id="gpen-run-all")
            self.stop = gr.Button("Stop", elem_id="gpen-stop-all")
        self.zip = gr.File(label="Results", interactive=False, height=140, elem_id="gpen-zip")
        self.message = gr.Markdown(elem_id="gpen-batch-said")

    def connect(self, actions: Actions, options: _Options) -> None:
        self.folder.upload(_with_pictures, [self.files, self.folder], self.files, **_AT_ONCE)
        self.run.click(actions.begin, queue=False, **_PRIVATE).then(
            show_errors(actions.restore_photos),
            [self.files, options.weights, self.masks, self.protect, self.person, options.aligned, *options.values],
            [self.zip, self.message],
            show_progress_on=self.zip,
            **_IN_TURN,
            **_PRIVATE,
        )
        self.stop.click(actions.stop, queue=False, **_PRIVATE)


def _many_files(label: str, elem_id: str, **more: Any) -> Any:
    """An upload of pictures, and of zips of them."""
    kinds = [*_PICTURES, ".zip"]
    return gr.File(label=label, file_count="multiple", file_types=kinds, elem_id=elem_id, **more)


def _people(elem_id: str, **more: Any) -> Any:
    """An upload of photos of people."""
    label = "Only these people: a photo of each"
    return gr.File(label=label, file_count="multiple", file_types=_PICTURES, elem_id=elem_id, **more)


def _for_task(name: str) -> list[Any]:
    """What the page shows for a task: its options, inputs, presets and labels."""
    task = find_task(name)
    damage, protect = gr.update(visible=task.needs_damage_mask), gr.update(visible=task.keeps_photo)
    people = gr.update(visible=task.looks_for_faces)
    return [
        *(gr.update(visible=option in task.options) for option in CONTROLS),
        gr.update(visible=task.accepts_aligned),
        damage,  # of one photo
        damage,  # of many
        protect,  # of one photo
        protect,  # of many
        people,  # of one photo
        people,  # of many
        *(gr.update(visible=preset.task is task) for preset in PRESETS.values()),
        gr.update(value=task.label),
        gr.update(label=task.input.capitalize()),
    ]


def _with_pictures(files: list[str] | None, folder: list[str] | None) -> list[str]:
    """The files, and the pictures among those of a folder."""
    # Only names are known here, not the folders that the files were in.
    found = [file for file in map(Path, folder or ()) if is_picture(PurePath(file.name))]
    left_out = [file for file in found if not is_readable(file.suffix)]
    if left_out:
        gr.Warning(unreadable(left_out))
    return [*(files or ()), *(str(file) for file in found if is_readable(file.suffix))]

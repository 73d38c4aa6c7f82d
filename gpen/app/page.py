"""The layout of the page, and which event calls which handler."""

from __future__ import annotations

import functools
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from ..images import KNOWN_SUFFIXES, is_readable, unreadable
from ..options import ALIGNED, OPTIONS, PRESETS
from ..tasks import RESTORE, TASKS, find_task
from ..weights.catalog import NETWORK_SUFFIXES, ONNX_SUFFIX
from .actions import CONTROLS, SHOWN, Actions
from .api import add_endpoints, control
from .model_actions import ModelActions
from .photo_actions import PhotoActions
from .texts import licence_text, show_errors
from .uploads import is_picture
from .viewer import viewer

CHOOSING = ("detector", "detection_threshold", "select", "min_face_size", "max_face_size", "skip_sharp")
"""Options that decide which faces are ticked at first."""

ABOUT = "# GPEN Face Restore\nPhotos stay on this computer; the page deletes its copies after a few hours."

_KEEP = """(view, task, model, ...controls) => {
    const { key, chosen } = view ?? {};
    sessionStorage.setItem("gpen", JSON.stringify({ key, chosen: chosen ?? [], task, model, controls }));
}"""
"""Keeps what is on the page while the tab is open, for when it is loaded again."""
_KEPT = """() => [sessionStorage.getItem("gpen") ?? ""]"""
_KEPT_ONCE = """(task, model) => {
    const kept = window.gpenIsLoaded ? "" : sessionStorage.getItem("gpen") ?? "";
    window.gpenIsLoaded = true;
    return [task, model, kept];
}"""

_IN_TURN: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_AT_ONCE: dict[str, Any] = {"show_progress": "hidden", **_PRIVATE}
_LATEST: dict[str, Any] = {"trigger_mode": "always_last", **_AT_ONCE}
_PICTURES = sorted(KNOWN_SUFFIXES)  # where a package is missing, reading says which
_MODELS = [*NETWORK_SUFFIXES, ONNX_SUFFIX]
_HOUR = 3600
_UPLOAD = 150
"""Labels of two lines fit in."""


def build_page(actions: Actions) -> Any:
    """The page as Gradio's Blocks, with its queue."""
    with gr.Blocks(
        title="GPEN Face Restore", analytics_enabled=False, fill_width=True, delete_cache=(600, 6 * _HOUR)
    ) as page:
        gr.Markdown(ABOUT, elem_id="gpen-about")
        first = _FirstRun()
        with gr.Row(elem_id="gpen-work"):
            with gr.Column(scale=0, min_width=320, elem_id="gpen-options"):
                options = _Options()
            with gr.Column(scale=1, min_width=320, elem_id="gpen-view"), gr.Tabs():
                with gr.Tab("One photo"):
                    photo = _OnePhoto(actions)
                with gr.Tab("Many photos"):
                    batch = _Batch()
        options.connect(ModelActions(actions.engine), first, page)
        photo.connect(PhotoActions(actions), actions, options)
        photo.keep(PhotoActions(actions), options, page)
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
            ],
            **_LATEST,
        )
        add_endpoints(actions, _IN_TURN)
        page.unload(actions.leave)
    page.queue(max_size=64, default_concurrency_limit=8)
    return page


class _FirstRun:
    """The card about what the task still needs."""

    def __init__(self) -> None:
        with gr.Column(visible=False, elem_id="gpen-first") as self.card:
            self.needed = gr.Markdown(elem_id="gpen-needed")
            self.accepted = gr.Checkbox(False, label="I accept these terms", elem_id="gpen-accept-needed")
            self.download = gr.Button("Download", variant="primary", elem_id="gpen-get-needed")
            self.add = gr.UploadButton(
                "I have a file: choose it, or drop it here", file_types=_MODELS, size="sm", elem_id="gpen-add"
            )


class _Options:
    """The column with the task, the model and the options."""

    def __init__(self) -> None:
        self.task = gr.Radio(
            [(task.label, task.name) for task in TASKS.values()], value=RESTORE.name, label="Task", elem_id="gpen-task"
        )
        self.controls = {name: _control(name) for name in SHOWN}
        with gr.Row(equal_height=True, elem_id="gpen-model"):
            self.weights = gr.Dropdown([], label="Model", elem_id="gpen-weights", scale=5, min_width=200)
            self.refresh = gr.Button("\u21bb", elem_id="gpen-refresh", scale=0, min_width=48)
        self.presets = {
            name: gr.Button(f"Preset: {preset.label}", size="sm", elem_id=f"gpen-preset-{name}")
            for name, preset in PRESETS.items()
        }
        self.aligned = gr.Checkbox(
            ALIGNED.default, label=ALIGNED.label, info=_first(ALIGNED.help), visible=False, elem_id="gpen-aligned"
        )
        with gr.Accordion("Advanced", open=False, elem_id="gpen-more"):
            for name in CONTROLS[len(SHOWN) :]:
                self.controls[name] = _control(name, visible=name in RESTORE.options)
        with gr.Accordion("Get models", open=False, elem_id="gpen-get") as self.get:
            self.which = gr.Dropdown([], label="Published model", elem_id="gpen-which")
            self.licence = gr.Markdown(elem_id="gpen-licence")
            self.accepted = gr.Checkbox(False, label="I accept these terms", elem_id="gpen-accept")
            self.download = gr.Button("Download", elem_id="gpen-get-button")
        self.values = [self.task, *self.controls.values()]
        self.kept = gr.Textbox(visible=False)

    def connect(self, models: ModelActions, first: _FirstRun, page: Any) -> None:
        listed = [self.weights, first.card, first.needed, first.accepted, self.get, self.which, self.accepted]
        gr.on(
            [page.load, self.refresh.click, self.task.change],
            show_errors(models.list_models),
            [self.task, self.weights, self.kept],
            listed,
            js=_KEPT_ONCE,
            # The task may change while the first list is on its way.
            **_LATEST,
        )
        # Each licence has to be accepted separately.
        self.which.change(
            lambda name: (licence_text(name), False), self.which, [self.licence, self.accepted], **_AT_ONCE
        )
        self.downloaded = [
            self.download.click(
                show_errors(models.download_model),
                [self.task, self.weights, self.which, self.accepted],
                listed,
                show_progress_on=self.licence,
                concurrency_limit=1,
                **_PRIVATE,
            ),
            first.download.click(
                show_errors(models.download_needed),
                [self.task, self.weights, first.accepted],
                listed,
                show_progress_on=first.download,
                concurrency_limit=1,
                **_PRIVATE,
            ),
            first.add.upload(show_errors(models.add_model), [self.task, self.weights, first.add], listed, **_AT_ONCE),
        ]
        for name, button in self.presets.items():
            changed = [self.weights, *(self.controls[option] for option in PRESETS[name].values)]
            button.click(show_errors(functools.partial(models.preset, name)), None, changed, **_AT_ONCE)


class _OnePhoto:
    """The tab for one photo: its faces, and the result."""

    def __init__(self, actions: Actions) -> None:
        self.key = gr.State(None, time_to_live=_HOUR, delete_callback=actions.sessions.drop_idle)
        self.kept = gr.Textbox(visible=False)
        with gr.Row(elem_id="gpen-actions"):
            self.photo = gr.UploadButton("Open a photo", file_types=_PICTURES, elem_id="gpen-photo", min_width=120)
            self.run = gr.Button(RESTORE.label, variant="primary", elem_id="gpen-run", min_width=120)
            self.stop = gr.Button("Stop", variant="stop", elem_id="gpen-stop", visible=False, min_width=120)
            self.save = gr.DownloadButton("Download", interactive=False, elem_id="gpen-save", min_width=120)
        self.message = gr.Markdown(elem_id="gpen-said", container=False)
        self.viewer = viewer("gpen-viewer")
        self.damage = gr.File(
            label="Mask: white where the photo is damaged",
            file_types=_PICTURES,
            height=_UPLOAD,
            visible=False,
            elem_id="gpen-damage",
        )
        with gr.Accordion("Masks and people", open=False), gr.Row():
            self.protect = gr.File(
                label="Protect: white where nothing changes",
                file_types=_PICTURES,
                height=_UPLOAD,
                elem_id="gpen-protect",
            )
            self.person = _people("gpen-person", height=_UPLOAD)

    def connect(self, photos: PhotoActions, actions: Actions, options: _Options) -> None:
        faces = [self.viewer, self.message, self.save]
        choosing = [self.key, self.person, options.aligned, *options.values]
        in_turn: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": self.message, **_IN_TURN, **_PRIVATE}
        self.photo.upload(
            show_errors(photos.open),
            [self.photo, self.key, self.person, options.aligned, *options.values],
            [self.key, *faces],
            **in_turn,
        )
        gr.on(
            [
                *(options.controls[name].input for name in CHOOSING),
                *(options.task.input, options.aligned.input, self.person.change),
            ],
            show_errors(photos.find_faces),
            choosing,
            faces,
            trigger_mode="always_last",
            **in_turn,
        )
        for downloaded in options.downloaded:
            downloaded.success(show_errors(photos.look_again), choosing, faces, **in_turn)
        self.viewer.select(show_errors(photos.choose), [self.key, self.viewer], [self.message, self.save], **_LATEST)
        others = [control for name, control in options.controls.items() if name not in ("strength", *CHOOSING)]
        gr.on(
            [*(control.input for control in others), options.weights.input],
            show_errors(photos.change_options),
            self.key,
            self.message,
            **_LATEST,
        )
        self.run.click(actions.begin, None, [self.run, self.stop], queue=False, **_AT_ONCE).then(
            show_errors(photos.restore_photo),
            [self.key, options.weights, self.viewer, self.damage, self.protect, options.aligned, *options.values],
            faces,
            **in_turn,
        ).then(actions.ended, None, [self.run, self.stop], queue=False, **_AT_ONCE)
        self.stop.click(actions.stop, None, self.stop, queue=False, **_AT_ONCE)
        strength = options.controls["strength"]
        strength.change(
            show_errors(photos.change_strength),
            [self.key, self.viewer, strength],
            faces,
            trigger_mode="always_last",
            **{**in_turn, "show_progress": "hidden"},
        )

    def keep(self, photos: PhotoActions, options: _Options, page: Any) -> None:
        """Bring back what was on the page when it is loaded again."""
        settings = [options.task, options.weights, *options.controls.values()]
        page.load(
            show_errors(photos.come_back),
            self.kept,
            [self.key, self.viewer, self.message, self.save, *settings],
            js=_KEPT,
            **_AT_ONCE,
        )
        gr.on(
            [self.viewer.change, self.viewer.select, *(setting.change for setting in settings)],
            None,
            [self.viewer, *settings],
            None,
            js=_KEEP,
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
        with gr.Row():
            self.run = gr.Button("Restore all", variant="primary", elem_id="gpen-run-all")
            self.stop = gr.Button("Stop", variant="stop", elem_id="gpen-stop-all", visible=False)
        self.message = gr.Markdown(elem_id="gpen-batch-said")
        self.zip = gr.File(label="Results", interactive=False, height=140, elem_id="gpen-zip")
        with gr.Accordion("Masks and people", open=False), gr.Row():
            self.protect = _many_files(
                "Protect, if anything: masks, white where the photo stays as it is, named like the photo; or a zip",
                "gpen-protects",
                height=160,
            )
            self.person = _people("gpen-people", height=_UPLOAD)

    def connect(self, actions: Actions, options: _Options) -> None:
        self.folder.upload(_with_pictures, [self.files, self.folder], self.files, **_AT_ONCE)
        self.run.click(actions.begin, None, [self.run, self.stop], queue=False, **_AT_ONCE).then(
            show_errors(actions.restore_photos),
            [self.files, options.weights, self.masks, self.protect, self.person, options.aligned, *options.values],
            [self.zip, self.message],
            show_progress_on=self.zip,
            **_IN_TURN,
            **_PRIVATE,
        ).then(actions.ended, None, [self.run, self.stop], queue=False, **_AT_ONCE)
        self.stop.click(actions.stop, None, self.stop, queue=False, **_AT_ONCE)


def _control(name: str, *, visible: bool = True) -> Any:
    """The component of an option, with the first sentence of its help."""
    component = control(OPTIONS[name], visible=visible, elem_id=f"gpen-{name}")
    component.info = _first(OPTIONS[name].help)
    if name == "upscale":
        component.label = "Size"
    return component


def _first(help: str) -> str:
    return help.partition(". ")[0].rstrip(".") + "."


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
    ]


def _with_pictures(files: list[str] | None, folder: list[str] | None) -> list[str]:
    """The files, and the pictures among those of a folder."""
    # Only names are known here, not the folders that the files were in.
    found = [file for file in map(Path, folder or ()) if is_picture(PurePath(file.name))]
    left_out = [file for file in found if not is_readable(file.suffix)]
    if left_out:
        gr.Warning(unreadable(left_out))
    return [*(files or ()), *(str(file) for file in found if is_readable(file.suffix))]

"""The column with the task, the model and the options, and the card about what the task still needs."""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr

from ..options import ALIGNED, OPTIONS, PRESETS
from ..tasks import RESTORE, TASKS
from ..weights.catalog import NETWORK_SUFFIXES, ONNX_SUFFIX
from .actions import CONTROLS, SHOWN
from .api import control
from .model_actions import ModelActions
from .page_parts import AT_ONCE, LATEST, PRIVATE, first_sentence
from .texts import licence_text, show_errors

_KEPT_ONCE = """(task, model, background, compared) => {
    const kept = window.gpenIsLoaded ? "" : sessionStorage.getItem("gpen") ?? "";
    window.gpenIsLoaded = true;
    return [task, model, background, compared, kept];
}"""

_MODELS = [*NETWORK_SUFFIXES, ONNX_SUFFIX]


class FirstRun:
    """The card about what the task still needs."""

    def __init__(self) -> None:
        with gr.Column(visible=False, elem_id="gpen-first") as self.card:
            self.needed = gr.Markdown(elem_id="gpen-needed")
            self.accepted = gr.Checkbox(False, label="I accept these terms", elem_id="gpen-accept-needed")
            self.download = gr.Button("Download", variant="primary", elem_id="gpen-get-needed")
            self.add = gr.UploadButton(
                "I have a file: choose it, or drop it here", file_types=_MODELS, size="sm", elem_id="gpen-add"
            )


class OptionsColumn:
    """The column with the task, the model and the options."""

    def __init__(self) -> None:
        self.task = gr.Radio(
            [(task.label, task.name) for task in TASKS.values()], value=RESTORE.name, label="Task", elem_id="gpen-task"
        )
        self.controls = {name: _control(name) for name in SHOWN}
        with gr.Row(equal_height=True, elem_id="gpen-model"):
            self.weights = gr.Dropdown([], label="Model", elem_id="gpen-weights", scale=5, min_width=200)
            self.refresh = gr.Button("\u21bb", elem_id="gpen-refresh", scale=0, min_width=48)
        self.background = gr.Dropdown(
            [],
            label="Background",
            info="What enlarges the photo around the faces.",
            visible=False,
            elem_id="gpen-background",
        )
        with gr.Accordion("Compare models", open=False, visible=False, elem_id="gpen-compare") as self.compare:
            self.compared = gr.CheckboxGroup([], label="Two or three, side by side", elem_id="gpen-compared")
            self.start = gr.Button("Compare", size="sm", elem_id="gpen-compare-run")
        self.presets = {
            name: gr.Button(f"Preset: {preset.label}", size="sm", elem_id=f"gpen-preset-{name}")
            for name, preset in PRESETS.items()
        }
        self.aligned = gr.Checkbox(
            ALIGNED.default,
            label=ALIGNED.label,
            info=first_sentence(ALIGNED.help),
            visible=False,
            elem_id="gpen-aligned",
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
        """What decides which faces there are, and what is done to them."""
        self.kept = gr.Textbox(visible=False)

    def connect(self, models: ModelActions, first: FirstRun, page: Any) -> None:
        lists = [self.weights, self.background, self.compared]
        chosen = [self.task, *lists]
        listed = [*lists, self.compare, first.card, first.needed, first.accepted, self.get, self.which, self.accepted]
        gr.on(
            [page.load, self.refresh.click, self.task.change],
            show_errors(models.list_models),
            [*chosen, self.kept],
            listed,
            js=_KEPT_ONCE,
            # The task may change while the first list is on its way.
            **LATEST,
        )
        # Each licence has to be accepted separately.
        self.which.change(
            lambda name: (licence_text(name), False), self.which, [self.licence, self.accepted], **AT_ONCE
        )
        self.downloaded = [
            self.download.click(
                show_errors(models.download_model),
                [*chosen, self.which, self.accepted],
                listed,
                show_progress_on=self.licence,
                concurrency_limit=1,
                **PRIVATE,
            ),
            first.download.click(
                show_errors(models.download_needed),
                [*chosen, first.accepted],
                listed,
                show_progress_on=first.download,
                concurrency_limit=1,
                **PRIVATE,
            ),
            first.add.upload(show_errors(models.add_model), [*chosen, first.add], listed, **AT_ONCE),
        ]
        for name, button in self.presets.items():
            changed = [self.weights, *(self.controls[option] for option in PRESETS[name].values)]
            button.click(show_errors(functools.partial(models.preset, name)), None, changed, **AT_ONCE)


def _control(name: str, *, visible: bool = True) -> Any:
    """The component of an option, with the first sentence of its help."""
    component = control(OPTIONS[name], visible=visible, elem_id=f"gpen-{name}")
    component.info = first_sentence(OPTIONS[name].help)
    if name == "upscale":
        component.label = "Size"
    return component

"""The page's API: each task for one photo and for many. Gradio documents it under "Use via API"."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..options import ALIGNED, FRAME_OPTIONS, OPTIONS, Option
from ..tasks import TASKS, Task
from .actions import Actions
from .session import WorkRequest
from .texts import show_errors

_LEFT_OUT = ("protect", "person", "background", "deinterlace")
"""What may be left out. They come last: programs may pass the others by position."""


def add_endpoints(actions: Actions, in_turn: dict[str, Any]) -> None:
    """Add all endpoints to the page that is being built. in_turn: queue arguments of events that use the network.

    Each task has two: one of its name for a single photo, and one with the suffix "_many" for a batch.
    """
    gr.api(actions.networks, api_name="networks", api_description="Names of the model files for a task.")
    hidden = _Hidden()
    for task in TASKS.values():
        _add(actions, task, hidden, many=False, in_turn=in_turn)
        _add(actions, task, hidden, many=True, in_turn=in_turn)


class _Hidden:
    """The components of the endpoints. Endpoints share those that are alike: each takes its time to load."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Any] = {}

    def file(self, label: str, many: bool = False) -> Any:
        """One file or several."""
        count = "multiple" if many else "single"
        return self._once(("file", label, count), lambda: gr.File(label=label, file_count=count, visible=False))

    def text(self, label: str, value: str | None = None) -> Any:
        """A text."""
        return self._once(("text", label), lambda: gr.Textbox(value, label=label, visible=False))

    def checkbox(self, label: str, value: object) -> Any:
        """Yes or no."""
        return self._once(("checkbox", label), lambda: gr.Checkbox(value, label=label, visible=False))

    def option(self, option: Option) -> Any:
        """What sets an option; it also takes what programs sent before the option was a choice."""

        def make() -> Any:
            component = control(option, visible=False)
            if option.switch:
                component.choices += [("no", False), ("yes", True)]
            return component

        return self._once(("option", option.label), make)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _add(actions: Actions, task: Task, hidden: _Hidden, *, many: bool, in_turn: dict[str, Any]) -> None:
    options = [name for name in task.options if name not in ("max_megapixels", *FRAME_OPTIONS)]
    what, films = task.inputs if many else task.input, " and films" if task.accepts_films else ""
    label = f"The {what}{films}, or zips of them" if many else f"The {what}"
    inputs = {"photos" if many else "photo": hidden.file(label, many)}
    inputs["weights"] = hidden.text("Name of a model file; empty: the default one", "")
    if task.needs_damage_mask:
        label = "Masks named like their photos, or a zip of them" if many else "White where the photo is damaged"
        inputs["damage"] = hidden.file(label, many)
    if task.accepts_aligned:
        inputs["aligned"] = hidden.checkbox(ALIGNED.help, ALIGNED.default)
    inputs |= {name: hidden.option(OPTIONS[name]) for name in options}
    if task.keeps_photo:
        label = "Masks named like their photos, or a zip of them" if many else "White where the photo stays as it is"
        inputs["protect"] = hidden.file(f"{label}; empty: nowhere", many)
    if task.looks_for_faces:
        inputs["person"] = hidden.file("Photos of the people whose faces are worked on; empty: everybody's", many=True)
    if task.accepts_background:
        inputs["background"] = hidden.text("Name of a background model's file; empty: none", "")
    if many and task.accepts_films:
        inputs["deinterlace"] = hidden.checkbox("Make whole frames of interlaced films", False)

    def call(photo: Any, weights: str, *values: Any) -> Any:
        given = dict(zip(list(inputs)[2:], values, strict=True))
        damage, protect, people, aligned, background, deinterlace = (
            given.pop(name, None) for name in ("damage", "protect", "person", "aligned", "background", "deinterlace")
        )
        chosen = actions.options(task, given)
        if many:
            asked = actions.batch_request(task.name, photo, weights, chosen, damage, protect, people, bool(aligned))
            asked = dataclasses.replace(asked, background=background or "", deinterlace=bool(deinterlace))
            output = actions.batch(asked)
            return str(output.path), output.summary
        request = WorkRequest(
            task=task,
            options=chosen,
            model=weights,
            background=background or "",
            damage=Path(damage) if damage else None,
            protect=Path(protect) if protect else None,
            people=[Path(person) for person in people or ()],
            aligned=bool(aligned),
        )
        return actions.restore_file(photo, request)

    _name_parameters(call, list(inputs))
    texts = " ".join(f"{name}: {OPTIONS[name].help}" for name in options)
    gr.Button(visible=False).click(
        show_errors(call),
        list(inputs.values()),
        [
            hidden.file("A zip of the results, with report.json" if many else "The result"),
            hidden.text("What was done"),
        ],
        api_name=task.name + ("_many" if many else ""),
        api_description=f"{task.label}. Returns a file and a sentence about what was done. {texts}",
        **in_turn,
    )


def _name_parameters(function: Callable[..., Any], names: Sequence[str]) -> None:
    """Give a function the signature that Gradio shows in the API's description."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    # Gradio's clients may leave out what defaults to None.
    defaults = {name: None if name in _LEFT_OUT else inspect.Parameter.empty for name in names}
    parameters = [inspect.Parameter(name, kind, default=default) for name, default in defaults.items()]
    signature = inspect.Signature(parameters)
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__annotations__ = {}


def control(option: Option, *, visible: bool = True, elem_id: str | None = None) -> Any:
    """The component that sets an option."""
    component, values = option.control()
    return getattr(gr, component)(
        value=option.default, label=option.label, info=option.help, visible=visible, elem_id=elem_id, **values
    )

"""The layout of the page, and which event calls which handler."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..options import PRESETS
from ..tasks import find_task
from .actions import CONTROLS, MANY, Actions
from .api import add_endpoints
from .many_photos import ManyPhotos
from .model_actions import ModelActions
from .one_photo import OnePhoto
from .options_column import FirstRun, OptionsColumn
from .page_parts import AT_ONCE, IN_TURN, LATEST
from .photo_actions import PhotoActions
from .texts import show_errors

ABOUT = "# GPEN Face Restore\nPhotos stay on {where}; the page deletes its copies after a few hours."

_HOUR = 3600


def build_page(actions: Actions, *, is_shared: bool = False) -> Any:
    """The page as Gradio's Blocks, with its queue. is_shared: whether it is for other computers, too."""
    with gr.Blocks(
        title="GPEN Face Restore", analytics_enabled=False, fill_width=True, delete_cache=(600, 6 * _HOUR)
    ) as page:
        where = "the computer that runs this page" if is_shared else "this computer"
        gr.Markdown(ABOUT.format(where=where), elem_id="gpen-about")
        first = FirstRun()
        with gr.Row(elem_id="gpen-work"):
            with gr.Column(scale=0, min_width=320, elem_id="gpen-options"):
                options = OptionsColumn()
            with gr.Column(scale=1, min_width=320, elem_id="gpen-view"), gr.Tabs() as tabs:
                with gr.Tab("One photo"):
                    photo = OnePhoto(actions)
                with gr.Tab("Many photos", id=MANY):
                    batch = ManyPhotos()
        options.connect(ModelActions(actions.engine), first, page)
        photo.connect(PhotoActions(actions), actions, options)
        photo.keep(PhotoActions(actions), options, page)
        batch.connect(actions, options)
        photo.photo.upload(show_errors(actions.take_film), [photo.photo, batch.files], [tabs, batch.files], **AT_ONCE)
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
            **LATEST,
        )
        add_endpoints(actions, IN_TURN)
        page.unload(actions.leave)
    page.queue(max_size=64, default_concurrency_limit=8)
    return page


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

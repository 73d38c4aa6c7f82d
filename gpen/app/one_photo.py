"""The tab for one photo: its faces, and the result."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..tasks import RESTORE
from .actions import Actions
from .compare_actions import CompareActions
from .options_column import OptionsColumn
from .page_parts import AT_ONCE, FILMS, IN_TURN, LATEST, PICTURES, PRIVATE, UPLOAD, people
from .photo_actions import PhotoActions
from .texts import show_errors
from .viewer import viewer

CHOOSING = ("detector", "detection_threshold", "select", "min_face_size", "max_face_size", "skip_sharp")
"""Options that decide which faces are ticked at first."""

_KEEP = """(view, task, model, background, aligned, ...controls) => {
    const { key, chosen } = view ?? {};
    const kept = { key, chosen: chosen ?? [], task, model, background, aligned, controls };
    sessionStorage.setItem("gpen", JSON.stringify(kept));
}"""
"""Keeps what is on the page while the tab is open, for when it is loaded again."""
_KEPT = """() => [sessionStorage.getItem("gpen") ?? ""]"""
_WITH_PAINTED = """(key, model, view, ...others) =>
    [key, model, { ...view, painted: window.gpenPainted?.() ?? [] }, ...others]"""
"""Sends with the view what was painted on it, which otherwise stays in the browser."""

_HOUR = 3600


class OnePhoto:
    """The tab for one photo: its faces, and the result."""

    def __init__(self, actions: Actions) -> None:
        self.key = gr.State(None, time_to_live=_HOUR, delete_callback=actions.sessions.drop_idle)
        self.kept = gr.Textbox(visible=False)
        with gr.Row(elem_id="gpen-actions"):
            self.photo = gr.UploadButton(
                "Open a photo", file_types=[*PICTURES, *FILMS], elem_id="gpen-photo", min_width=120
            )
            self.run = gr.Button(RESTORE.label, variant="primary", elem_id="gpen-run", min_width=120)
            self.stop = gr.Button("Stop", variant="stop", elem_id="gpen-stop", visible=False, min_width=120)
            self.save = gr.DownloadButton("Download", interactive=False, elem_id="gpen-save", min_width=120)
            self.go_on = gr.Button("Use result as input", interactive=False, elem_id="gpen-go-on", min_width=120)
        self.message = gr.Markdown(elem_id="gpen-said", container=False)
        self.viewer = viewer("gpen-viewer")
        self.damage = gr.File(
            label="Mask: white where the photo is damaged",
            file_types=PICTURES,
            height=UPLOAD,
            visible=False,
            elem_id="gpen-damage",
        )
        with gr.Accordion("Masks and people", open=False), gr.Row():
            self.protect = gr.File(
                label="Protect: white where nothing changes",
                file_types=PICTURES,
                height=UPLOAD,
                elem_id="gpen-protect",
            )
            self.person = people("gpen-person", height=UPLOAD)

    def connect(self, photos: PhotoActions, actions: Actions, options: OptionsColumn) -> None:
        faces = [self.viewer, self.message, self.save]
        # What can be done to a result once there is one.
        self.save.change(lambda file: gr.update(interactive=file is not None), self.save, self.go_on, **LATEST)
        opening = [self.key, self.person, self.damage, self.protect, options.aligned, *options.values]
        choosing = [self.key, self.person, options.aligned, *options.values]
        in_turn: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": self.message, **IN_TURN, **PRIVATE}
        self.photo.upload(
            show_errors(photos.open),
            [self.photo, *opening],
            [self.key, *faces],
            **in_turn,
        )
        self.go_on.click(show_errors(photos.go_on), opening, [self.key, *faces], **in_turn)
        gr.on(
            [*_by_hand(self.damage), *_by_hand(self.protect)],
            show_errors(photos.show_masks),
            [self.key, self.viewer, self.damage, self.protect],
            [self.viewer, self.message],
            **LATEST,
        )
        gr.on(
            [
                *(options.controls[name].input for name in CHOOSING),
                *(options.task.input, options.aligned.input),
                *_by_hand(self.person),
            ],
            show_errors(photos.find_faces),
            choosing,
            faces,
            trigger_mode="always_last",
            **in_turn,
        )
        for downloaded in options.downloaded:
            downloaded.success(show_errors(photos.look_again), choosing, faces, **in_turn)
        self.viewer.select(show_errors(photos.choose), [self.key, self.viewer], [self.message, self.save], **LATEST)
        others = [control for name, control in options.controls.items() if name not in ("strength", *CHOOSING)]
        gr.on(
            [
                *(control.input for control in others),
                options.weights.input,
                options.background.input,
                self.viewer.input,
            ],
            show_errors(photos.change_options),
            self.key,
            self.message,
            **LATEST,
        )
        comparison = CompareActions(actions, photos)
        given = [self.viewer, self.damage, self.protect, options.aligned, options.background, *options.values]
        for button, models, work in (
            (self.run, options.weights, photos.restore_photo),
            (options.start, options.compared, comparison.compare),
        ):
            button.click(actions.begin, None, [self.run, self.stop], queue=False, **AT_ONCE).then(
                show_errors(work), [self.key, models, *given], faces, js=_WITH_PAINTED, **in_turn
            ).then(actions.ended, None, [self.run, self.stop], queue=False, **AT_ONCE)
        self.viewer.apply(show_errors(comparison.keep), [self.key, self.viewer], [*faces, options.weights], **in_turn)
        self.stop.click(actions.stop, None, self.stop, queue=False, **AT_ONCE)
        strength = options.controls["strength"]
        strength.change(
            show_errors(photos.change_strength),
            [self.key, self.viewer, strength],
            faces,
            trigger_mode="always_last",
            **{**in_turn, "show_progress": "hidden"},
        )

    def keep(self, photos: PhotoActions, options: OptionsColumn, page: Any) -> None:
        """Bring back what was on the page when it is loaded again."""
        controls = options.controls.values()
        settings = [options.task, options.weights, options.background, options.aligned, *controls]
        page.load(
            show_errors(photos.come_back),
            self.kept,
            [
                *(self.key, self.viewer, self.message, self.save),
                *(self.damage, self.protect, self.person),
                # The models come with their list.
                *(options.task, options.aligned, *controls),
            ],
            js=_KEPT,
            **AT_ONCE,
        )
        gr.on(
            [self.viewer.change, self.viewer.select, *(setting.change for setting in settings)],
            None,
            [self.viewer, *settings],
            None,
            js=_KEEP,
            **AT_ONCE,
        )


def _by_hand(upload: Any) -> list[Any]:
    """The events of an upload that the visitor changes; not those when it is filled again after a reload."""
    return [upload.upload, upload.clear, upload.delete]

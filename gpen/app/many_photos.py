"""The tab for many photos, and for films."""

from __future__ import annotations

from pathlib import Path, PurePath

import gradio as gr

from ..images import is_readable, unreadable
from ..video.plan import is_film
from .actions import Actions
from .options_column import OptionsColumn
from .page_parts import AT_ONCE, FILMS, IN_TURN, PICTURES, PRIVATE, UPLOAD, many_files, people
from .texts import show_errors
from .uploads import is_taken
from .viewer import read


class ManyPhotos:
    """The tab for many photos, and for films: a table of them, and a zip of their results."""

    def __init__(self) -> None:
        self.files = many_files(
            "Photos, films, or zips of them; folders in a zip are kept", "gpen-files", films=True, height=200
        )
        with gr.Row():
            self.more = gr.UploadButton(
                "Add photos",
                file_count="multiple",
                file_types=[*PICTURES, *FILMS, ".zip"],
                size="sm",
                elem_id="gpen-more-files",
            )
            self.folder = gr.UploadButton(
                "Add the photos in a folder", file_count="directory", size="sm", elem_id="gpen-folder"
            )
        self.masks = many_files(
            "Masks: white where the photo is damaged, named like the photo; or a zip of them",
            "gpen-masks",
            height=160,
            visible=False,
        )
        with gr.Row():
            self.run = gr.Button("Restore all", variant="primary", elem_id="gpen-run-all")
            self.stop = gr.Button("Stop", variant="stop", elem_id="gpen-stop-all", visible=False)
            self.zip = gr.DownloadButton("Download all", interactive=False, elem_id="gpen-zip")
        self.message = gr.Markdown(elem_id="gpen-batch-said")
        self.table = gr.HTML(
            value={"rows": []},
            html_template=read("batch.html"),
            js_on_load=read("batch.js"),
            apply_default_css=False,
            elem_id="gpen-table",
        )
        with gr.Accordion("Masks and people", open=False), gr.Row():
            self.protect = many_files(
                "Protect, if anything: masks, white where the photo stays as it is, named like the photo; or a zip",
                "gpen-protects",
                height=160,
            )
            self.person = people("gpen-people", height=UPLOAD)
        with gr.Accordion("Films", open=False):
            self.deinterlace = gr.Checkbox(
                False,
                label="Deinterlace",
                info="Make whole frames of an interlaced film's fields. Other films stay as they are.",
                elem_id="gpen-deinterlace",
            )

    def connect(self, actions: Actions, options: OptionsColumn) -> None:
        self.more.upload(lambda files, more: [*(files or ()), *more], [self.files, self.more], self.files, **AT_ONCE)
        self.folder.upload(_with_pictures, [self.files, self.folder], self.files, **AT_ONCE)
        given = [options.weights, self.masks, self.protect, self.person, options.aligned, self.deinterlace]
        self.run.click(actions.begin, None, [self.run, self.stop], queue=False, **AT_ONCE).then(
            show_errors(actions.restore_photos),
            [self.files, *given, options.background, *options.values],
            [self.table, self.zip, self.message],
            show_progress="minimal",
            show_progress_on=self.message,
            **IN_TURN,
            **PRIVATE,
        ).then(actions.ended, None, [self.run, self.stop], queue=False, **AT_ONCE)
        self.stop.click(actions.stop, None, self.stop, queue=False, **AT_ONCE)


def _with_pictures(files: list[str] | None, folder: list[str] | None) -> list[str]:
    """The files, and the pictures and films among those of a folder."""
    # Only names are known here, not the folders that the files were in.
    found = [file for file in map(Path, folder or ()) if is_taken(PurePath(file.name))]
    left_out = [file for file in found if not (is_film(file) or is_readable(file.suffix))]
    if left_out:
        gr.Warning(unreadable(left_out))
    return [*(files or ()), *(str(file) for file in found if file not in left_out)]

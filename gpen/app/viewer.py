"""The viewer: the photo with its line between before and after, its face boxes, and the strip of faces.

It is a gr.HTML whose template never changes; what it shows is its value, which :func:`seen` makes and the
scripts in ``browser/`` draw. They hand it back with the faces that the user chose.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from ..images.resize import resize
from ..images.tensors import as_array
from ..restoration.result import RestoredFace
from ..tasks import Task
from .browser_pictures import address
from .page_parts import FILMS
from .painted import KINDS
from .session import PhotoSession
from .texts import model_label

_BROWSER = Path(__file__).parent / "browser"
_SCRIPTS = ("viewer.js", "strip.js", "brush.js", "panes.js", "window.js")
_THUMBNAIL = 160
"""Pixels of the sides of a face's picture in the strip."""

View = dict[str, Any]
"""What the viewer shows; JSON."""

EMPTY: View = {
    "key": None,
    "photo": None,
    "after": None,
    "faces": [],
    "chosen": [],
    "running": None,
    "compared": [],
    "brushes": [],
    "marked": {},
    "width": 1,
    "height": 1,
}
"""No photo."""


def viewer(elem_id: str) -> Any:
    """The component."""
    return gr.HTML(
        value=EMPTY,
        html_template=read("viewer.html"),
        js_on_load="\n".join([f"const FILMS = {json.dumps(FILMS)};", *map(read, _SCRIPTS)]),
        apply_default_css=False,
        elem_id=elem_id,
    )


def style() -> str:
    """The style sheets of the page."""
    return "".join(map(read, ("page.css", "viewer.css", "batch.css")))


def seen(
    key: str | None, session: PhotoSession, chosen: Collection[int], task: Task, *, with_faces: bool = True
) -> View:
    """The photo and its last result, if it has one.

    key: of the session. task: decides what can be painted. with_faces: show the faces that were found.
    """
    compared = session.compared
    made = next((each.restoration for each in compared.values()), session.restoration)
    height, width = (session.picture.photo if made is None else made.photo).shape[:2]
    done = set() if made is None else {face.number for face in made.faces}
    size = (session.picture.width, session.picture.height) * 2
    faces = [
        {"box": [float(value / side) for value, side in zip(face.box, size, strict=True)], "done": number in done}
        for number, face in enumerate(session.faces if with_faces else ())
    ]
    return {
        **EMPTY,
        "key": key,
        "photo": address(session.before),
        "after": None if session.after is None else address(session.after),
        "faces": faces,
        "chosen": sorted(chosen),
        "compared": [
            {"name": name, "label": model_label(name), "picture": address(each.shown)}
            for name, each in compared.items()
        ],
        "brushes": brushes(task),
        "marked": marked(session),
        "width": width,
        "height": height,
    }


def brushes(task: Task) -> list[str]:
    """The kinds of masks that can be painted for a task."""
    return [kind for kind, there in zip(KINDS, (task.needs_damage_mask, task.keeps_photo), strict=True) if there]


def marked(session: PhotoSession) -> dict[str, str]:
    """By kind, the addresses of the masks that were given as pictures."""
    return {kind: address(file) for kind, file in session.marked.items()}


def chosen_faces(view: Mapping[str, Any] | None) -> list[int]:
    """The numbers of the chosen faces."""
    return [int(number) for number in (view or EMPTY)["chosen"]]


def thumbnail(face: RestoredFace) -> str:
    """The face as it was pasted, as a data address."""
    assert face.crops is not None
    small = resize(as_array(face.crops.after), (_THUMBNAIL, _THUMBNAIL))
    samples = np.rint(small[..., ::-1].clip(0, 1) * 255).astype(np.uint8)
    return "data:image/jpeg;base64," + base64.b64encode(cv2.imencode(".jpg", samples)[1].tobytes()).decode()


def read(name: str) -> str:
    """A file of what runs in the browser."""
    return (_BROWSER / name).read_text(encoding="utf-8")

"""What restores clips with small networks whose output is known, and faces whose place is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gpen.faces.face import Face
from gpen.faces.selection.select import FaceChoice
from gpen.options import Options
from gpen.restoration.components import Components
from gpen.tasks import find_task
from gpen.video.restore import Picture, Restorer
from gpen.video.run import FilmResult, FilmSettings, FilmWork, restore_film
from gpen.weights.checkpoint import load_model
from tests.commands import networks, upright_face

__all__ = ["networks"]

FACE = upright_face(50, 40, 40)


class Told:
    """What a run says about its progress."""

    def __init__(self) -> None:
        self.passes: list[tuple[str, int | None]] = []
        self.done = self.known = 0
        self.texts: list[str] = []
        self.shown: np.ndarray | None = None
        """The picture of the last frame, where ``looks`` is set."""
        self.looks = False

    def starts(self, what: str, frames: int | None) -> None:
        self.passes.append((what, frames))

    def advances(self, *, was_there: bool = False, picture: Picture | None = None) -> None:
        self.done += 1
        self.known += was_there
        if self.looks and picture is not None:
            self.shown = picture()

    def says(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(autouse=True)
def one_thread():
    """Results must not depend on it, and small pictures are faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def film_work(networks):
    """Make what is done to a film: by default the colours of one face that stands still are inverted."""

    def make(
        faces: Sequence[Face] = (FACE,), model: str = "negative", options: Options | None = None, **more
    ) -> FilmWork:
        restorer = Restorer(
            task=find_task("restore"),
            components=Components(model=load_model(networks / f"{model}.pth")),
            options=options or Options(mask="ellipse", video=True),
            protect=more.pop("protect", None),
            before_frame=more.pop("before_frame", lambda: None),
        )
        find = more.pop("find", lambda photo: list(faces))
        settings = replace(FilmSettings(), **more.pop("settings", {}))
        return FilmWork(
            restorer=restorer,
            find=find,
            choice=more.pop("choice", FaceChoice()),
            settings=settings,
            recipe=more.pop("recipe", {}),
            **more,
        )

    return make


@pytest.fixture
def restore_clip(film_work, told):
    """Restore a film as :func:`gpen.video.run.restore_film` does."""

    def run(path: Path, target: Path, **more) -> FilmResult:
        return restore_film(path, target, film_work(**more), told)

    return run

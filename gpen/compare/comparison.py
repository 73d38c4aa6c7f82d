"""The same faces through several networks, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FaceError, OptionError, PhotoError
from ..faces.align import crop_face, place
from ..faces.drawing import Drawing, NumberedFace, draw_faces, grid
from ..faces.face import Face
from ..faces.resample import Matrix, apply
from ..faces.source import FaceSource
from ..images.picture import FloatImage, check_picture
from ..options import Options
from ..restoration.api import DEFAULTS, paste
from ..restoration.processors import Parser
from ..wording import count
from .models import FaceModel

CELL = 384
SMALLEST_CELL, LARGEST_CELL = 128, 2048

VIEW = "gpen"
"""Template of the square that is shown of every face: the wider one, so that the other's crops lie inside."""

OnProgress = Callable[[int, int], None]
"""Called with the number of faces done, by all models together, and to do: before the first and after each."""


@dataclass(frozen=True, eq=False)
class Column:
    """What one model made of the faces.

    template: how its crops were aligned. dtype: number format, such as "float32". seconds: for each face, of the
    network alone, after calls that are not counted. cells: float32 (cell, cell, 3), RGB, [0, 1], for each face.
    """

    title: str
    file: str
    in_size: int
    out_size: int
    template: str
    dtype: str
    seconds: tuple[float, ...]
    cells: list[FloatImage]

    @property
    def seconds_per_face(self) -> float:
        """The median."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The same faces through several models.

    faces: with their numbers among all of the photo, from left to right. shown: the same in pixels of their cells.
    before: their cells in the photo, as :class:`Column` has them. columns: one for each model.
    """

    faces: list[NumberedFace]
    shown: list[Face]
    before: list[FloatImage]
    columns: list[Column]

    def sheet(self, name: str) -> Drawing:
        """A row for each face: the photo, whose name is given, and what each model made of it."""
        lines = [["before", name, ""]]
        lines += [[c.title, c.file, f"{c.seconds_per_face:.2f} s per face"] for c in self.columns]
        rows = []
        for row, (number, _) in enumerate(self.faces):
            before = draw_faces(self.before[row], [(number, self.shown[row])], boxes=False)
            rows.append([before, *(draw_faces(column.cells[row], []) for column in self.columns)])
        ascii_lines = [[line.encode("ascii", "replace").decode() for line in caption] for caption in lines]
        return grid(rows, ascii_lines)


def compare(
    photo: FloatImage,
    models: Sequence[FaceModel],
    source: FaceSource,
    options: Options = DEFAULTS,
    *,
    cell: int = CELL,
    parser: Parser | None = None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Restore the same faces of a photo with several models.

    photo: float32 (H, W, 3), RGB, [0, 1]. source: where its faces come from. Of each face an upright
    square is shown, enlarged or reduced to ``cell`` pixels; each model gets the crop that it was trained with, cut out
    of the photo, and its answer is laid over the square with the mask of the options, as it would be over the photo.
    parser: needed for the parsed mask.

    FaceError where there is no face to compare, or one cannot be cut out; OptionError for a cell that is too small or
    too large; PhotoError where the sheet would be larger than option "max_megapixels"; GpenError as a model raises it.
    """
    check_picture(photo, "photo")
    if not SMALLEST_CELL <= cell <= LARGEST_CELL:
        raise OptionError(
            f"The cells of the sheet are {cell} pixels; they have to have {SMALLEST_CELL} to {LARGEST_CELL}."
        )
    chosen = _choose(photo, source)
    megapixels = len(chosen) * (len(models) + 1) * cell**2 / 1e6
    if megapixels > options.max_megapixels:
        raise PhotoError(
            f"A sheet of {count(len(chosen), 'face')} would have {megapixels:.1f} megapixels, more than the "
            f"{options.max_megapixels:g} allowed. Choose fewer faces, smaller cells, or a larger limit."
        )
    views = [place(face, cell, VIEW).matrix for _, face in chosen]
    before = [crop_face(photo, view, cell) for view in views]
    shown = [_seen(face, view) for (_, face), view in zip(chosen, views, strict=True)]
    total = len(models) * len(chosen)
    columns: list[Column] = []
    for model in models:
        template = model.template or options.template
        seconds: list[float] = []
        cells: list[FloatImage] = []
        for row, (_, face) in enumerate(chosen):
            if on_progress is not None:
                on_progress(len(columns) * len(chosen) + row, total)
            crop = crop_face(photo, place(face, model.in_size, template).matrix, model.in_size)
            if not seconds:
                # The first call takes longer; on a GPU the second one, which may be recorded, does too.
                for _ in range(1 if model.device.type == "cpu" else 2):
                    model(crop)
            start = time.perf_counter()
            after = model(crop)
            seconds.append(time.perf_counter() - start)
            placement = place(shown[row], model.in_size, template)
            cells.append(paste(before[row], [(placement, after)], options, parser=parser)[0])
        dtype = str(model.dtype).removeprefix("torch.")
        sizes = model.in_size, model.out_size
        columns.append(Column(model.title, model.path.name, *sizes, template, dtype, tuple(seconds), cells))
    if on_progress is not None:
        on_progress(total, total)
    return Comparison(chosen, shown, before, columns)


def _choose(photo: FloatImage, source: FaceSource) -> list[NumberedFace]:
    """The faces to compare, with their numbers; FaceError where there are none."""
    faces = source.find(photo)
    if not faces:
        raise FaceError(
            "No face was found, so there is nothing to compare. Lower the detection threshold, or give the faces in a "
            "file."
        )
    chosen = [(face.number, face.face) for face in faces if not face.skip_reason]
    if not chosen:
        why = ", ".join(dict.fromkeys(face.skip_reason for face in faces))
        raise FaceError(f"None of {count(len(faces), 'face')} was chosen ({why}). Choose others.")
    return chosen


def _seen(face: Face, view: Matrix) -> Face:
    """A face in pixels of a square, given the matrix from the photo to it."""
    x0, y0, x1, y1 = face.box
    corners = apply(view, np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)]))
    left, top, right, bottom = (float(v) for v in (*corners.min(axis=0), *corners.max(axis=0)))
    return Face((left, top, right, bottom), face.score, apply(view, face.landmarks))

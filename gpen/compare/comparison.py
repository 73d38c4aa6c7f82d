"""The same faces restored by several models, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..device import dtype_name
from ..errors import FaceError, OptionError
from ..faces.align import crop_face, place
from ..faces.drawing import Drawing, NumberedFace, draw_faces, grid
from ..faces.face import Face
from ..faces.resampling.transforms import Matrix, apply
from ..faces.source import FaceSource
from ..images.picture import FloatImage, check_megapixels
from ..images.tensors import DevicePhoto, as_array, check_picture
from ..options import Options
from ..restoration.api import DEFAULTS, paste
from ..restoration.processors import Parser
from ..wording import count
from .models import FaceModel

CELL = 384
"""Edge of a cell of the sheet by default, in pixels."""

SMALLEST_CELL, LARGEST_CELL = 128, 2048

VIEW = "gpen"
"""The template that cells are aligned by: the wider one, so that crops of the other lie inside."""

OnFaceCompared = Callable[[int, int], None]
"""Called before the first face and after each, with the number done and in all, over all models."""


@dataclass(frozen=True, eq=False)
class Column:
    """The faces as one model restored them."""

    title: str
    """The model's kind, such as "GPEN 512"."""
    file: str
    """The name of its file."""
    in_size: int
    """Edge of the crop that it takes, in pixels."""
    out_size: int
    """Edge of the crop that it returns, in pixels."""
    template: str
    """How its crops were aligned, as option "template" names it."""
    dtype: str
    """The dtype that it computed in, such as "float32"."""
    seconds: tuple[float, ...]
    """For each face, the time of the network alone, after warm-up calls."""
    cells: list[FloatImage]
    """For each face, float32 (cell, cell, 3), RGB, [0, 1]."""

    @property
    def seconds_per_face(self) -> float:
        """The median of ``seconds``."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The same faces restored by several models."""

    faces: list[NumberedFace]
    """The compared faces, numbered among all faces of the photo from left to right."""
    in_cells: list[Face]
    """The same faces in pixels of their cells."""
    before: list[FloatImage]
    """Their cells before, as in :class:`Column`."""
    columns: list[Column]
    """One column per model."""

    def sheet(self, name: str) -> Drawing:
        """Draw the sheet: a row per face, with the photo called ``name`` first, then a cell per model."""
        lines = [["before", name, ""]]
        lines += [[c.title, c.file, f"{c.seconds_per_face:.2f} s per face"] for c in self.columns]
        rows = []
        for row, (number, _) in enumerate(self.faces):
            before = draw_faces(self.before[row], [(number, self.in_cells[row])], boxes=False)
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
    device: torch.device | str = "cpu",
    on_progress: OnFaceCompared | None = None,
) -> Comparison:
    """Restore the same faces of a photo with several models.

    A cell shows an upright square around a face, scaled to ``cell`` pixels. Each model gets the crop that it was
    trained on, and its output is pasted into the cell as it would be into the photo, with the mask of the options.

    photo: float32 (H, W, 3), RGB, [0, 1]. source: where its faces come from. parser: needed for the parsed mask.
    device: where crops are pasted, the parser's.

    Raises FaceError if there is no face to compare or one cannot be cropped, OptionError if ``cell`` is too small or
    too large, PhotoError if the sheet would exceed option "max_megapixels", and GpenError as the models do.
    """
    check_picture(photo, "photo")
    if not SMALLEST_CELL <= cell <= LARGEST_CELL:
        raise OptionError(
            f"The cells of the sheet are {cell} pixels; they have to be {SMALLEST_CELL} to {LARGEST_CELL} pixels."
        )
    chosen = _choose(photo, source)
    check_megapixels(
        len(chosen) * (len(models) + 1) * cell**2 / 1e6,
        options.max_megapixels,
        f"A sheet of {count(len(chosen), 'face')} would have",
        "Choose fewer faces, smaller cells, or a larger limit.",
    )
    views = [place(face, cell, VIEW).matrix for _, face in chosen]
    on_cpu = DevicePhoto(photo, torch.device("cpu"))
    before = [as_array(crop_face(on_cpu, view, cell)) for view in views]
    in_cells = [_in_cell(face, view) for (_, face), view in zip(chosen, views, strict=True)]
    total = len(models) * len(chosen)
    columns: list[Column] = []
    for model in models:
        template = model.template or options.template
        seconds: list[float] = []
        cells: list[FloatImage] = []
        for row, (_, face) in enumerate(chosen):
            if on_progress is not None:
                on_progress(len(columns) * len(chosen) + row, total)
            crop = as_array(crop_face(on_cpu, place(face, model.in_size, template).matrix, model.in_size))
            if not seconds:
                # Warm up: the first call takes longer, on a GPU also the second one, which may be captured as a graph.
                for _ in range(1 if model.device.type == "cpu" else 2):
                    model(crop)
            start = time.perf_counter()
            after = model(crop)
            seconds.append(time.perf_counter() - start)
            placement = place(in_cells[row], model.in_size, template)
            cells.append(paste(before[row], [(placement, after)], options, parser=parser, device=device)[0])
        sizes, dtype = (model.in_size, model.out_size), dtype_name(model.dtype)
        columns.append(Column(model.title, model.path.name, *sizes, template, dtype, tuple(seconds), cells))
    if on_progress is not None:
        on_progress(total, total)
    return Comparison(chosen, in_cells, before, columns)


def _choose(photo: FloatImage, source: FaceSource) -> list[NumberedFace]:
    """The faces to compare, with their numbers; raises FaceError if there are none."""
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


def _in_cell(face: Face, view: Matrix) -> Face:
    """A face in pixels of its cell, given the matrix from photo to cell."""
    x0, y0, x1, y1 = face.box
    corners = apply(view, np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)]))
    left, top, right, bottom = (float(v) for v in (*corners.min(axis=0), *corners.max(axis=0)))
    return Face((left, top, right, bottom), face.score, apply(view, face.landmarks))

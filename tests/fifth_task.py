"""The task "darken", which halves the brightness of faces: what it takes to add a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np


@contextmanager
def darken(tasks: ModuleType, processors: ModuleType) -> Iterator[Any]:
    """Register the task in these modules: one row and one processor, and nothing else."""

    class Darkening(processors.FaceProcessor):
        """Halves the brightness of what the network sees, and with it of what it returns."""

        def crop(self, source: Any, placement: Any) -> Any:
            """Half as bright."""
            return super().crop(source, placement) / np.float32(2)

    row = tasks.Task(
        name="darken",
        aliases=("dim",),
        label="Darken",
        help="darken the faces of photos",
        done="darkened",
        network_does="darkens faces",
        network_title="face darkening network",
        options=(
            *("precision", "detector", "detection_threshold", "select", "only_faces", "min_face_size", "template"),
            *("mask", "feather", "strength", "video", "max_megapixels"),
        ),
        accepts_aligned=True,
    )
    processors.PROCESSORS["darken"] = Darkening
    try:
        with tasks.registered(row):
            yield row
    finally:
        del processors.PROCESSORS["darken"]

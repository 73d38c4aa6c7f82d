"""What a restoration was made with, as it is noted in the file of its result."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ..faces.face import Face
from ..images import Picture
from ..images.metadata.provenance import Provenance, UsedNetwork
from ..options import Options
from ..tasks import Task
from ..weights.download import cached_sha256, file_version
from .result import MadeWith, Restoration

_LIMITS = ("max_megapixels",)


def provenance(task: Task, picture: Picture, restoration: Restoration) -> Provenance | None:
    """The note for the result of a task on ``picture``; None if no network changed anything in it."""
    made_with = restoration.made_with
    changed = [face.face for face in restoration.faces]
    if made_with is None or not restoration.has_changed_pixels:
        return None
    from .. import __version__

    return Provenance(
        software=f"GPEN Face Restore {__version__}",
        task=task.name,
        networks=(
            *(_used(made_with, path, "faces") for path in made_with.networks),
            *(() if made_with.upscaler is None else (_used(made_with, made_with.upscaler, "background"),)),
        ),
        options=dict(sorted(decisive_options(task, made_with.options).items())),
        boxes=tuple(_share(face, picture.width, picture.height) for face in changed) if task.looks_for_faces else (),
        is_generated=not task.keeps_photo,
    )


def decisive_options(task: Task, options: Options) -> dict[str, Any]:
    """The task's options by name, without those that do not decide how a result looks."""
    spare = _LIMITS if options.video else (*_LIMITS, "texture")
    return {name: getattr(options, name) for name in task.options if name not in spare}


def _used(made_with: MadeWith, path: Path, part: str) -> UsedNetwork:
    loaded, digest = made_with.versions.get(path), None
    with suppress(OSError):  # it was there when the network was loaded
        if loaded is None or loaded == file_version(path):
            digest = cached_sha256(path)
    return UsedNetwork(path.name, part, digest)


def _share(face: Face, width: int, height: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(side) for side in face.box)
    left, right = (min(max(side / width, 0.0), 1.0) for side in (left, right))
    top, bottom = (min(max(side / height, 0.0), 1.0) for side in (top, bottom))
    return left, top, right - left, bottom - top

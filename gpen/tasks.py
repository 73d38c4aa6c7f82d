"""The tasks that GPEN networks do: one row for each, and nothing about a task is written anywhere else.

A new task is a row here and a processor in :mod:`gpen.restoration.processors`. Commands, catalogue, API, page and
nodes are built from the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import OptionError

_CHOOSING_FACES = (
    *("detector", "detection_threshold", "select", "only_faces", "min_face_size", "max_face_size", "template"),
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one kind of GPEN network is for, and what working on a photo with it involves."""

    name: str
    """Its name everywhere: the command, the API endpoint, the metadata of weight files, reports."""

    aliases: tuple[str, ...] = ()
    """Names from earlier versions that are still read, in saved settings and files for instance."""

    label: str
    """The verb on buttons, such as "Restore"."""

    help: str
    """What the command does, in lower case and without a full stop."""

    inputs: str = "photos"
    """What the command takes, in the plural."""

    done: str
    """What has been done to a face, in a word: "restored"."""

    network_does: str
    """What its networks do: "restores faces"."""

    network_title: str
    """What such a network is called: "face restoration network"."""

    value_range: tuple[float, float] = (-1.0, 1.0)
    """Smallest and largest value of the network's input and output."""

    options: tuple[str, ...]
    """Names of the supported options (:data:`gpen.options.OPTIONS`); others have no effect."""

    accepts_aligned: bool = False
    """Whether a photo may be an aligned portrait: one face, cropped to the square that the network takes."""

    always_aligned: bool = False
    """Whether a photo always is one aligned face, so that no faces are looked for."""

    needs_damage_mask: bool = False
    """Whether a mask of the damage is required."""

    adds_color: bool = False
    """Whether a grey photo comes out in colour."""

    keeps_photo: bool = True
    """Whether the result is the photo with changed faces, with its alpha, profile and metadata; else it is new."""

    networks: tuple[str, ...] = ()
    """Names of its networks in the catalogue, the one that suits most faces first."""

    networks_by_size: tuple[str, ...] = ()
    """Names of those of which each face may get the one that suits its size, smallest first."""

    workflow: str = ""
    """Name of the example workflow for ComfyUI."""

    @property
    def input(self) -> str:
        """One of ``inputs``, such as "photo"."""
        return self.inputs.removesuffix("s")

    @property
    def looks_for_faces(self) -> bool:
        """Whether faces are detected, given or chosen at all."""
        return not self.always_aligned

    @property
    def accepts_background(self) -> bool:
        """Whether the result may be larger than the photo, over a background from an upscaler."""
        return "upscale" in self.options

    @property
    def accepts_films(self) -> bool:
        """Whether it may be done to the frames of a film, one after the other."""
        return "video" in self.options

    @property
    def example(self) -> str:
        """The name of one of its networks, for messages; empty where none is published."""
        return next(iter(self.networks), "")

    def is_aligned(self, asked: bool) -> bool:
        """Whether a photo is one aligned face, given whether the user says so. OptionError where it cannot be."""
        if asked and not (self.accepts_aligned or self.always_aligned):
            others = ", ".join(task.name for task in TASKS.values() if task.accepts_aligned)
            raise OptionError(
                f'The task "{self.name}" looks for faces in whole photos and takes no aligned portraits. Switch '
                f'"Aligned portrait" off; it is for: {others}.'
            )
        return self.always_aligned or asked


TASKS: dict[str, Task] = {}
"""All tasks by name."""


def find_task(name: str) -> Task:
    """The task of that name or alias; OptionError for another."""
    for task in TASKS.values():
        if name == task.name or name in task.aliases:
            return task
    raise OptionError(f"The task {name!r} is unknown. Choose one of: {', '.join(TASKS)}.")


def task_of_network(name: str) -> Task | None:
    """The task that a network of the catalogue is for, or None."""
    return next((task for task in TASKS.values() if name in task.networks), None)


def register(task: Task) -> Task:
    """Add a row; ValueError where its name is taken."""
    names = {name for known in TASKS.values() for name in (known.name, *known.aliases)}
    if names.intersection((task.name, *task.aliases)):
        raise ValueError(f"a task named {task.name!r} already exists")
    TASKS[task.name] = task
    return task


@contextmanager
def registered(task: Task) -> Iterator[Task]:
    """Have a row for as long as the block lasts: for tests, and for programs that try a task out."""
    register(task)
    try:
        yield task
    finally:
        del TASKS[task.name]


RESTORE = register(
    Task(
        name="restore",
        label="Restore",
        help="restore the faces of photos",
        done="restored",
        network_does="restores faces",
        network_title="face restoration network",
        options=(
            "precision",
            *_CHOOSING_FACES,
            "skip_sharp",
            "mask",
            "feather",
            "strength",
            "color_match",
            "identity_guard",
            "identity_action",
            "upscale",
            "video",
            "max_megapixels",
            "grain",
            "occlusion",
            "texture",
        ),
        # Most faces in photos are smaller than 512 pixels, where the larger networks take several times as long for
        # detail that is scaled away again; 256 is softer than what most faces already are.
        networks=("GPEN-BFR-512", "GPEN-BFR-1024", "GPEN-BFR-2048", "GPEN-BFR-256"),
        networks_by_size=("GPEN-BFR-512", "GPEN-BFR-1024", "GPEN-BFR-2048"),
        workflow="Restore a portrait",
    )
)

COLORIZE = register(
    Task(
        name="colorize",
        label="Colorize",
        help="colour the faces of grey photos",
        done="colorized",
        network_does="colorizes faces",
        network_title="face colorization network",
        options=(
            *("precision", *_CHOOSING_FACES, "mask", "feather", "strength", "upscale", "video", "max_megapixels"),
            "occlusion",
            "texture",
        ),
        accepts_aligned=True,
        adds_color=True,
        networks=("GPEN-Colorization-1024",),
        workflow="Colorize an old photograph",
    )
)

INPAINT = register(
    Task(
        name="inpaint",
        label="Fill in damage",
        help="fill in damage in the faces of photos",
        done="inpainted",
        network_does="inpaints faces",
        network_title="face inpainting network",
        options=("precision", *_CHOOSING_FACES, "feather", "damage_feather", "strength", "max_megapixels"),
        accepts_aligned=True,
        needs_damage_mask=True,
        networks=("GPEN-Inpainting-1024",),
        workflow="Fill in damage",
    )
)

SYNTHESIZE = register(
    Task(
        name="synthesize",
        aliases=("segmentation",),
        label="Face from a map",
        help="make faces from segmentation maps",
        inputs="segmentation maps",
        done="made",
        network_does="makes faces from segmentation maps",
        network_title="network that makes faces from segmentation maps",
        value_range=(0.0, 1.0),
        options=("precision", "max_megapixels"),
        always_aligned=True,
        keeps_photo=False,
        networks=("GPEN-Seg2face-512",),
        workflow="Segmentation map to face",
    )
)

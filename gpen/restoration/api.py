"""What programs call: a function for each task, and one that does any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import torch

from ..errors import PhotoError
from ..faces.align import Placement, crop_face
from ..faces.color import match_colors
from ..faces.detection.detector import FaceDetector
from ..faces.face import Face
from ..faces.masks.protect import Protection
from ..faces.paste import Canvas
from ..faces.resampling.transforms import compose, scaling
from ..faces.selection.select import FaceChoice
from ..faces.source import DetectedFaces, FaceSource, GivenFaces, WholePhoto
from ..images.picture import FloatImage
from ..images.staging import to_device
from ..images.tensors import DevicePhoto, as_tensor, check_picture
from ..options import Options, parse_face_numbers, supported
from ..tasks import RESTORE, Task, find_task
from ..weights.checkpoint import Model, require_task
from .components import Components
from .pipeline import Keep, OnProgress, PhotoWork, check_mask, check_occluder, check_parser, run_task
from .processors import FaceProcessor, Parser, PhotoInputs, with_mask_chosen
from .result import Restoration

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..faces.masks.occlusion import Occluder
    from ..faces.recognition.identity import IdentityGuard
    from ..faces.recognition.people import People

DEFAULTS = Options()


class TaskArguments(TypedDict, total=False):
    """What each function here takes besides its positional arguments; all of it may be left out."""

    region: FloatImage | None
    """(H, W); only faces whose centre lies where it is above 0.5 are worked on."""
    protect: FloatImage | None
    """(H, W); where it is above 0.5 the photo stays as it is, bit for bit, and around it faces fade in."""
    background: FloatImage | None
    """The enlarged photo (H', W', 3) that faces are pasted into; its size replaces option "upscale"."""
    occluder: Occluder | None
    """What option "occlusion" needs, as :func:`gpen.make_occluder` returns it."""
    parser: Parser | None
    """What the parsed mask needs, as :func:`gpen.make_parser` returns it; with one, the mask "auto" is parsed."""
    guard: IdentityGuard | None
    """What option "identity_guard" needs, as :func:`gpen.make_guard` returns it; the option alone has no effect."""
    people: People | None
    """Only faces of these people are worked on, as :func:`gpen.make_people` returns them."""
    on_progress: OnProgress | None
    """Called after each face; returning False stops."""
    keep_crops: bool
    """Whether the result holds each face's crops, 24 bytes for every pixel of a crop; True by default."""
    keep_layers: bool
    """Whether :meth:`Restoration.with_strength` works; False by default."""
    in_place: bool
    """Whether the photo, or the background, may become the result, which spares a copy; False by default."""


def restore(
    photo: FloatImage,
    model: Model,
    detector: FaceDetector | Sequence[Face],
    options: Options = DEFAULTS,
    **arguments: Unpack[TaskArguments],
) -> Restoration:
    """Restore the faces of a photo.

    photo: float32 (H, W, 3), RGB, [0, 1]; it is not changed. detector: finds the faces, or the faces themselves, which
    are numbered from left to right and taken whatever their score. arguments: see :class:`TaskArguments`.

    Raises GpenError, or a subclass, for everything a user can cause.
    """
    return _run(RESTORE, photo, model, detector, options, None, arguments)


def colorize(
    photo: FloatImage,
    model: Model,
    detector: FaceDetector | Sequence[Face] | None,
    options: Options = DEFAULTS,
    **arguments: Unpack[TaskArguments],
) -> Restoration:
    """Colour the faces of a grey photo.

    Only chroma comes from the network: the luma Y (BT.601) of the result is the photo's, and where a colour of that
    luma lies beyond 0 to 1 its chroma is reduced. detector: None where the photo is one aligned portrait, a square as
    the network takes it; then all of it is coloured, and there is no region. Everything else is as for
    :func:`gpen.restore`; the crops that the network was given are grey.

    Raises GpenError, or a subclass, for everything a user can cause, including a network for another task.
    """
    return run("colorize", photo, model, detector, options, **arguments)


def inpaint(
    photo: FloatImage,
    damage: FloatImage,
    model: Model,
    detector: FaceDetector | Sequence[Face] | None,
    options: Options = DEFAULTS,
    **arguments: Unpack[TaskArguments],
) -> Restoration:
    """Fill in what is damaged in the faces of a photo.

    damage: (H, W), above 0.5 where the photo is damaged. There, and in a soft edge around it as wide as option
    "damage_feather" says, the result is the network's; everywhere else it is the photo, bit for bit. Damage that no
    face's crop reaches stays, which the result's ``note`` says. detector: None where the photo is one aligned portrait;
    then there is no region. Everything else is as for :func:`gpen.restore`.

    Raises GpenError, or a subclass, for everything a user can cause, including a network for another task.
    """
    return run("inpaint", photo, model, detector, options, damage=damage, **arguments)


def synthesize(labels: FloatImage, model: Model, options: Options = DEFAULTS) -> Restoration:
    """Make a face from a segmentation map.

    labels: float32 (S, S, 3), RGB, [0, 1], a colour for each part of the face as the network was trained; of any size,
    it is resampled without mixing colours. The result's photo is the face, (out_size, out_size, 3).

    Raises GpenError where that is not a square, or the network is for another task.
    """
    return run("synthesize", labels, model, None, options)


def run(
    task: str,
    photo: FloatImage,
    model: Model,
    detector: FaceDetector | Sequence[Face] | None,
    options: Options = DEFAULTS,
    *,
    damage: FloatImage | None = None,
    **arguments: Unpack[TaskArguments],
) -> Restoration:
    """Do the task of that name (:data:`gpen.tasks.TASKS`) to a photo, as the function of the same name does it.

    damage: for "inpaint". detector: None where the photo is an aligned portrait, and for "synthesize", whose photo is
    the map. What the task does not use is ignored.
    """
    row = find_task(task)
    if row is RESTORE:
        require_task(model)
    else:
        model = model.for_task(row.name)
    return _run(row, photo, model, detector, options, damage, arguments)


def _run(
    task: Task,
    photo: FloatImage,
    model: Model,
    detector: FaceDetector | Sequence[Face] | None,
    options: Options,
    damage: FloatImage | None,
    arguments: TaskArguments,
) -> Restoration:
    if unknown := arguments.keys() - TaskArguments.__annotations__.keys():
        raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
    work = PhotoWork(
        photo=photo,
        source=face_source(task, options, detector, people=arguments.get("people")),
        inputs=PhotoInputs(
            region=arguments.get("region") if task.looks_for_faces else None,
            background=arguments.get("background") if task.accepts_background else None,
            damage=damage,
            protect=arguments.get("protect") if task.keeps_photo else None,
        ),
        keep=Keep(
            crops=arguments.get("keep_crops", True),
            layers=arguments.get("keep_layers", False),
            photo=not arguments.get("in_place", False),
        ),
        on_progress=arguments.get("on_progress"),
    )
    components = Components(
        model=model,
        parser=arguments.get("parser"),
        occluder=arguments.get("occluder"),
        guard=arguments.get("guard"),
    )
    return run_task(task, work, components, options)


def face_choice(options: Options, people: People | None = None) -> FaceChoice:
    """What the options ask of faces, and whose they have to be; None: anybody's."""
    return FaceChoice(
        numbers=parse_face_numbers(options.only_faces),
        min_size=options.min_face_size,
        max_size=options.max_face_size,
        max_sharpness=options.skip_sharp,
        select=options.select,
        people=people,
    )


def face_source(
    task: Task,
    options: Options,
    detector: FaceDetector | Sequence[Face] | None,
    *,
    aligned: bool = False,
    people: People | None = None,
    choice: FaceChoice | None = None,
) -> FaceSource:
    """Where the faces of a photo come from: what finds them, or the faces themselves.

    None, or ``aligned``: the photo is one face. people: only their faces. choice: in place of :func:`face_choice`.
    TypeError for anything else than a detector or a sequence.
    """
    if task.always_aligned:
        return WholePhoto(f"A {task.input}")
    if detector is None or aligned:
        return WholePhoto()
    choice = choice or face_choice(supported(options, task), people)
    if isinstance(detector, Sequence) and not isinstance(detector, str):
        return GivenFaces(detector, choice)
    if not hasattr(detector, "detect"):
        found = type(detector).__name__
        raise TypeError(f"detector is a {found}; it has to be a face detector or a sequence of faces")
    return DetectedFaces(detector, choice, options.detection_threshold)


def paste(
    photo: FloatImage,
    crops: Sequence[tuple[Placement, FloatImage]],
    options: Options = DEFAULTS,
    *,
    protect: FloatImage | None = None,
    parser: Parser | None = None,
    occluder: Occluder | None = None,
    device: torch.device | str = "cpu",
) -> tuple[FloatImage, FloatImage]:
    """Paste crops that were taken from a photo, and changed since: the second half of :func:`restore`.

    photo: float32 (H, W, 3), RGB, [0, 1]; it is not changed. crops: each with its placement, for a square of any
    size, and the crop, float32 (S, S, 3), whose size may be another. protect: as in
    :class:`TaskArguments`, and parser and occluder, too. device: where crops are pasted, the parser's.
    Returns the photo and the mask (H, W), as in :class:`Restoration`.

    Raises PhotoError for a crop that is not a square picture, and GpenError as :func:`restore` does.
    """
    check_picture(photo, "photo")
    check_parser(options, parser)
    check_occluder(options, occluder)
    check_mask(protect, "what is protected", *photo.shape[:2])
    options = with_mask_chosen(options, has_parser=parser is not None)
    under = DevicePhoto(photo, torch.device(device))
    processor, canvas = FaceProcessor(under, PhotoInputs()), Canvas(under, grain=options.grain)
    protection = None if protect is None else Protection(protect, canvas.size, under.device)
    for placement, crop in crops:
        check_picture(crop, "crop")
        if crop.shape[0] != crop.shape[1]:
            raise PhotoError(
                f"A crop is {crop.shape[1]} x {crop.shape[0]} pixels; it has to stay a square, of any size, to be "
                "pasted where it was taken from."
            )
        pasted = to_device(as_tensor(crop), under.device)
        before = pasted  # stands for the crop where nothing looks at it
        if options.color_match != "none" or options.occlusion != "none":
            before = crop_face(under, placement.matrix, placement.size)
        visible = processor.visible(before, placement, options, occluder)
        mask = processor.mask(pasted, placement, options, parser, visible)
        pasted = match_colors(options.color_match, pasted, before, mask)
        to_crop = compose(scaling(crop.shape[0] / placement.size), placement.matrix)
        region_mask = None if protection is None else protection.region_mask(placement.face)
        canvas.add(pasted, to_crop, mask, region_mask, area=processor.mask_area(placement, options))
    return canvas.blend(options.strength)

"""Batches of frames, as nodes pass them on: faces are found in them, cropped, restored and pasted.

Frames are float (B, H, W, C), [0, 1]: RGB, RGBA or grey. They are processed one by one; the results are allocated
once for the whole batch.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...gpen.errors import FaceError
from ...gpen.faces.align import crop_face, place
from ...gpen.faces.detection.detector import FaceDetector
from ...gpen.faces.drawing import draw_faces
from ...gpen.faces.face import Face
from ...gpen.faces.masks.occlusion import Occluder
from ...gpen.faces.recognition.people import People
from ...gpen.faces.selection.select import select_tracked
from ...gpen.faces.selection.traits import FaceTraits
from ...gpen.faces.source import ChosenFaces, FaceSource, FoundFace
from ...gpen.faces.tracking.shot_cuts import Thumbnail, find_cuts, thumbnail
from ...gpen.faces.tracking.texture import FrameTexture, SteadyTexture
from ...gpen.faces.tracking.tracks import track_faces, without_tracking
from ...gpen.images.picture import FloatImage
from ...gpen.images.tensors import DevicePhoto, as_array
from ...gpen.network.spec import Spec
from ...gpen.options import Options
from ...gpen.restoration.api import face_choice, face_source, paste
from ...gpen.restoration.components import Components
from ...gpen.restoration.pipeline import Keep, OnProgress, PhotoWork, run_tasks
from ...gpen.restoration.processors import Parser, PhotoInputs
from ...gpen.restoration.result import Restoration, RestoredFace
from ...gpen.tasks import Task
from ...gpen.wording import count
from .found_faces import FoundFaces, FrameFace
from .image_batches import (
    FLOAT32_ON_CPU,
    OutputFormat,
    check_not_empty,
    empty,
    empty_results,
    masks_by_frame,
    photo_of,
    put,
)

OnStep = Callable[[int, int, FloatImage | None], None]
"""Called with the amount done, the total, and the face just done; raise an exception to stop."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RestoredFrames:
    """What became of a batch of frames."""

    images: Tensor
    """(B, H, W, 3 or 4), [0, 1]."""
    mask: Tensor
    """(B, H, W), how much of each pixel is restored face."""
    after: Tensor
    """(N, S, S, 3), the restored faces, in order."""
    before: Tensor
    """(N, S, S, 3), the same faces as the network saw them."""
    faces: int
    """How many faces were restored; N, but for the black crop of none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameInputs:
    """What belongs to frames besides their pixels."""

    background: Callable[[int], FloatImage] | None = None
    """Returns, for a frame's index, the enlarged photo that its faces are pasted into."""
    damage: Tensor | None = None
    """(1 or B, h, w), above 0.5 where the frames are damaged, for inpainting; resized to the frames."""
    protect: Tensor | None = None
    """(1 or B, h, w), above 0.5 where the frames stay as they are; resized to the frames."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameHost:
    """Hooks of the host, and what it wants the results to be."""

    before_frame: Callable[[], None] = lambda: None
    """Called before the network runs on a frame."""
    on_step: OnStep = lambda done, total, face: None
    """Called as frames and faces are done."""
    output: OutputFormat = FLOAT32_ON_CPU
    """Device and dtype of the results."""


def find_faces(
    frames: Tensor,
    detector: FaceDetector,
    options: Options,
    region: Tensor | None = None,
    on_step: OnStep | None = None,
    people: People | None = None,
) -> FoundFaces:
    """Detect the faces of each frame, track them with option "video", and choose among them.

    region: (1 or B, h, w), resized to the frames; only faces whose centre lies where it is above 0.5 are chosen.
    people: whose faces are chosen; None: everybody's. PhotoError for another number of masks, or an empty batch.
    """
    check_not_empty(frames)
    number, height, width = frames.shape[:3]
    regions = masks_by_frame(region, number, height, width)
    found: list[list[Face]] = []
    thumbnails: list[Thumbnail] = []  # for a video only
    traits: list[list[FaceTraits]] = []  # where the choice needs them
    choice = replace(face_choice(options, people), min_score=options.detection_threshold)
    for index in range(number):
        photo = photo_of(frames[index])
        found.append(detector.detect(photo, options.detection_threshold))
        if choice.needs_pixels:
            traits.append(choice.measure(photo, found[-1]))
        if options.video:
            thumbnails.append(thumbnail(photo))
        if on_step is not None:
            on_step(index + 1, number, None)
    chosen: list[FrameFace] = []
    left_out: list[FrameFace] = []
    tracked = track_faces(found, find_cuts(thumbnails), traits) if options.video else without_tracking(found, traits)
    for index, faces in enumerate(tracked):
        reasons = select_tracked(faces, choice, (width, height), regions(index))
        for position, face in enumerate(faces):
            reason = reasons.get(position, "")
            (left_out if reason else chosen).append(FrameFace(index, face.number, face.face, reason=reason))
    return FoundFaces(number, width, height, tuple(chosen), tuple(left_out), options.video)


def restore_frames(
    task: Task,
    frames: Tensor,
    components: Components,
    found: FoundFaces | None,
    options: Options,
    *,
    inputs: FrameInputs = FrameInputs(),
    host: FrameHost = FrameHost(),
) -> RestoredFrames:
    """Do a task to the chosen faces of each frame.

    The faces of all frames share calls of the network. If they were tracked, option "texture" applies, wherever that
    was asked for. components: as for
    :func:`~gpen.restoration.pipeline.run_tasks`; no detector is used. found: None where each frame is
    one aligned face. Where no face was chosen, ``after`` and ``before`` of the result hold one black crop each.

    Raises GpenError, or a subclass, for everything a user can cause, and what ``host.on_step`` raises.
    """
    check_not_empty(frames)
    total = len(found.chosen) if found is not None else len(frames)
    results = _Results(task, frames, total, components.model.spec, host)
    works = _works(task, frames, found, options, inputs, host, results.add_face)
    for index, restoration in enumerate(run_tasks(task, works, components, options)):
        results.add_frame(index, restoration)
    return results.restored


def _works(
    task: Task,
    frames: Tensor,
    found: FoundFaces | None,
    options: Options,
    inputs: FrameInputs,
    host: FrameHost,
    on_progress: OnProgress,
) -> Iterator[PhotoWork]:
    """What is to be done to each frame."""
    scale = found.scale_to(frames) if found is not None else (1.0, 1.0)
    damages, protects = (masks_by_frame(masks, *frames.shape[:3]) for masks in (inputs.damage, inputs.protect))
    steady = found is not None and found.is_video and options.texture > 0
    texture = SteadyTexture(options.texture) if steady else None
    for index, frame in enumerate(frames):
        chosen = found.of_frame(index) if found is not None else None
        if chosen is None or chosen:
            host.before_frame()
        background = None if inputs.background is None else inputs.background(index)
        yield PhotoWork(
            photo=photo_of(frame),
            source=_source(task, options, chosen, scale),
            inputs=PhotoInputs(background=background, damage=damages(index), protect=protects(index)),
            keep=Keep(crops=False),
            on_progress=on_progress,
            texture=None if texture is None else FrameTexture(texture, index),
        )


class _Results:
    """Collects what becomes of a batch of frames, on the device where the host wants it."""

    def __init__(self, task: Task, frames: Tensor, faces: int, spec: Spec, host: FrameHost) -> None:
        self._frames = frames
        self._host = host
        self._has_alpha = frames.shape[3] == 4 and task.keeps_photo
        self._faces = faces
        self._done = 0
        self._after = _empty_crops(faces, spec.out_size, host.output)
        self._before = _empty_crops(faces, spec.in_size, host.output)
        self._images: Tensor | None = None
        self._mask: Tensor | None = None

    def add_face(self, _done: int, _total: int, face: RestoredFace | None) -> None:
        """Keep a face's crops, and show them; called as the pipeline calls ``OnProgress``."""
        preview = None
        if face is not None and face.crops is not None:
            self._after[self._done] = face.crops.after
            self._before[self._done] = face.crops.before
            preview = as_array(self._after[self._done])
            self._done += 1
        self._host.on_step(self._done, self._faces, preview)

    def add_frame(self, index: int, restoration: Restoration) -> None:
        """Keep a frame's result; the log says what was skipped."""
        for skipped in restoration.skipped:
            _log.warning("Face %d of photo %d was skipped: %s", skipped.number, index, skipped.reason)
        if restoration.note:
            _log.warning("Photo %d: %s", index, restoration.note)
        if self._images is None or self._mask is None:
            shape = restoration.photo.shape[:2]
            self._images, self._mask = empty_results(len(self._frames), shape, self._has_alpha, self._host.output)
        put(self._images, index, restoration.photo, self._frames)
        self._mask[index] = torch.from_numpy(restoration.mask)

    @property
    def restored(self) -> RestoredFrames:
        """The whole batch."""
        assert self._images is not None
        assert self._mask is not None
        number = max(self._done, 1)
        return RestoredFrames(self._images, self._mask, self._after[:number], self._before[:number], self._done)


def _source(task: Task, options: Options, chosen: Sequence[FrameFace] | None, scale: tuple[float, float]) -> FaceSource:
    """The chosen faces of one frame; None: the whole frame is one face."""
    if chosen is None:
        return face_source(task, options, None)
    return ChosenFaces([FoundFace(face.number, face.face.scaled(*scale)) for face in chosen])


def crop_faces(
    frames: Tensor, found: FoundFaces, size: int, template: str, output: OutputFormat = FLOAT32_ON_CPU
) -> tuple[Tensor, FoundFaces]:
    """Crop the chosen faces: (N, size, size, 3), and the faces with their placements in the crops.

    One black crop where no face was chosen. A face that cannot be aligned is left out, with the reason.
    """
    wide, high = found.scale_to(frames)
    crops = _empty_crops(len(found.chosen), size, output)
    chosen: list[FrameFace] = []
    left_out = list(found.left_out)
    for index in range(found.frames):
        photo = DevicePhoto(photo_of(frames[index]), torch.device(output.device))
        for face in found.of_frame(index):
            try:
                placement = place(face.face.scaled(wide, high), size, template)
                crops[len(chosen)] = crop_face(photo, placement.matrix, size)
            except FaceError as error:
                _log.warning("Face %d of photo %d cannot be cropped: %s", face.number, index, str(error))
                left_out.append(replace(face, reason=str(error)))
                continue
            chosen.append(replace(face, placement=placement.in_photo_scaled(1 / wide, 1 / high)))
    return crops[: max(len(chosen), 1)], replace(found, chosen=tuple(chosen), left_out=tuple(left_out))


def paste_faces(
    frames: Tensor,
    crops: Tensor,
    found: FoundFaces,
    options: Options,
    *,
    protect: Tensor | None = None,
    parser: Parser | None = None,
    occluder: Occluder | None = None,
    host: FrameHost = FrameHost(),
) -> tuple[Tensor, Tensor]:
    """Paste crops from :func:`crop_faces`, changed since, into the frames.

    crops: (N, S, S, C), of any size S, in the order of the faces. protect: as in :class:`FrameInputs`. Returns the
    frames (B, H, W, 3 or 4) and the mask (B, H, W). FaceError where crops and faces differ in number, or the faces were
    never cropped.
    """
    scale = found.scale_to(frames)
    _check_crops(crops, found)
    protects = masks_by_frame(protect, *frames.shape[:3])
    images, mask = empty_results(len(frames), frames.shape[1:3], frames.shape[3] == 4, host.output)
    paste_crops = functools.partial(paste, options=options, parser=parser, occluder=occluder, device=host.output.device)
    done = 0
    for index in range(found.frames):
        photo, placed = photo_of(frames[index]), []
        for face in found.of_frame(index):
            assert face.placement is not None
            placed.append((face.placement.in_photo_scaled(*scale), photo_of(crops[done])))
            done += 1
        result, weights = paste_crops(photo, placed, protect=protects(index))
        put(images, index, result, frames)
        mask[index] = torch.from_numpy(weights)
        host.on_step(index + 1, found.frames, None)
    return images, mask


def draw_frames(frames: Tensor, found: FoundFaces, output: OutputFormat = FLOAT32_ON_CPU) -> Tensor:
    """The frames (B, H, W, 3) with a numbered box around each face; grey around those left out."""
    images = empty((*frames.shape[:3], 3), output)
    for index in range(found.frames):
        chosen, others = (
            [(face.number, face.face) for face in faces if face.frame == index]
            for faces in (found.chosen, found.left_out)
        )
        drawing = draw_faces(photo_of(frames[index]), chosen, skipped=others)
        images[index] = torch.from_numpy(drawing.astype(np.float32) / 255)
    return images


def _check_crops(crops: Tensor, found: FoundFaces) -> None:
    if any(face.placement is None for face in found.chosen):
        raise FaceError(
            "These faces were detected but not cropped, so their positions in the crops are unknown. Connect the faces "
            "that come with the crops."
        )
    # The black crop that stands for none is no error.
    if len(crops) != len(found.chosen) and (found.chosen or len(crops) != 1):
        raise FaceError(
            f"There {'is' if len(crops) == 1 else 'are'} {count(len(crops), 'crop')} for "
            f"{count(len(found.chosen), 'face')}; there must be one for each. Pass on every crop, in the same order."
        )


def _empty_crops(number: int, size: int, output: OutputFormat) -> Tensor:
    """Memory for square crops, at least one; the first is black, and stays so where there is no face."""
    crops = empty((max(number, 1), size, size, 3), output)
    crops[0] = 0
    return crops

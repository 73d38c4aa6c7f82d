"""Batches of frames, as node graphs pass them on: faces found in them, cropped, restored and pasted.

Frames are (B, H, W, C), float, 0 to 1: RGB, RGBA or grey. They are worked on one by one; a result for all of
them is allocated once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...gpen.device import is_out_of_memory
from ...gpen.errors import FaceError, OutOfMemoryError, PhotoError
from ...gpen.faces.align import Placement, crop_face, place
from ...gpen.faces.detection.detector import FaceDetector
from ...gpen.faces.drawing import draw_faces
from ...gpen.faces.face import Face
from ...gpen.faces.select import select_tracked
from ...gpen.faces.source import ChosenFaces, FaceSource, FoundFace
from ...gpen.faces.tracking.shot_cuts import Thumbnail, find_cuts, thumbnail
from ...gpen.faces.tracking.tracks import each_alone, track_faces
from ...gpen.images.picture import FloatImage
from ...gpen.images.resize import resize
from ...gpen.options import Options
from ...gpen.restoration.api import face_choice, face_source, paste
from ...gpen.restoration.components import Components
from ...gpen.restoration.pipeline import Keep, run_task
from ...gpen.restoration.processors import Parser, PhotoInputs
from ...gpen.restoration.result import RestoredFace
from ...gpen.tasks import Task
from ...gpen.wording import count

OnStep = Callable[[int, int, FloatImage | None], None]
"""Called with how much is done, how much there is to do, and the face just done; may raise, to stop."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FrameFace:
    """A face in one of the frames."""

    frame: int
    """The index of the frame."""
    number: int
    """Its position in that frame, from left to right, from 0; in a video the number of its track."""
    face: Face
    """Box, score and landmarks, in pixels of the frame."""
    placement: Placement | None = None
    """Where it lies in its crop, once it was cropped."""
    reason: str = ""
    """Why it was skipped, or empty."""


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """The faces of a batch of frames."""

    frames: int
    """How many frames there are."""
    width: int
    """Of each frame, in pixels."""
    height: int
    """Of each frame, in pixels."""
    chosen: tuple[FrameFace, ...]
    """The faces to work on."""
    left_out: tuple[FrameFace, ...] = ()
    """The others."""

    @property
    def summary(self) -> str:
        """One sentence for people."""
        if not self.chosen and not self.left_out:
            return f"No face was found in {count(self.frames, 'picture')}."
        chosen = f"{count(len(self.chosen), 'face')} chosen in {count(self.frames, 'picture')}"
        if not self.left_out:
            return f"{chosen}."
        reasons = list(dict.fromkeys(face.reason for face in self.left_out))
        more = ", …" if len(reasons) > 1 else ""
        return f"{chosen}, {len(self.left_out)} skipped ({reasons[0]}{more})."

    def of_frame(self, frame: int) -> list[FrameFace]:
        """The chosen faces of one frame, from left to right."""
        return [face for face in self.chosen if face.frame == frame]

    def scale_to(self, frames: Tensor) -> tuple[float, float]:
        """How much wider and higher these frames are; PhotoError where they cannot be the same pictures."""
        number, height, width = frames.shape[:3]
        wide, high = width / self.width, height / self.height
        if number != self.frames or abs(wide - high) > max(wide, high) / min(height, width):
            raise PhotoError(
                f"The faces were found in {count(self.frames, 'picture')} of {self.width} x {self.height} pixels; "
                f"here {'is' if number == 1 else 'are'} {number} of {width} x {height}. Connect the pictures that "
                "the faces were found in, or the same ones enlarged."
            )
        return wide, high


@dataclass(frozen=True, eq=False)
class RestoredFrames:
    """What became of a batch of frames."""

    images: Tensor
    """(B, H, W, 3 or 4)."""
    mask: Tensor
    """(B, H, W), how much of each pixel is restored face."""
    after: Tensor
    """(N, S, S, 3), the restored faces in order."""
    before: Tensor
    """The same as the network saw them."""
    faces: int
    """How many there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameInputs:
    """What belongs to frames besides their pixels."""

    background: Callable[[int], FloatImage] | None = None
    """Gives for a frame's index the enlarged photo that its faces are pasted into."""
    damage: Tensor | None = None
    """(1 or B, h, w), above 0.5 where the frames are damaged, for inpainting; stretched over them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameHost:
    """What the host wants while frames are worked on."""

    before_frame: Callable[[], None] = lambda: None
    """Called before the network is used for a frame."""
    on_step: OnStep = lambda done, total, face: None
    """Shows progress."""
    device: torch.device | str = "cpu"
    """Where the results go."""


def photo_of(frame: Tensor) -> FloatImage:
    """One frame (H, W, C) as a photo: float32 (H, W, 3), RGB. Alpha is left out, grey becomes RGB.

    PhotoError for another number of channels.
    """
    if frame.ndim != 3 or frame.shape[2] not in (1, 3, 4):
        raise PhotoError(
            f"The picture has the shape {tuple(frame.shape)}; it has to be (H, W, C) with 1, 3 or 4 channels."
        )
    channels = frame[..., :3] if frame.shape[2] > 1 else frame.expand(-1, -1, 3)
    return np.ascontiguousarray(channels.detach().to("cpu", torch.float32).numpy())


def find_faces(
    frames: Tensor,
    detector: FaceDetector,
    options: Options,
    region: Tensor | None = None,
    on_step: OnStep | None = None,
) -> FoundFaces:
    """Find the faces of each frame, follow them where the options say so, and choose among them.

    region: (1 or B, h, w), only faces whose centre lies where it is above 0.5; of any size, it is stretched over
    the frames. PhotoError for another number of masks, or no frame.
    """
    _check_number(frames)
    number, height, width = frames.shape[:3]
    regions = _masks(region, number, height, width)
    found: list[list[Face]] = []
    thumbnails: list[Thumbnail] = []  # of a video only
    for index in range(number):
        photo = photo_of(frames[index])
        found.append(detector.detect(photo, options.detection_threshold))
        if options.video:
            thumbnails.append(thumbnail(photo))
        if on_step is not None:
            on_step(index + 1, number, None)
    chosen: list[FrameFace] = []
    left_out: list[FrameFace] = []
    choice = replace(face_choice(options), min_score=options.detection_threshold)
    numbered = track_faces(found, find_cuts(thumbnails)) if options.video else each_alone(found)
    for index, faces in enumerate(numbered):
        reasons = select_tracked(faces, choice, (width, height), regions(index))
        for place_in_frame, face in enumerate(faces):
            reason = reasons.get(place_in_frame, "")
            (left_out if reason else chosen).append(FrameFace(index, face.number, face.face, reason=reason))
    return FoundFaces(number, width, height, tuple(chosen), tuple(left_out))


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

    found: None where each frame is one aligned face. Where no face was chosen, ``after`` and ``before`` of the result
    hold one black picture each.
    """
    _check_number(frames)
    scale = found.scale_to(frames) if found is not None else (1.0, 1.0)
    number, height, width = frames.shape[:3]
    damages = _masks(inputs.damage, number, height, width)
    spec = components.model.spec
    total, done = len(found.chosen) if found is not None else number, 0
    after = _crops(total, spec.out_size, host.device)
    before = _crops(total, spec.in_size, host.device)
    images: Tensor | None = None
    mask: Tensor | None = None

    def keep(_done: int, _total: int, face: RestoredFace | None) -> None:
        nonlocal done
        if face is not None and face.after is not None and face.before is not None:
            after[done] = torch.from_numpy(face.after)
            before[done] = torch.from_numpy(face.before)
            done += 1
        host.on_step(done, total, face.after if face is not None else None)

    for index in range(number):
        photo = photo_of(frames[index])
        chosen = found.of_frame(index) if found is not None else []
        if found is None or chosen:
            host.before_frame()
        result = run_task(
            task,
            photo,
            _source(task, options, None if found is None else chosen, scale),
            components,
            options,
            inputs=PhotoInputs(
                background=inputs.background(index) if inputs.background is not None else None, damage=damages(index)
            ),
            keep=Keep(crops=False),
            on_progress=keep,
        )
        for skipped in result.skipped:
            _log.warning("Face %d of picture %d was skipped: %s", skipped.number, index, skipped.reason)
        if result.note:
            _log.warning("Picture %d: %s", index, result.note)
        if images is None or mask is None:
            has_alpha = frames.shape[3] == 4 and task.keeps_photo
            images, mask = _results(number, result.photo.shape[:2], has_alpha, host.device)
        _put(images, index, result.photo, frames)
        mask[index] = torch.from_numpy(result.mask)
    assert images is not None
    assert mask is not None
    return RestoredFrames(images, mask, after[: max(done, 1)], before[: max(done, 1)], done)


def _source(task: Task, options: Options, chosen: Sequence[FrameFace] | None, scale: tuple[float, float]) -> FaceSource:
    """The faces of one frame, which were chosen where they were found; None: all of it is one."""
    if chosen is None:
        return face_source(task, options, None)
    return ChosenFaces([FoundFace(face.number, face.face.scaled(*scale)) for face in chosen])


def crop_faces(
    frames: Tensor, found: FoundFaces, size: int, template: str, device: torch.device | str = "cpu"
) -> tuple[Tensor, FoundFaces]:
    """Crop the chosen faces: (N, size, size, 3), and the faces with their placements in the crops.

    One black picture where no face was chosen.
    """
    wide, high = found.scale_to(frames)
    crops = _crops(len(found.chosen), size, device)
    chosen: list[FrameFace] = []
    left_out = list(found.left_out)
    for index in range(found.frames):
        photo = photo_of(frames[index])
        for face in found.of_frame(index):
            try:
                placement = place(face.face.scaled(wide, high), size, template)
                crops[len(chosen)] = torch.from_numpy(crop_face(photo, placement.matrix, size))
            except FaceError as error:
                _log.warning("Face %d of picture %d cannot be cropped: %s", face.number, index, error)
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
    parser: Parser | None = None,
    on_step: OnStep | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Paste crops that :func:`crop_faces` made, and that were changed since, into the frames.

    crops: (N, S, S, C), of any size, in the order of the faces. Returns the frames and the mask (B, H, W).
    FaceError where they are not as many as the faces, or the faces were never cropped.
    """
    scale = found.scale_to(frames)
    _check_crops(crops, found)
    images, mask = _results(len(frames), frames.shape[1:3], frames.shape[3] == 4, device)
    done = 0
    for index in range(found.frames):
        photo, placed = photo_of(frames[index]), []
        for face in found.of_frame(index):
            assert face.placement is not None
            placed.append((face.placement.in_photo_scaled(*scale), photo_of(crops[done])))
            done += 1
        result, weights = paste(photo, placed, options, parser=parser)
        _put(images, index, result, frames)
        mask[index] = torch.from_numpy(weights)
        if on_step is not None:
            on_step(index + 1, found.frames, None)
    return images, mask


def draw_frames(frames: Tensor, found: FoundFaces, device: torch.device | str = "cpu") -> Tensor:
    """The frames (B, H, W, 3) with a numbered box around each face, in grey around those left out."""
    images = _room((*frames.shape[:3], 3), device)
    for index in range(found.frames):
        chosen, others = (
            [(face.number, face.face) for face in faces if face.frame == index]
            for faces in (found.chosen, found.left_out)
        )
        drawing = draw_faces(photo_of(frames[index]), chosen, left_out=others)
        images[index] = torch.from_numpy(drawing.astype(np.float32) / 255)
    return images


def _check_number(frames: Tensor) -> None:
    if not len(frames):
        raise PhotoError("There is no picture: the batch is empty.")


def _masks(mask: Tensor | None, number: int, height: int, width: int) -> Callable[[int], FloatImage | None]:
    """Gives for a frame's index its mask, stretched over it; PhotoError for another number of masks."""
    if mask is None:
        return lambda index: None
    masks = mask.detach().to("cpu", torch.float32)
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or masks.shape[0] not in (1, number):
        raise PhotoError(
            f"The mask has the shape {tuple(masks.shape)}; for {count(number, 'picture')} it has to hold one mask"
            f"{'' if number == 1 else f', or {number}'}."
        )

    def stretched(index: int) -> FloatImage:
        mask = masks[index if len(masks) > 1 else 0][None, None]
        return np.asarray(torch.nn.functional.interpolate(mask, (height, width), mode="bilinear")[0, 0].numpy())

    return stretched


def _check_crops(crops: Tensor, found: FoundFaces) -> None:
    if any(face.placement is None for face in found.chosen):
        raise FaceError(
            "These faces were found, but not cropped, so it is not known where in the crops they lie. Connect the "
            "faces that come with the crops."
        )
    # What stands for no crop where there was no face is one picture too.
    if len(crops) != len(found.chosen) and (found.chosen or len(crops) != 1):
        raise FaceError(
            f"There {'is' if len(crops) == 1 else 'are'} {count(len(crops), 'crop')} for "
            f"{count(len(found.chosen), 'face')}. Every crop has to come back, in the same order."
        )


def _crops(number: int, size: int, device: torch.device | str) -> Tensor:
    """Room for square pictures; the first is black, and stays when there is none to put there."""
    pictures = _room((max(number, 1), size, size, 3), device)
    pictures[0] = 0
    return pictures


def _room(shape: tuple[int, ...], device: torch.device | str) -> Tensor:
    """An empty tensor; OutOfMemoryError that says how much it would have taken."""
    try:
        return torch.empty(shape, dtype=torch.float32, device=device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{count(shape[0], 'picture')} of {shape[2]} x {shape[1]} pixels would take "
            f"{4 * math.prod(shape) / 1e9:.1f} GB, and there is less memory. Work on fewer pictures at a time, or "
            "choose a smaller network or upscale."
        ) from error


def _results(number: int, shape: Sequence[int], has_alpha: bool, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Room for all frames at (height, width), and for their masks."""
    size = (number, *shape)
    return _room((*size, 4 if has_alpha else 3), device), _room(size, device)


def _put(images: Tensor, index: int, photo: FloatImage, frames: Tensor) -> None:
    if photo.shape[:2] != images.shape[1:3]:
        raise PhotoError(
            f"Picture {index} would become {photo.shape[1]} x {photo.shape[0]} pixels, the first one is "
            f"{images.shape[2]} x {images.shape[1]}. All pictures of a batch have to have one size."
        )
    images[index, ..., :3] = torch.from_numpy(photo)
    if images.shape[3] == 4:
        alpha = np.ascontiguousarray(frames[index, ..., 3].detach().to("cpu", torch.float32).numpy())
        images[index, ..., 3] = torch.from_numpy(resize(alpha, (photo.shape[1], photo.shape[0])))

"""What GPEN networks do besides restoring: colour, fill in damage, make a face of a segmentation map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import OptionError, PhotoError
from .face_task import FaceTask, Parser
from .faces.align import TEMPLATES, Placement, cut
from .faces.detect import FaceDetector
from .faces.face import Face
from .faces.identity import IdentityGuard
from .faces.mask import FACE_HEIGHT, face_mask
from .faces.mask import SIZE as MASK_SIZE
from .faces.paste import Join, Weights
from .faces.resample import Image, apply, invert, scaling, warp
from .model.checkpoint import Model, require_task
from .options import Options, heeded
from .pipeline import DEFAULTS, OnProgress, check_photo, enlarge, layers_of, restore, restore_crops, run_task
from .restoration import Restoration, RestoredFace, SkippedFace

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in the luma Y of ITU-R BT.601."""

_PREFERENCE = 8
"""How decidedly the nearest of several faces fills in damage that all reach: the power of its nearness."""

_LEAST_FEATHER = 1.0
"""Pixels. Less would leave the stairs of the mask's own pixels."""


class Colorization(FaceTask):
    """Colours faces: the network's colours at the photo's own luma."""

    done = "colorized"

    @property
    def join(self) -> Join:
        """The luma stays the photo's."""
        return with_luma_of

    def before(self, crop: Image) -> Image:
        """Grey, as the network was trained."""
        return np.repeat(luma(crop)[..., None], 3, axis=2)


class Inpainting(FaceTask):
    """Fills in damage. damage: (H, W) of the photo, above 0.5 where it is damaged."""

    done = "inpainted"

    def __init__(self, damage: NDArray[np.float32]) -> None:
        super().__init__()
        self._damaged = damage > 0.5
        self._any = bool(self._damaged.any())

    def source(self, photo: Image) -> Image:
        """The photo with the damage painted white, as the network was trained."""
        painted: Image = photo.copy()
        painted[self._damaged] = 1
        return painted

    def needless(self, placement: Placement) -> str:
        """Whether no damage lies in what the network sees of the face."""
        end = placement.size - 1
        square = np.array([[0, 0], [end, 0], [end, end], [0, end]], float)
        corners = apply(invert(placement.matrix), square)
        if not self._any:
            return "nothing is damaged"
        low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        high = np.ceil(corners.max(axis=0)).astype(int) + 1
        part: NDArray[np.bool_] = self._damaged[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
        inside = np.zeros(part.shape, np.uint8)
        if part.size:
            cv2.fillConvexPoly(inside, np.rint(corners - low).astype(np.int32), 1)
        return "" if (part & (inside > 0)).any() else "no damage in it"

    def mask(self, crop: Image, placement: Placement, options: Options, parser: Parser | None) -> Image:
        """Nearly the whole crop: damage is filled in wherever the network sees it."""
        return face_mask("box", placement.landmarks, options.feather)

    def weights(self, face: Face, options: Options) -> Weights:
        """1 where the photo is damaged, falling to 0 around it."""
        return lambda rows, columns: self.soft(face, options, rows, columns)

    def soft(self, face: Face, options: Options, rows: slice, columns: slice) -> Image:
        """The damage with a soft edge that follows the size of a face, in some rows and columns of the photo."""
        eyes, mouth = face.landmarks[:2].mean(axis=0), face.landmarks[3:].mean(axis=0)
        height = FACE_HEIGHT * float(np.linalg.norm(mouth - eyes))
        # The pixel next to damage is at a distance of 1.
        width = max(options.damage_feather * height, _LEAST_FEATHER) + 1
        # No farther around: beyond the width nothing depends on how far the damage is.
        margin = math.ceil(width)
        above, left = min(margin, rows.start), min(margin, columns.start)
        around = self._damaged[rows.start - above : rows.stop + margin, columns.start - left : columns.stop + margin]
        if not around.any():
            return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        distance = cv2.distanceTransform((~around).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        inside = distance[above : above + rows.stop - rows.start, left : left + columns.stop - columns.start]
        rising = np.clip(1 - inside / np.float32(width), 0, 1)
        return np.asarray(rising * rising * (3 - 2 * rising), dtype=np.float32)

    def priority(self, placement: Placement) -> Image:
        """The nearest face fills in what several reach: its crop shows most of what is around."""
        eyes, mouth = placement.landmarks[:2].mean(axis=0), placement.landmarks[3:].mean(axis=0)
        middle, unit = (eyes + mouth) / 2 * MASK_SIZE, float(np.linalg.norm(mouth - eyes)) * MASK_SIZE
        steps = np.arange(MASK_SIZE)
        squared = ((steps - middle[0]) ** 2 + ((steps - middle[1]) ** 2)[:, None]) / unit**2
        return np.asarray((1 + squared) ** -float(_PREFERENCE), dtype=np.float32)

    def note(self, mask: Image, options: Options) -> str:
        """How much of the damage is still there."""
        if not self._any:
            return "The mask is black: nothing is marked as damaged."
        if options.strength == 0:
            return "The strength is 0: nothing was changed."
        left = float((self._damaged & (mask < options.strength / 2)).sum() / self._damaged.sum())
        return f"{left:.0%} of the damage lies outside of the faces and stays." if left >= 0.005 else ""


DONE_BY = {
    "restore": FaceTask.done,
    "colorize": Colorization.done,
    "inpaint": Inpainting.done,
    "segmentation": "made",
}
"""What is done to a face by each task, in a word."""


def colorize(
    photo: Image,
    model: Model,
    detector: FaceDetector | Sequence[Face] | None,
    options: Options = DEFAULTS,
    *,
    on_progress: OnProgress | None = None,
    region: NDArray[np.float32] | None = None,
    background: Image | None = None,
    parser: Parser | None = None,
    keep_crops: bool = True,
    keep_layers: bool = False,
    in_place: bool = False,
) -> Restoration:
    """Colour the faces of a grey photo.

    Only chroma comes from the network: the luma Y (BT.601) of the result is the photo's, and where a colour of that
    luma lies beyond 0 to 1 its chroma is reduced. detector: None where the photo is one aligned portrait, a square as
    the network takes it; then all of it is coloured, and there is no region. Options that the task does not heed
    (:data:`gpen.options.OPTIONS_OF`) do not count. Everything else is as for :func:`gpen.restore`; what the network
    was given in the place of the photo is grey.

    Raises GpenError, or a subclass, for everything a user can cause, a network for another task among it.
    """
    model, options = model.for_task("colorize"), heeded(options, "colorize")
    task = Colorization()
    if detector is None:
        _check_region(region)
        return _run_aligned(task, photo, model, options, background, on_progress, keep_crops, keep_layers)
    return run_task(
        task,
        photo,
        model,
        detector,
        options,
        on_progress=on_progress,
        region=region,
        background=background,
        parser=parser,
        keep_crops=keep_crops,
        keep_layers=keep_layers,
        in_place=in_place,
    )


def inpaint(
    photo: Image,
    damage: NDArray[np.float32],
    model: Model,
    detector: FaceDetector | Sequence[Face] | None,
    options: Options = DEFAULTS,
    *,
    on_progress: OnProgress | None = None,
    region: NDArray[np.float32] | None = None,
    keep_crops: bool = True,
    keep_layers: bool = False,
    in_place: bool = False,
) -> Restoration:
    """Fill in what is damaged in the faces of a photo.

    damage: (H, W), above 0.5 where the photo is damaged. There, and in a soft edge around it as wide as option
    "damage_feather" says, the result is the network's; everywhere else it is the photo, bit for bit. Damage that no
    face's crop reaches stays, which the result's ``note`` says. detector: None where the photo is one aligned
    portrait; then there is no region. Options that the task does not heed do not count. Everything else is as for
    :func:`gpen.restore`.

    Raises GpenError, or a subclass, for everything a user can cause, a network for another task among it.
    """
    model, options = model.for_task("inpaint"), heeded(options, "inpaint")
    check_damage(photo, damage)
    task = Inpainting(damage)
    if detector is None:
        _check_region(region)
        return _run_aligned(task, photo, model, options, None, on_progress, keep_crops, keep_layers)
    return run_task(
        task,
        photo,
        model,
        detector,
        options,
        on_progress=on_progress,
        region=region,
        keep_crops=keep_crops,
        keep_layers=keep_layers,
        in_place=in_place,
    )


def synthesize(labels: Image, model: Model, options: Options = DEFAULTS) -> Restoration:
    """Make a face of a segmentation map.

    labels: float32 (S, S, 3), RGB, [0, 1], a colour for each part of the face as the network was trained; of any size,
    it is resampled without mixing colours. The result's photo is the face, (out_size, out_size, 3).

    Raises GpenError where that is no square, or the network is for another task.
    """
    model, options = model.for_task("segmentation"), heeded(options, "segmentation")
    check_photo(labels, None, None, options)
    _check_square(labels, "A segmentation map")
    size = model.spec.in_size
    before = np.asarray(cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.float32)
    (after,) = restore_crops(model, [before])
    face = RestoredFace(0, _whole(labels), scaling(size / labels.shape[0]), before, after)
    return Restoration(after, np.ones(after.shape[:2], np.float32), [face], done=DONE_BY["segmentation"])


def run(
    task: str,
    photo: Image,
    model: Model,
    detector: FaceDetector | Sequence[Face] | None,
    options: Options = DEFAULTS,
    *,
    damage: NDArray[np.float32] | None = None,
    background: Image | None = None,
    parser: Parser | None = None,
    guard: IdentityGuard | None = None,
    **more: Any,
) -> Restoration:
    """Do the task of that name (:data:`gpen.files.catalog.TASKS`) to a photo.

    damage: for "inpaint", which has to have it. detector: None where the photo is an aligned portrait, and for
    "segmentation", whose photo is the map. more: as for :func:`gpen.restore`. What a task does not need is left out.
    """
    if task == "segmentation":
        return synthesize(photo, model, options)
    if task == "inpaint":
        if damage is None:
            raise PhotoError("To inpaint, a mask is needed that is white where the photo is damaged.")
        return inpaint(photo, damage, model, detector, options, **more)
    if task == "colorize":
        return colorize(photo, model, detector, options, background=background, parser=parser, **more)
    require_task(model)
    assert detector is not None
    return restore(photo, model, detector, options, background=background, parser=parser, guard=guard, **more)


def luma(photo: Image) -> Image:
    """The luma Y of a photo (H, W, 3) after BT.601: (H, W)."""
    return np.asarray(photo @ LUMA, dtype=np.float32)


def with_luma_of(colors: Image, photo: Image) -> Image:
    """Colours (H, W, 3) changed so that their luma is that of ``photo``, and they lie between 0 and 1.

    All channels get the same addition; where that leads beyond 0 or 1, the colour is moved towards the grey of its
    luma until it is inside.
    """
    grey = luma(photo)[..., None]
    chroma = colors - luma(colors)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(chroma > 0, (1 - grey) / chroma, np.where(chroma < 0, -grey / chroma, np.inf))
    scale = np.clip(room.min(axis=2, keepdims=True), 0, 1)
    return np.asarray(np.clip(grey + scale * chroma, 0, 1), dtype=np.float32)


def check_damage(photo: Image, damage: NDArray[np.float32]) -> None:
    """PhotoError where the mask of the damage is not one of this photo."""
    height, width = photo.shape[:2]
    if damage.shape != (height, width):
        shape = " x ".join(map(str, damage.shape[::-1]))
        raise PhotoError(
            f"The mask of the damage is {shape} pixels, the photo {width} x {height}. It has to be a picture of the "
            "same size, white where the photo is damaged."
        )


def _run_aligned(
    task: FaceTask,
    photo: Image,
    model: Model,
    options: Options,
    background: Image | None,
    on_progress: OnProgress | None,
    keep_crops: bool,
    keep_layers: bool,
) -> Restoration:
    check_photo(photo, None, background, options)
    _check_square(photo, "An aligned portrait")
    size, face = model.spec.in_size, _whole(photo)
    placement = Placement(face, scaling(size / photo.shape[0]), size)
    canvas = background if background is not None else enlarge(photo, options.upscale)
    needless = task.needless(placement)
    if not needless and on_progress is not None and on_progress(0, 1, None) is False:
        needless = "stopped before this face"
    if needless:
        over = np.zeros(canvas.shape[:2], np.float32)
        skipped = [SkippedFace(0, face, needless)]
        return Restoration(
            canvas.copy(), over, [], skipped, background is not None, task.done, task.note(over, options)
        )
    before = task.before(cut(task.source(photo), placement.matrix, size))
    (after,) = restore_crops(model, [before])
    height, width = canvas.shape[:2]
    weights = task.weights(face, options)
    counts = None if weights is None else weights(slice(0, height), slice(0, width))
    laid = np.clip(warp(after, scaling(width / after.shape[0]), (width, height)), 0, 1)

    def blend(strength: float) -> tuple[Image, Image]:
        over = np.full((height, width), strength, np.float32)
        if counts is not None:
            over *= counts
        colors = canvas + (laid - canvas) * over[..., None]
        if task.join is not None:
            colors = task.join(colors, canvas)
        return np.where(over[..., None] > 0, colors, canvas), over

    result, over = blend(options.strength)
    restored = RestoredFace(0, face, placement.matrix, before, after)
    if on_progress is not None:
        on_progress(1, 1, restored)
    note = task.note(over, options)
    restored = restored if keep_crops else replace(restored, before=None, after=None)
    layers = layers_of(task, blend, options, canvas.nbytes + laid.nbytes + over.nbytes) if keep_layers else None
    return Restoration(result, over, [restored], [], background is not None, task.done, note, layers)


def _check_region(region: NDArray[np.float32] | None) -> None:
    if region is not None:
        raise OptionError("An aligned portrait is one face, and all of it is worked on: leave the region out.")


def _whole(photo: Image) -> Face:
    """The face of an aligned portrait."""
    size = photo.shape[0]
    return Face((0.0, 0.0, size - 1.0, size - 1.0), 1.0, TEMPLATES["gpen"] * size - 0.5)


def _check_square(picture: Image, what: str) -> None:
    height, width = picture.shape[:2]
    if height != width:
        raise PhotoError(
            f"{what} has to be a square, as the network takes it; this one is {width} x {height}. Crop it."
        )

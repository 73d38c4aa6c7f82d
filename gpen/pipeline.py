"""The pipeline: a photo goes in, its faces come out restored, the rest as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .device import faces_per_call, run_within_memory
from .errors import FaceError, GpenError, OptionError, PhotoError
from .face_task import FaceTask, Parser
from .faces.align import Placement, cut, place
from .faces.detect import FaceDetector
from .faces.face import Face
from .faces.identity import IdentityGuard, Verdict
from .faces.paste import Canvas, match_colors
from .faces.resample import Image, Matrix, compose, scaling
from .faces.select import select_faces
from .model.checkpoint import Model
from .options import Options
from .restoration import Layers, Restoration, RestoredFace, SkippedFace

DEFAULTS = Options()


OnProgress = Callable[[int, int, RestoredFace | None], bool | None]
"""Called with the number of faces done, the number to do, and the face just done.

That is None before the first, and for a face whose original a guard kept.

Returning False stops: the faces done so far are kept, and those that the network restored in the same call but
that were not laid over the photo yet are not. An exception that it raises passes through.
"""


def restore(
    photo: Image,
    model: Model,
    detector: FaceDetector | Sequence[Face],
    options: Options = DEFAULTS,
    *,
    on_progress: OnProgress | None = None,
    region: NDArray[np.float32] | None = None,
    background: Image | None = None,
    parser: Parser | None = None,
    guard: IdentityGuard | None = None,
    keep_crops: bool = True,
    keep_layers: bool = False,
    in_place: bool = False,
) -> Restoration:
    """Restore the faces of a photo.

    photo: float32 (H, W, 3), RGB, [0, 1]. detector: finds the faces, or the faces themselves, which are
    numbered from left to right and taken whatever their score. region: (H, W), restores only faces whose
    centre lies where it is above 0.5.
    background: the enlarged photo (H', W', 3) that faces are pasted into; its size then takes the place of
    option "upscale". parser: needed for the parsed mask. guard: what option "identity_guard" needs; the option alone
    does nothing. keep_crops: whether the result holds each face's crops, which takes 24 bytes for every pixel of a
    crop. keep_layers: whether it can be made again at another strength, with :meth:`Restoration.at`. in_place: the
    photo, or the background, becomes the result, instead of a copy, which on large photos takes longer than laying the
    faces; otherwise, and with ``keep_layers``, neither is changed.

    Raises GpenError, or a subclass, for everything a user can cause.
    """
    return run_task(
        FaceTask(guard),
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


def run_task(
    task: FaceTask,
    photo: Image,
    model: Model,
    detector: FaceDetector | Sequence[Face],
    options: Options,
    *,
    on_progress: OnProgress | None = None,
    region: NDArray[np.float32] | None = None,
    background: Image | None = None,
    parser: Parser | None = None,
    keep_crops: bool = True,
    keep_layers: bool = False,
    in_place: bool = False,
) -> Restoration:
    """Do to the faces of a photo what the task says; everything else is as for :func:`restore`."""
    check_photo(photo, region, background, options)
    _check_parser(options, parser)
    given = isinstance(detector, Sequence)
    if isinstance(detector, Sequence):
        faces = sorted(detector, key=lambda face: face.center)
    else:
        faces = detector.detect(photo, options.detection_threshold)
    height, width = photo.shape[:2]
    reasons = select_faces(faces, options, (width, height), region, given=given)
    canvas_photo = background if background is not None else enlarge(photo, options.upscale)
    canvas = Canvas(canvas_photo, task.join)
    to_photo = scaling(width / canvas_photo.shape[1], height / canvas_photo.shape[0])

    chosen = [number for number in range(len(faces)) if number not in reasons]
    restored: list[RestoredFace] = []
    moved: dict[int, float] = {}
    if on_progress is None or on_progress(0, len(chosen), None) is not False:
        for number, placement, before, after in _restored(task, photo, faces, chosen, reasons, model, options):
            laid, verdict = _lay(task, canvas, after, before, placement, to_photo, options, parser)
            face = None
            if verdict is not None and verdict.factor == 0:
                reasons[number] = verdict.reason
                moved[number] = verdict.distance
            else:
                told = () if verdict is None else (verdict.distance, verdict.factor)
                face = RestoredFace(number, faces[number], placement.matrix, before, laid, *told)
                restored.append(face if keep_crops else replace(face, before=None, after=None))
            if on_progress is not None and on_progress(chosen.index(number) + 1, len(chosen), face) is False:
                break
    for number in set(chosen).difference(face.number for face in restored):
        reasons.setdefault(number, "stopped before this face")
    ours = not keep_layers and (in_place or (canvas_photo is not photo and canvas_photo is not background))
    result, mask = canvas.blend(options.strength, out=canvas_photo if ours else None)
    skipped = [SkippedFace(number, faces[number], reasons[number], moved.get(number)) for number in sorted(reasons)]
    note = task.note(mask, options)
    layers = layers_of(task, canvas.blend, options, canvas.nbytes) if keep_layers else None
    return Restoration(result, mask, restored, skipped, background is not None, task.done, note, layers)


def layers_of(task: FaceTask, blend: Callable[[float], tuple[Image, Image]], options: Options, nbytes: int) -> Layers:
    """Layers of a task with these options."""
    return Layers(blend, lambda mask, strength: task.note(mask, replace(options, strength=strength)), nbytes)


def _restored(
    task: FaceTask,
    photo: Image,
    faces: Sequence[Face],
    chosen: Sequence[int],
    reasons: dict[int, str],
    model: Model,
    options: Options,
) -> Iterator[tuple[int, Placement, Image, Image]]:
    """The chosen faces one by one: number, place, crop before and after.

    As many go through the network at a time as there is memory for. Why a face cannot be cut out is put into
    ``reasons``.
    """
    waiting = list(reversed(chosen))
    source: Image | None = None
    while waiting:
        together = faces_per_call(model, len(waiting))
        cuts: list[tuple[int, Placement, Image]] = []
        while waiting and len(cuts) < together:
            number = waiting.pop()
            try:
                placement = place(faces[number], model.spec.in_size, options.template)
                if needless := task.needless(placement):
                    reasons[number] = needless
                else:
                    source = task.source(photo) if source is None else source
                    crop = task.before(cut(source, placement.matrix, placement.size))
                    cuts.append((number, placement, crop))
            except FaceError as error:
                reasons[number] = str(error)
        restored = restore_crops(model, [before for _, _, before in cuts])
        for (number, placement, before), after in zip(cuts, restored, strict=True):
            yield number, placement, before, after


def paste(
    photo: Image,
    crops: Sequence[tuple[Placement, Image]],
    options: Options = DEFAULTS,
    *,
    parser: Parser | None = None,
) -> tuple[Image, Image]:
    """Lay crops that were cut out of a photo, and changed since, back over it: the second half of :func:`restore`.

    photo: float32 (H, W, 3), RGB, [0, 1]; it is not changed. crops: with each its place, for a square of any
    size, and the crop, float32 (S, S, 3), whose size may be another. Returns the photo and the mask (H, W), as
    in :class:`Restoration`.

    Raises PhotoError for a crop that is no square picture, and GpenError as :func:`restore` does.
    """
    check_picture(photo, "photo")
    _check_parser(options, parser)
    canvas = Canvas(photo)
    for placement, crop in crops:
        check_picture(crop, "crop")
        if crop.shape[0] != crop.shape[1]:
            raise PhotoError(
                f"A crop is {crop.shape[1]} x {crop.shape[0]} pixels; it has to stay a square, of any size, "
                "to be laid back where it was cut out."
            )
        before = cut(photo, placement.matrix, placement.size) if options.color_match else None
        _lay(FaceTask(), canvas, crop, before, placement, scaling(1), options, parser)
    return canvas.blend(options.strength)


def _lay(
    task: FaceTask,
    canvas: Canvas,
    crop: Image,
    before: Image | None,
    placement: Placement,
    to_photo: Matrix,
    options: Options,
    parser: Parser | None,
) -> tuple[Image, Verdict | None]:
    """Lay a crop over the canvas and return it as it was laid, with ``before``'s colours if asked for.

    Returns what the task's guard says of it as well; where that keeps the original, nothing is laid. to_photo: maps
    pixels of the canvas to pixels of the photo that the placement is about.
    """
    mask = task.mask(crop, placement, options, parser)
    if options.color_match and before is not None:
        crop = match_colors(crop, before, mask)
    verdict = None
    if task.guard is not None and before is not None:
        verdict = task.guard.judge(before, crop, placement.landmarks, options.strength)
        mask = mask * np.float32(verdict.factor)
    to_crop = compose(scaling(crop.shape[0] / placement.size), compose(placement.matrix, to_photo))
    canvas.add(crop, to_crop, mask, task.weights(placement.face, options), task.priority(placement))
    return crop, verdict


def restore_crops(model: Model, crops: Sequence[Image]) -> list[Image]:
    """Run the network on crops, in one call: float32 (in_size, in_size, 3) to (out_size, out_size, 3), RGB, [0, 1].

    Raises GpenError where the network's output is not finite.
    """
    if not crops:
        return []
    low, high = model.value_range
    pictures = torch.empty((len(crops), *crops[0].shape))
    for picture, crop in zip(pictures, crops, strict=True):
        torch.mul(torch.from_numpy(crop), high - low, out=picture)
    out = run_within_memory(model, pictures.add_(low).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    restored = torch.empty(out.shape, device=out.device)
    torch.sub(out, low, out=restored).div_(high - low)
    if not all(math.isfinite(bound) for bound in restored.aminmax()):
        raise GpenError(
            f"{model.path.name} returned values that are no numbers. "
            + (
                "The weight file is damaged: get it again."
                if model.dtype == torch.float32
                else f"It computed in {model.dtype}: use the precision fp32."
            )
        )
    return list(restored.clamp_(0, 1).cpu().numpy())


def enlarge(photo: Image, factor: float) -> Image:
    """Photo (H, W, 3) or (H, W) enlarged by ``factor`` with Lanczos interpolation, clipped to [0, 1]."""
    return resize(photo, (round(photo.shape[1] * factor), round(photo.shape[0] * factor)))


def resize(photo: Image, size: tuple[int, int]) -> Image:
    """Photo (H, W, 3) or (H, W) at another size, (width, height); clipped to [0, 1] where that changes it."""
    width, height = photo.shape[1], photo.shape[0]
    if size == (width, height):
        return photo
    smaller = size[0] < width and size[1] < height
    resized = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4)
    return np.asarray(np.clip(resized, 0, 1, out=resized), dtype=np.float32)


def check_photo(photo: Image, region: NDArray[np.float32] | None, background: Image | None, options: Options) -> None:
    """PhotoError where these are no pictures, do not belong together, or the result would be too large."""
    check_picture(photo, "photo")
    height, width = photo.shape[:2]
    if region is not None and region.shape != (height, width):
        raise PhotoError(
            f"The mask of the region has the shape {region.shape}, the photo is {height} high and {width} wide."
        )
    if background is None:
        megapixels = height * width * options.upscale**2 / 1e6
        if megapixels > options.max_megapixels:
            enlarged, advice = (" after enlarging", "a smaller upscale, or ") if options.upscale > 1 else ("", "")
            raise PhotoError(
                f"The picture would have {megapixels:.1f} megapixels{enlarged}, more than the "
                f"{options.max_megapixels:g} allowed. Choose {advice}a larger limit."
            )
    else:
        _check_background(background, height, width)


def _check_parser(options: Options, parser: Parser | None) -> None:
    if options.mask == "parsed" and parser is None:
        raise OptionError("The parsed mask needs a face parser, and there is none. Choose ellipse or box.")


def check_picture(picture: Image, what: str) -> None:
    """PhotoError that names it ``what`` unless it is float32 (H, W, 3) with values from about 0 to 1."""
    if picture.dtype != np.float32 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise PhotoError(
            f"The {what} is {picture.dtype} of the shape {picture.shape}; it has to be float32 (H, W, 3), RGB, 0 to 1."
        )
    low, high = float(picture.min()), float(picture.max())
    # A little beyond 0 and 1 is what resizing leaves; 0 to 255, or NaN, is another kind of picture.
    if not (low >= -1 and high <= 2):
        raise PhotoError(f"The {what}'s values go from {low:g} to {high:g}; they have to lie between 0 and 1.")


def _check_background(background: Image, height: int, width: int) -> None:
    check_picture(background, "background")
    tall, wide = background.shape[0] / height, background.shape[1] / width
    if abs(tall - wide) > 1 / min(height, width) * max(tall, wide, 1):
        raise PhotoError(
            f"The background is {background.shape[1]} x {background.shape[0]}, the photo {width} x {height}: "
            "their proportions differ. The background has to be the same picture, enlarged."
        )

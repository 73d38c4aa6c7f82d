"""The one path of a photo: its faces are found, cropped, put through the network and pasted back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FaceError, OptionError, PhotoError
from ..faces.align import Placement, place
from ..faces.paste import Canvas, match_colors
from ..faces.resample import Matrix, compose, scaling
from ..faces.source import FaceSource, FoundFace
from ..images.picture import FloatImage, check_picture
from ..options import Options, supported
from ..tasks import Task
from .inference import faces_per_call, restore_crops
from .processors import PROCESSORS, FaceProcessor, Parser, PhotoInputs
from .result import CachedLayers, Restoration, RestoredFace, SkippedFace

if TYPE_CHECKING:
    from ..faces.identity import GuardDecision
    from .components import Components

OnProgress = Callable[[int, int, RestoredFace | None], bool | None]
"""Called with the number of faces done, the number to do, and the face just done.

That is None before the first, and for a face whose original a guard kept.

Returning False stops: the faces done so far are kept, and those that the network restored in the same call but
that were not pasted yet are not. An exception that it raises passes through.
"""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What a restoration keeps besides its result."""

    crops: bool = True
    """Each face's crops, which take 24 bytes for every pixel of a crop."""
    layers: bool = False
    """What is needed to make it again at another strength, with :meth:`Restoration.with_strength`."""
    photo: bool = True
    """The photo, or the background, as it was; otherwise it may become the result, which spares a copy.

    With ``layers`` neither is changed.
    """


@dataclass(eq=False)
class _Run:
    """The work on one photo: what it needs, and which faces were skipped so far."""

    task: Task
    processor: FaceProcessor
    components: Components
    options: Options
    source: FaceSource
    canvas: Canvas
    """Collects the faces."""
    to_photo: Matrix
    """Maps pixels of the canvas to pixels of the photo."""
    skipped: dict[int, str]
    """Why faces were skipped, by number."""
    distances: dict[int, float]
    """The cosine distances of the faces whose original the guard kept, by number."""


def run_task(
    task: Task,
    photo: FloatImage,
    source: FaceSource,
    components: Components,
    options: Options,
    *,
    inputs: PhotoInputs | None = None,
    keep: Keep = Keep(),
    on_progress: OnProgress | None = None,
) -> Restoration:
    """Do a task to the faces of a photo.

    photo: float32 (H, W, 3), RGB, [0, 1]. source: says where its faces are. components: the network, and what the
    options need besides. Options that the task does not support have no effect.

    Raises GpenError, or a subclass, for everything a user can cause.
    """
    options, inputs = supported(options, task), inputs or PhotoInputs()
    processor = PROCESSORS[task.name](photo, inputs)
    check_photo(photo, inputs, options)
    if not task.is_aligned(source.whole_photo):
        check_parser(options, components.parser)
    found = source.find(photo, inputs.region)
    canvas = processor.canvas(photo, options)
    to_photo = scaling(photo.shape[1] / canvas.size[0], photo.shape[0] / canvas.size[1])
    skipped = {face.number: face.skip_reason for face in found if face.skip_reason}
    run = _Run(task, processor, components, options, source, canvas, to_photo, skipped, {})
    chosen = [face for face in found if not face.skip_reason]
    restored = _restored(run, photo, chosen, keep, on_progress)
    for number in {face.number for face in chosen}.difference(face.number for face in restored):
        run.skipped.setdefault(number, "stopped before this face")
    # What no crop was kept of, and what is not asked for again, may be written to.
    may_change = not keep.layers and (not keep.photo or (inputs.background is None and canvas.size != _size(photo)))
    result, mask = canvas.blend(options.strength, in_place=may_change)
    return Restoration(
        result,
        mask,
        sorted(restored, key=lambda face: face.number),
        [
            SkippedFace(face.number, face.face, run.skipped[face.number], run.distances.get(face.number))
            for face in sorted(found, key=lambda face: face.number)
            if face.number in run.skipped
        ],
        inputs.background is not None,
        task.done,
        processor.note(mask, options),
        _cached_layers(canvas, processor, options) if keep.layers and "strength" in task.options else None,
    )


def _restored(
    run: _Run, photo: FloatImage, chosen: Sequence[FoundFace], keep: Keep, on_progress: OnProgress | None
) -> list[RestoredFace]:
    """The chosen faces, restored and pasted, until ``on_progress`` stops it."""
    restored: list[RestoredFace] = []
    if on_progress is not None and on_progress(0, len(chosen), None) is False:
        return restored
    for found, placement, before, after in _through_the_network(run, photo, chosen):
        pasted, decision = _paste(run, after, before, placement)
        face = None
        if decision is not None and decision.factor == 0:
            run.skipped[found.number] = decision.reason
            run.distances[found.number] = decision.distance
        else:
            measured = () if decision is None else (decision.distance, decision.factor)
            face = RestoredFace(found.number, found.face, placement.matrix, before, pasted, *measured)
            restored.append(face if keep.crops else replace(face, before=None, after=None))
        if on_progress is not None and on_progress(chosen.index(found) + 1, len(chosen), face) is False:
            break
    return restored


def _through_the_network(
    run: _Run, photo: FloatImage, chosen: Sequence[FoundFace]
) -> Iterator[tuple[FoundFace, Placement, FloatImage, FloatImage]]:
    """The chosen faces one by one: placement, crop before and after.

    As many go through the network at a time as there is memory for. Why a face cannot be cropped is put into
    ``run.skipped``.
    """
    model, processor = run.components.model, run.processor
    waiting = list(reversed(chosen))
    crop_source: FloatImage | None = None
    while waiting:
        together = faces_per_call(model, len(waiting))
        cropped: list[tuple[FoundFace, Placement, FloatImage]] = []
        while waiting and len(cropped) < together:
            found = waiting.pop()
            try:
                placement = _placement(run, found, photo)
                if reason := processor.skip_reason(placement):
                    run.skipped[found.number] = reason
                else:
                    crop_source = processor.crop_source(photo) if crop_source is None else crop_source
                    cropped.append((found, placement, processor.crop(crop_source, placement)))
            except FaceError as error:
                run.skipped[found.number] = str(error)
        restored = restore_crops(model, [before for _, _, before in cropped])
        for (found, placement, before), after in zip(cropped, restored, strict=True):
            yield found, placement, before, after


def _placement(run: _Run, found: FoundFace, photo: FloatImage) -> Placement:
    size = run.components.model.spec.in_size
    if run.source.whole_photo:
        return Placement(found.face, scaling(size / photo.shape[0]), size)
    return place(found.face, size, run.options.template)


def _paste(
    run: _Run, crop: FloatImage, before: FloatImage, placement: Placement
) -> tuple[FloatImage, GuardDecision | None]:
    """Paste a crop; returns it as it was pasted, and the decision of the identity guard, None without one."""
    processor, options = run.processor, run.options
    guard = run.components.guard if "identity_guard" in run.task.options else None
    to_crop = compose(scaling(crop.shape[0] / placement.size), compose(placement.matrix, run.to_photo))
    region_mask = processor.region_mask(placement.face, options)
    if run.source.whole_photo:
        run.canvas.add(crop, to_crop, None, region_mask)
        return crop, None
    mask = processor.mask(crop, placement, options, run.components.parser)
    if options.color_match:
        crop = match_colors(crop, before, mask)
    decision = None
    if guard is not None:
        decision = guard.judge(before, crop, placement.landmarks, options.strength)
        mask = mask * np.float32(decision.factor)
    run.canvas.add(crop, to_crop, mask, region_mask, processor.priority(placement))
    return crop, decision


def _cached_layers(canvas: Canvas, processor: FaceProcessor, options: Options) -> CachedLayers:
    """Holds on to the arguments only: the network must not stay in memory for as long as a result does."""

    def note(mask: FloatImage, strength: float) -> str:
        return processor.note(mask, replace(options, strength=strength))

    return CachedLayers(canvas.blend, note, canvas.nbytes)


def check_photo(photo: FloatImage, inputs: PhotoInputs, options: Options) -> None:
    """PhotoError where these are not pictures, do not belong together, or the result would be too large."""
    check_picture(photo, "photo")
    height, width = photo.shape[:2]
    region, background = inputs.region, inputs.background
    if region is not None and region.shape != (height, width):
        raise PhotoError(
            f"The mask of the region has the shape {region.shape}, the photo ({height}, {width}). It has to be as "
            "large as the photo."
        )
    if background is not None:
        _check_background(background, height, width)
        return
    megapixels = height * width * options.upscale**2 / 1e6
    if megapixels > options.max_megapixels:
        enlarged, advice = (" after enlarging", "a smaller upscale, or ") if options.upscale > 1 else ("", "")
        raise PhotoError(
            f"The picture would have {megapixels:.1f} megapixels{enlarged}, more than the "
            f"{options.max_megapixels:g} allowed. Choose {advice}a larger limit."
        )


def check_parser(options: Options, parser: Parser | None) -> None:
    """OptionError where the mask needs a face parser and there is none."""
    if options.mask == "parsed" and parser is None:
        raise OptionError("The parsed mask needs a face parser, and there is none. Choose ellipse or box.")


def _check_background(background: FloatImage, height: int, width: int) -> None:
    check_picture(background, "background")
    tall, wide = background.shape[0] / height, background.shape[1] / width
    if abs(tall - wide) > 1 / min(height, width) * max(tall, wide, 1):
        raise PhotoError(
            f"The background is {background.shape[1]} x {background.shape[0]}, the photo {width} x {height}: "
            "their proportions differ. The background has to be the same picture, enlarged."
        )


def _size(photo: FloatImage) -> tuple[int, int]:
    return photo.shape[1], photo.shape[0]

"""The one path of a photo: its faces are found, cropped, put through the network and pasted back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..errors import FaceError, OptionError, PhotoError
from ..faces.align import Placement, place
from ..faces.color import match_colors
from ..faces.masks.protect import Protection
from ..faces.paste import Canvas
from ..faces.resampling.transforms import compose, scaling
from ..faces.source import FaceSource, FoundFace
from ..faces.tracking.texture import FrameTexture
from ..images.picture import FloatImage, check_megapixels
from ..images.tensors import DevicePhoto, check_picture
from ..options import Options, supported
from ..tasks import Task
from .inference import CropBatchers
from .processors import PROCESSORS, FaceProcessor, Parser, PhotoInputs, with_mask_chosen
from .result import CachedLayers, FaceCrops, FaceNetwork, MadeWith, Restoration, RestoredFace, SkippedFace

if TYPE_CHECKING:
    from ..faces.masks.occlusion import Occluder
    from ..faces.recognition.identity import GuardDecision
    from ..weights.checkpoint import Model
    from ..weights.download import FileVersion
    from .components import Components

_MOST_WAITING = 1 << 29
"""Bytes of photos that may wait for faces of later photos to share a call of the network with theirs: 512 MiB."""

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


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoWork:
    """One photo to do a task to."""

    photo: FloatImage
    """float32 (H, W, 3), RGB, [0, 1]."""
    source: FaceSource
    """Says where its faces are."""
    inputs: PhotoInputs = field(default_factory=PhotoInputs)
    """What belongs to it besides its pixels."""
    keep: Keep = field(default_factory=Keep)
    """What its restoration keeps."""
    on_progress: OnProgress | None = None
    """Called after each face; returning False stops."""
    on_device: DevicePhoto | None = None
    """The photo for the network's device, if there is one already."""
    texture: FrameTexture | None = None
    """What gives steady texture to a frame of a video, whose faces are numbered by track; None for none."""


def run_task(task: Task, work: PhotoWork, components: Components, options: Options) -> Restoration:
    """Do a task to the faces of a photo.

    components: the network, and what the options need besides. Options that the task does not support have no effect.

    Raises GpenError, or a subclass, for everything a user can cause.
    """
    return next(run_tasks(task, [work], components, options))


def run_tasks(
    task: Task, works: Iterable[PhotoWork], components: Components, options: Options
) -> Iterator[Restoration]:
    """Do a task to the faces of several photos, which share calls of the network; yields the results in order.

    Where the network's device takes several faces at a time, a photo waits until enough faces of later ones are there.
    The last digits of a result depend on which faces share its call. Everything else is as for :func:`run_task`, for
    each photo; after an exception there are no more results. Frames with steady texture are pasted in their order.
    """
    options = with_mask_chosen(supported(options, task), has_parser=components.parser is not None)
    batchers: CropBatchers[_WaitingFace] = CropBatchers()
    begun: deque[_PhotoRun] = deque()
    for work in works:
        begun.append(_PhotoRun(task, work, components, options))
        for waiting, crop in begun[-1].crops():
            begun[0].prepare()
            _paste_all(begun, batchers.add(waiting.model, waiting, crop))
            if sum(run.bytes_ready for run in begun) > _MOST_WAITING:
                _paste_all(begun, batchers.flush())
        if sum(run.work.photo.nbytes for run in begun) > _MOST_WAITING:
            _paste_all(begun, batchers.flush())
        while begun and begun[0].is_complete:
            yield begun.popleft().result()
    _paste_all(begun, batchers.flush())
    for run in begun:
        yield run.result()


@dataclass(frozen=True, eq=False)
class _WaitingFace:
    """A face whose crop waits for the network."""

    run: _PhotoRun
    position: int
    """Among the faces of its photo that the network is given."""
    found: FoundFace
    model: Model
    placement: Placement
    before: Tensor


def _paste_all(begun: Iterable[_PhotoRun], restored: Iterable[tuple[_WaitingFace, Tensor]]) -> None:
    for waiting, after in restored:
        waiting.run.add(waiting, after)
        for run in begun:
            run.paste()
            if run.work.texture is not None and not run.is_complete:
                break


class _PhotoRun:
    """The work on one photo. PhotoError or OptionError where it cannot begin."""

    def __init__(self, task: Task, work: PhotoWork, components: Components, options: Options) -> None:
        self.work = work
        self._task = task
        self._components = components
        self._options = options
        check_photo(work.photo, work.inputs, options)
        photo = work.on_device or DevicePhoto(work.photo, components.model.device)
        self._processor: FaceProcessor = PROCESSORS[task.name](photo, work.inputs)
        self._mask_shape = ""
        if not task.is_aligned(work.source.whole_photo):
            check_parser(options, components.parser)
            check_occluder(options, components.occluder)
            self._mask_shape = options.mask if "mask" in task.options else ""
        self._found = work.source.find(photo, work.inputs.region)
        self._canvas = self._processor.canvas(options)
        width, height = self._canvas.size
        # What no crop was kept of, and what is not asked for again, may be written to.
        is_new = work.inputs.background is None and (height, width) != work.photo.shape[:2]
        self._in_place = not work.keep.layers and (not work.keep.photo or is_new)
        protect = work.inputs.protect
        self._protection = None if protect is None else Protection(protect, (width, height), photo.device)
        self._to_photo = scaling(photo.shape[1] / width, photo.shape[0] / height)
        self._chosen = [face for face in self._found if not face.skip_reason]
        self._skipped = {face.number: face.skip_reason for face in self._found if face.skip_reason}
        self._distances: dict[int, float] = {}
        self._restored: list[RestoredFace] = []
        self._networks = dict[Path, "FileVersion | None"]()
        self._cropped = self._pasted = 0
        self._ready: dict[int, tuple[_WaitingFace, Tensor]] = {}
        self._all_cropped = False
        self._stopped = self._report(0, None)

    @property
    def is_complete(self) -> bool:
        """Whether no more faces are going to be pasted."""
        return self._stopped or (self._all_cropped and self._pasted == self._cropped)

    @property
    def bytes_ready(self) -> int:
        """Bytes of restored faces that wait for earlier ones, which another network is going to restore."""
        return sum(after.nbytes for _, after in self._ready.values())

    def crops(self) -> Iterator[tuple[_WaitingFace, Tensor]]:
        """The crops that the network is to be given. Why a face cannot be cropped is noted."""
        crop_source: DevicePhoto | None = None
        for found in self._chosen:
            if self._stopped:
                return
            try:
                model, placement = self._placement(found)
                if reason := self._processor.skip_reason(placement):
                    self._skipped[found.number] = reason
                    continue
                crop_source = crop_source or self._processor.crop_source()
                before = self._processor.crop(crop_source, placement)
            except FaceError as error:
                self._skipped[found.number] = str(error)
                continue
            self._cropped += 1
            yield _WaitingFace(self, self._cropped - 1, found, model, placement, before), before
        self._all_cropped = True

    def add(self, waiting: _WaitingFace, crop: Tensor) -> None:
        """Take a face that a network restored."""
        self._ready[waiting.position] = waiting, crop

    def paste(self) -> None:
        """Paste the faces that are there, in their order, whichever network was the first to have enough for a call."""
        while self._pasted in self._ready:
            restored = self._ready.pop(self._pasted)
            self._pasted += 1
            if not self._stopped:
                self._paste_face(*restored)

    def _paste_face(self, waiting: _WaitingFace, crop: Tensor) -> None:
        found, placement, texture = waiting.found, waiting.placement, self.work.texture
        if texture is not None and "texture" in self._task.options:
            crop = texture.steadied(found.number, waiting.before, crop)
        pasted, decision = self._paste(crop, waiting.before, placement)
        face = None
        if decision is not None and decision.factor == 0:
            self._skipped[found.number] = decision.reason
            self._distances[found.number] = decision.distance
        else:
            distance, factor = (None, 1.0) if decision is None else (decision.distance, decision.factor)
            crops = FaceCrops(waiting.before, pasted)
            face = RestoredFace(
                found.number,
                found.face,
                placement.matrix,
                crops,
                distance,
                factor,
                sharpness=found.sharpness,
                network=self._network(waiting),
            )
            self._networks[waiting.model.path] = waiting.model.version
            kept = crops.on_cpu() if self.work.keep.crops else None
            self._restored.append(replace(face, crops=kept))
        self._stopped = self._report(self._chosen.index(found) + 1, face)

    def prepare(self) -> None:
        """Begin what the result needs, while the network's device is busy."""
        if not self._in_place:
            self._canvas.prepare()

    def result(self) -> Restoration:
        """The outcome, once the photo is complete."""
        work, options, canvas = self.work, self._options, self._canvas
        done = {face.number for face in self._restored}
        for face in self._chosen:
            if face.number not in done:
                self._skipped.setdefault(face.number, "stopped before this face")
        background = work.inputs.background
        result, mask = canvas.blend(options.strength, in_place=self._in_place)
        layers = work.keep.layers and "strength" in self._task.options
        return Restoration(
            result,
            mask,
            sorted(self._restored, key=lambda face: face.number),
            [
                SkippedFace(
                    face.number,
                    face.face,
                    self._skipped[face.number],
                    self._distances.get(face.number),
                    sharpness=face.sharpness,
                )
                for face in sorted(self._found, key=lambda face: face.number)
                if face.number in self._skipped
            ],
            background is not None,
            self._task.done,
            self._processor.note(mask, options),
            self._mask_shape,
            _cached_layers(canvas.on_cpu(), self._processor, options) if layers else None,
            MadeWith.of(self._networks, options, None if background is None else self._components.upscaler),
        )

    def _report(self, done: int, face: RestoredFace | None) -> bool:
        """Whether the caller stops the work on this photo."""
        on_progress = self.work.on_progress
        return on_progress is not None and on_progress(done, len(self._chosen), face) is False

    def _placement(self, found: FoundFace) -> tuple[Model, Placement]:
        """The network for a face, and where the face lies in the crop that it takes."""
        components = self._components
        model = components.model
        if components.networks is not None:
            model = components.networks.for_face(self._pixels_in_result(self._placed(found, model.spec.in_size)))
        return model, self._placed(found, model.spec.in_size)

    def _placed(self, found: FoundFace, size: int) -> Placement:
        if self.work.source.whole_photo:
            return Placement(found.face, scaling(size / self.work.photo.shape[0]), size)
        return place(found.face, size, self._options.template)

    def _pixels_in_result(self, placement: Placement) -> int:
        """Height and width of the crop in the result."""
        enlarged = 1 / float(self._to_photo[0, 0])
        return round(placement.size * enlarged / float(np.hypot(*placement.matrix[:, 0])))

    def _network(self, waiting: _WaitingFace) -> FaceNetwork | None:
        if self._components.networks is None:
            return None
        model = waiting.model
        return FaceNetwork(model.path.name, model.spec.out_size, self._pixels_in_result(waiting.placement))

    def _paste(self, crop: Tensor, before: Tensor, placement: Placement) -> tuple[Tensor, GuardDecision | None]:
        """Paste a crop; returns it as it was pasted, and the decision of the identity guard, None without one."""
        processor, options = self._processor, self._options
        guard = self._components.guard if "identity_guard" in self._task.options else None
        to_crop = compose(scaling(crop.shape[0] / placement.size), compose(placement.matrix, self._to_photo))
        region_mask = processor.region_mask(placement.face, options)
        if self._protection is not None:
            region_mask = self._protection.region_mask(placement.face, region_mask)
        if self.work.source.whole_photo:
            self._canvas.add(crop, to_crop, None, region_mask)
            return crop, None
        visible = processor.visible(before, placement, options, self._components.occluder)
        mask = processor.mask(crop, placement, options, self._components.parser, visible)
        crop = match_colors(options.color_match, crop, before, mask)
        decision = None
        if guard is not None:
            decision = guard.judge(before, crop, placement.landmarks, options.strength)
            mask = mask * decision.factor
        area = processor.mask_area(placement, options)
        self._canvas.add(crop, to_crop, mask, region_mask, processor.priority(placement), area)
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
    background = inputs.background
    check_mask(inputs.region, "the region", height, width)
    check_mask(inputs.protect, "what is protected", height, width)
    if background is not None:
        _check_background(background, height, width)
        return
    what, advice = "The picture would have", "Choose a larger limit."
    if options.upscale > 1:
        what, advice = "The enlarged picture would have", "Choose a smaller upscale, or a larger limit."
    check_megapixels(height * width * options.upscale**2 / 1e6, options.max_megapixels, what, advice)


def check_mask(mask: FloatImage | None, what: str, height: int, width: int) -> None:
    """PhotoError where the mask of ``what`` is no array as large as the photo."""
    if mask is not None and not isinstance(mask, np.ndarray):
        found = type(mask).__name__
        raise PhotoError(f"The mask of {what} is of the type {found}; it has to be a NumPy array, (H, W), 0 to 1.")
    if mask is not None and mask.shape != (height, width):
        shape = " x ".join(map(str, mask.shape[::-1]))
        raise PhotoError(
            f"The mask of {what} is {shape} pixels, the photo {width} x {height}. It has to be as large as the photo."
        )


def check_occluder(options: Options, occluder: Occluder | None) -> None:
    """OptionError where what covers faces is to be left out and nothing tells it."""
    if options.occlusion != "none" and occluder is None:
        raise OptionError("Occlusion needs an occlusion model, and there is none. Choose none.")


def check_parser(options: Options, parser: Parser | None) -> None:
    """OptionError where the mask needs a face parser and there is none."""
    if options.mask == "parsed" and parser is None:
        raise OptionError("The parsed mask needs a face parser, and there is none. Choose auto, ellipse or box.")


def _check_background(background: FloatImage, height: int, width: int) -> None:
    check_picture(background, "background")
    tall, wide = background.shape[0] / height, background.shape[1] / width
    if abs(tall - wide) > 1 / min(height, width) * max(tall, wide, 1):
        raise PhotoError(
            f"The background is {background.shape[1]} x {background.shape[0]}, the photo {width} x {height}: "
            "their proportions differ. The background has to be the same picture, enlarged."
        )

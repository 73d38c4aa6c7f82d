"""The stages of one photo in a batch: read, find faces, process, write. :mod:`gpen.batch.prefetch` overlaps them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic import make_folder
from ..device import is_out_of_memory
from ..errors import GpenError, SalvageableError
from ..faces.close_ups import MOST_IN_VIEW, with_close_ups
from ..faces.drawing import draw_faces, side_by_side
from ..faces.source import ChosenFaces, FaceSource
from ..images import OnSize, Picture, read_picture, write_picture
from ..images.metadata.content_credentials import ContentSigner
from ..images.picture import FloatImage, from_samples
from ..images.resize import resize
from ..images.tensors import DevicePhoto
from ..options import Options
from ..restoration.components import Components
from ..restoration.finish import FinishedPhoto, finish
from ..restoration.pipeline import Keep, OnProgress, PhotoWork, run_task
from ..restoration.processors import PhotoInputs, with_mask_chosen
from ..restoration.result import Restoration
from ..restoration.upscaler import OnTile
from ..tasks import Task
from .faces import BatchFaces
from .plan import Job
from .report import PhotoResult, Status
from .textures import FrameTextures

# RGBA in float32; while a file is read or written, also its 8- or 16-bit samples and its bytes.
_BYTES_PER_PIXEL = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How results are written, and which further files."""

    compare: bool = False
    """Also write before and after side by side."""
    save_faces: bool = False
    """Also write each face before and after."""
    report: bool = False
    """Whether results go to a report, for which every face is measured."""
    overwrite: bool = False
    """Replace existing results instead of skipping their photos."""
    quality: int | None = None
    """JPEG/WebP quality, 1 to 100; None for the default."""
    provenance: bool = True
    """Note in the XMP of each result what was done to it."""
    sign: tuple[Path, Path] | None = None
    """PEM files of a certificate and its private key, to sign results with that have a provenance; None for none."""


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """Output of the first two stages: a photo in memory."""

    job: Job
    """The photo and the file of its result."""
    picture: Picture
    """The photo with its alpha, profile and metadata."""
    source: FaceSource
    """Source of its faces."""
    seconds: float
    """Seconds spent on it so far."""
    damage: FloatImage | None = None
    """Mask of its damage, (H, W); None if the task needs none."""
    protect: FloatImage | None = None
    """Mask of what stays as it is, (H, W); None for nothing."""
    on_device: DevicePhoto | None = None
    """The photo on the network's device, where its faces were found there."""


@dataclass(frozen=True, eq=False)
class ProcessedPhoto:
    """Output of the third stage: a result to be written."""

    job: Job
    """The photo and the file of its result."""
    finished: FinishedPhoto
    """The result."""
    before: FloatImage | None
    """The photo as it was read, for a comparison; else None."""
    restoration: Restoration
    """The outcome, with the crops of the faces if these are written."""
    seconds: float
    """Seconds spent on it so far."""

    @property
    def crop_bytes(self) -> int:
        """Bytes held by crops that wait to be written."""
        crops = (crop for face in self.restoration.faces for crop in (face.before, face.after))
        return sum(crop.nbytes for crop in crops if crop is not None)

    @property
    def result(self) -> PhotoResult:
        """The outcome to report once everything is written."""
        done = self.restoration
        left_out = self.finished.left_out(self.job.target, self.job.photo.path)
        return PhotoResult(
            self.job,
            Status.DONE if done.changed else Status.UNCHANGED,
            " ".join([done.summary, *left_out]),
            self.seconds,
            tuple((face.number, face.face) for face in done.faces),
            tuple(done.skipped),
            {face.number: (face.identity, face.share) for face in done.faces if face.identity is not None},
            done.mask_shape,
            {face.number: face.sharpness for face in done.faces if face.sharpness is not None},
            {face.number: face.network for face in done.faces if face.network is not None},
            left_out,
        )


class PhotoProcessor:
    """Does a task to photos in four stages, all with the same components and options.

    Stages do not raise: if one fails, it returns a failed result instead of its output. Each may run in a thread of its
    own; reading and writing do not call PyTorch.
    """

    def __init__(
        self,
        task: Task,
        components: Components,
        faces: BatchFaces,
        options: Options,
        output: OutputOptions | None = None,
        region: FloatImage | None = None,
        *,
        salvage: bool = False,
        textures: FrameTextures | None = None,
    ) -> None:
        self._task = task
        self._salvage = salvage
        self._components = components
        self._faces = faces
        self._options = with_mask_chosen(options, has_parser=components.parser is not None)
        self._output = output or OutputOptions()
        self._region = region
        self._textures = textures
        self._signer = None if self._output.sign is None else ContentSigner(*self._output.sign)
        upscaler = components.upscaler
        self._factor = options.upscale if upscaler is None else upscaler.factor(options)

    @property
    def title(self) -> str:
        """Which model restores the photos, on which device, where faces and background come from, and the mask."""
        model, upscaler = self._components.model, self._components.upscaler
        faces = self._faces.name and f", faces from {self._faces.name}"
        mask = f", {self._options.mask} mask" if faces and "mask" in self._task.options else ""
        background = "" if upscaler is None else f", background from {upscaler.title}"
        networks = self._components.title
        if networks == model.spec.title:
            networks += f" ({model.path.name})"
        return f"{networks} on {model.device}{faces}{mask}{background}"

    def memory(self, pixels: int) -> int:
        """Estimated bytes held by a photo of that many pixels while it waits between stages.

        Without the second copy and the drawing for ``compare``.
        """
        return round(_BYTES_PER_PIXEL * pixels * self._factor**2)

    def read(self, job: Job, on_size: OnSize | None = None) -> LoadedPhoto | PhotoResult:
        """Read a photo, unless its result exists. on_size: as for :func:`~gpen.images.read_picture`."""
        if job.has_result and not self._output.overwrite:
            return exists(job)
        watch = _Stopwatch()
        try:
            try:
                picture = read_picture(job.photo.path, self._options.max_megapixels, on_size, salvage=self._salvage)
            except SalvageableError as error:
                return replace(_failed(job, error, watch.seconds), is_salvageable=True)
            return self._loaded(job, picture, watch.seconds)
        except Exception as error:
            return _failed(job, error, watch.seconds)

    def find(self, loaded: LoadedPhoto) -> LoadedPhoto | PhotoResult:
        """Find the faces of a photo before the network has time for it. Inputs are checked where they are used."""
        source, watch = loaded.source, _Stopwatch(loaded.seconds)
        if source.whole_photo:
            return loaded
        try:
            photo = DevicePhoto(loaded.picture.photo, self._components.model.device)
            faces = ChosenFaces(source.find(photo, self._region))
        except Exception as error:
            return _failed(loaded.job, error, watch.seconds)
        return replace(loaded, source=faces, on_device=photo, seconds=watch.seconds)

    def process(
        self, loaded: LoadedPhoto, on_progress: OnProgress | None = None, on_tile: OnTile | None = None
    ) -> ProcessedPhoto | PhotoResult:
        """Upscale the background, if there is an upscaler, and do the task to the faces.

        The frames that a frame's steady texture lacks are restored first, see :mod:`gpen.batch.textures`.
        """
        job, picture, watch = loaded.job, loaded.picture, _Stopwatch(loaded.seconds)
        try:
            for frame in [] if self._textures is None else self._textures.begin(job.photo):
                self._restore_again(replace(job, photo=frame))
            restoration = self._restored(loaded, on_progress, on_tile)
        except Exception as error:
            return _failed(job, error, watch.seconds)
        note, signed = self._output.provenance, self._signer is not None
        finished = finish(self._task, picture, restoration, note=note, signed=signed)
        before = picture.photo if self._output.compare else None
        return ProcessedPhoto(job, finished, before, restoration, watch.seconds)

    def _loaded(self, job: Job, picture: Picture, seconds: float) -> LoadedPhoto:
        masks = self._components.damage_masks, self._components.protect_masks
        damage, protect = (None if given is None else given.of(job.photo.name) for given in masks)
        return LoadedPhoto(job, picture, self._faces.source(job.photo, picture), seconds, damage, protect)

    def _restored(
        self, loaded: LoadedPhoto, on_progress: OnProgress | None = None, on_tile: OnTile | None = None
    ) -> Restoration:
        photo, upscaler, background = loaded.picture.photo, self._components.upscaler, None
        if upscaler is not None:
            background = upscaler.background(photo, self._options, on_tile)
        work = PhotoWork(
            photo=photo,
            source=loaded.source,
            inputs=PhotoInputs(
                region=self._region, background=background, damage=loaded.damage, protect=loaded.protect
            ),
            keep=Keep(crops=self._output.save_faces, photo=background is None and self._output.compare),
            on_progress=on_progress,
            on_device=loaded.on_device,
            texture=None if self._textures is None else self._textures.of(loaded.job.photo),
        )
        return run_task(self._task, work, self._components, self._options)

    def _restore_again(self, job: Job) -> None:
        """Restore a frame for the texture of later ones. One that fails has none, as when its own result failed."""
        try:
            picture = read_picture(job.photo.path, self._options.max_megapixels, salvage=self._salvage)
            self._restored(self._loaded(job, picture, 0.0))
        except GpenError as error:
            _log.warning("%s: %s", job.photo.path, str(error))

    def write(self, processed: ProcessedPhoto, on_ready: Callable[[PhotoResult], None] | None = None) -> PhotoResult:
        """Write the result of a photo and its further files.

        The result comes last, so if it exists, the other files do too; then nothing is written, as
        in :meth:`read`. on_ready: called just before it is written.
        """
        job, watch = processed.job, _Stopwatch(processed.seconds)
        if job.has_result and not self._output.overwrite:  # another run was faster
            return exists(job)
        try:
            make_folder(job.target.parent)
            if self._output.save_faces:
                _save_faces(job, processed.restoration)
            if processed.before is not None:
                self._save_comparison(job, processed.before, processed.restoration)
            if on_ready is not None:
                on_ready(replace(processed.result, seconds=watch.seconds))
            processed.finished.write(job.target, job.photo.path, self._output.quality, self._signer)
        except Exception as error:
            return _failed(job, error, watch.seconds)
        return replace(processed.result, seconds=watch.seconds)

    def _save_comparison(self, job: Job, photo: FloatImage, restoration: Restoration) -> None:
        height, width = restoration.photo.shape[:2]
        x, y = width / photo.shape[1], height / photo.shape[0]
        faces = [(face.number, face.face.scaled(x, y)) for face in restoration.faces]
        pictures = resize(photo, (width, height)), restoration.photo
        before, after = (draw_faces(picture, faces, boxes=False) for picture in pictures)
        drawing = side_by_side([before, after], ["before", f"after ({self._components.title})"])
        if len(faces) > MOST_IN_VIEW:
            drawing = with_close_ups(drawing, *pictures, faces)
        path = job.target.parent / f"{job.label}_compare.png"
        write_picture(path, from_samples(drawing))


class _Stopwatch:
    """Seconds since it was made, plus those spent earlier."""

    def __init__(self, earlier: float = 0.0) -> None:
        self._start = time.perf_counter() - earlier

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


def exists(job: Job) -> PhotoResult:
    """The outcome for a photo whose result already exists."""
    return PhotoResult(job, Status.EXISTS, f"{job.target} already exists; the photo was skipped.")


def _failed(job: Job, error: Exception, seconds: float) -> PhotoResult:
    if isinstance(error, GpenError):
        why = str(error)
    elif is_out_of_memory(error):
        why = "There is not enough memory for this photo. Close other programs, or make it smaller."
    else:
        # A bug of ours must not stop a batch of thousands of photos.
        _log.info("%s", job.photo.path, exc_info=error)
        why = f"Unexpected {type(error).__name__}: {error}. The log (INFO) says more; please report this as a bug."
    return PhotoResult(job, Status.FAILED, why, seconds)


def _save_faces(job: Job, restoration: Restoration) -> None:
    for face in restoration.faces:
        for when, crop in (("before", face.before), ("after", face.after)):
            assert crop is not None
            write_picture(job.target.parent / f"{job.label}_face{face.number:02d}_{when}.png", Picture(crop))

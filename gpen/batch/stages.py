"""Photos in files restored into files, in stages; :mod:`gpen.batch.prefetch` runs the stages side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..atomic import make_folder
from ..errors import GpenError
from ..faces.drawing import draw_faces, side_by_side
from ..faces.source import ChosenFaces, FaceSource
from ..images import OnSize, Picture, read_picture, write_picture
from ..images.picture import FloatImage, from_samples
from ..images.resize import resize
from ..options import Options
from ..restoration.components import Components
from ..restoration.finish import FinishedPhoto, finish
from ..restoration.pipeline import Keep, OnProgress, run_task
from ..restoration.processors import PhotoInputs
from ..restoration.result import Restoration
from ..restoration.upscaler import OnTile
from ..tasks import Task
from .faces import BatchFaces
from .plan import Job
from .report import PhotoResult, Status

# Colours and alpha in float32; while they are read or written, samples of 8 or 16 bits and the file as well.
_BYTES_PER_PIXEL = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written besides the results, and how."""

    compare: bool = False
    """Also before and after, side by side."""
    save_faces: bool = False
    """Also each face before and after."""
    overwrite: bool = False
    """Also results that already exist."""
    quality: int | None = None
    """Of JPEG and WebP, 1 to 100; None for the default."""


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """A photo that was read."""

    job: Job
    """The photo, and the file of its result."""
    picture: Picture
    """What the file holds."""
    source: FaceSource
    """Where its faces come from."""
    seconds: float
    """Of work on it so far."""
    damage: FloatImage | None = None
    """The mask of its damage."""


@dataclass(frozen=True, eq=False)
class ProcessedPhoto:
    """A photo whose result is to be written."""

    job: Job
    """The photo, and the file of its result."""
    finished: FinishedPhoto
    """What is written."""
    before: FloatImage | None
    """The photo's pixels, where they will be shown once more."""
    restoration: Restoration
    """What became of its faces."""
    seconds: float
    """Of work on it so far."""

    @property
    def crop_bytes(self) -> int:
        """Bytes of the crops that wait to be written."""
        crops = (crop for face in self.restoration.faces for crop in (face.before, face.after))
        return sum(crop.nbytes for crop in crops if crop is not None)

    @property
    def result(self) -> PhotoResult:
        """What is to be said once it is written."""
        made = self.restoration
        return PhotoResult(
            self.job,
            Status.DONE if made.changed else Status.UNCHANGED,
            made.summary,
            self.seconds,
            tuple((face.number, face.face) for face in made.faces),
            tuple(made.skipped),
            {face.number: (face.identity, face.share) for face in made.faces if face.identity is not None},
        )


class PhotoProcessor:
    """Does a task to photos, with the same components and options, in three stages: read, restore, write.

    A stage never fails: what goes wrong with a photo is in the result that takes the place of the stage's output. The
    first and the last stage call nothing of PyTorch, and may run in other threads than the second.
    """

    def __init__(
        self,
        task: Task,
        components: Components,
        faces: BatchFaces,
        options: Options,
        output: OutputOptions | None = None,
        region: FloatImage | None = None,
    ) -> None:
        self._task = task
        self._components = components
        self._faces = faces
        self._options = options
        self._output = output or OutputOptions()
        self._region = region
        upscaler, detector = components.upscaler, components.detector
        self._factor = options.upscale if upscaler is None else upscaler.factor(options)
        # Only YuNet, which stays on the CPU, leaves a GPU to the network; on a CPU every detector needs its cores.
        on_gpu = components.model.device.type != "cpu"
        self._finds_early = on_gpu and detector is not None and detector.name == "yunet"

    @property
    def title(self) -> str:
        """What restores, where, and where the faces come from."""
        model, upscaler = self._components.model, self._components.upscaler
        faces = self._faces.name and f", faces from {self._faces.name}"
        background = "" if upscaler is None else f", background from {upscaler.title}"
        return f"{model.spec.title} ({model.path.name}) on {model.device}{faces}{background}"

    def memory(self, pixels: int) -> int:
        """About as many bytes as a photo of so many pixels holds while it is not being restored.

        Not counted: the second copy and the drawing that ``compare`` needs.
        """
        return round(_BYTES_PER_PIXEL * pixels * self._factor**2)

    def read(self, job: Job, on_size: OnSize | None = None) -> LoadedPhoto | PhotoResult:
        """Read a photo whose result does not exist yet. on_size: as for :func:`~gpen.images.read_picture`."""
        if job.target.is_file() and not self._output.overwrite:
            return exists(job)
        watch = _Stopwatch()
        try:
            picture = read_picture(job.photo.path, self._options.max_megapixels, on_size)
            masks = self._components.damage_masks
            damage = None if masks is None else masks.of(job.photo.name)
            source = self._faces.source(job.photo, picture)
            if self._finds_early:
                source = ChosenFaces(source.find(picture.photo, self._region))
            return LoadedPhoto(job, picture, source, watch.seconds, damage)
        except Exception as error:
            return _failed(job, error, watch.seconds)

    def restore(
        self, loaded: LoadedPhoto, on_progress: OnProgress | None = None, on_tile: OnTile | None = None
    ) -> ProcessedPhoto | PhotoResult:
        """Make the background of a photo, if there is an upscaler for it, and do the task to the faces."""
        job, picture, watch = loaded.job, loaded.picture, _Stopwatch(loaded.seconds)
        try:
            upscaler, background = self._components.upscaler, None
            if upscaler is not None:
                background = upscaler.background(picture.photo, self._options, on_tile)
            restoration = run_task(
                self._task,
                picture.photo,
                loaded.source,
                self._components,
                self._options,
                inputs=PhotoInputs(region=self._region, background=background, damage=loaded.damage),
                keep=Keep(crops=self._output.save_faces, photo=background is None and self._output.compare),
                on_progress=on_progress,
            )
        except Exception as error:
            return _failed(job, error, watch.seconds)
        finished = finish(self._task, picture, restoration)
        before = picture.photo if self._output.compare else None
        return ProcessedPhoto(job, finished, before, restoration, watch.seconds)

    def write(self, processed: ProcessedPhoto, on_ready: Callable[[PhotoResult], None] | None = None) -> PhotoResult:
        """Write the result of a photo.

        The result itself is written last: where it exists, everything else does. on_ready: called before that.
        """
        job, watch = processed.job, _Stopwatch(processed.seconds)
        try:
            make_folder(job.target.parent)
            if self._output.save_faces:
                _save_faces(job, processed.restoration)
            if processed.before is not None:
                self._save_comparison(job, processed.before, processed.restoration)
            if on_ready is not None:
                on_ready(replace(processed.result, seconds=watch.seconds))
            processed.finished.write(job.target, job.photo.path, self._output.quality)
        except Exception as error:
            return _failed(job, error, watch.seconds)
        return replace(processed.result, seconds=watch.seconds)

    def _save_comparison(self, job: Job, photo: FloatImage, restoration: Restoration) -> None:
        height, width = restoration.photo.shape[:2]
        x, y = width / photo.shape[1], height / photo.shape[0]
        faces = [(face.number, face.face.scaled(x, y)) for face in restoration.faces]
        before, after = (
            draw_faces(picture, faces, boxes=False) for picture in (resize(photo, (width, height)), restoration.photo)
        )
        drawing = side_by_side([before, after], ["before", f"after ({self._components.model.spec.title})"])
        path = job.target.parent / f"{job.label}_compare.png"
        write_picture(path, from_samples(drawing))


class _Stopwatch:
    """Seconds since it was made, and those that were counted before."""

    def __init__(self, before: float = 0.0) -> None:
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


def exists(job: Job) -> PhotoResult:
    """What is said of a photo whose result already exists."""
    return PhotoResult(job, Status.EXISTS, f"{job.target} already exists; it was not made again.")


def _failed(job: Job, error: Exception, seconds: float) -> PhotoResult:
    if isinstance(error, GpenError):
        why = str(error)
    elif isinstance(error, MemoryError):
        why = "There is not enough memory for this photo. Close other programs, or make it smaller."
    else:
        # A mistake of ours; thousands of other photos should not wait for it to be found.
        _log.info("%s", job.photo.path, exc_info=error)
        why = f"This should not happen: {type(error).__name__}: {error}. The log says more; please report it."
    return PhotoResult(job, Status.FAILED, why, seconds)


def _save_faces(job: Job, restoration: Restoration) -> None:
    for face in restoration.faces:
        for when, crop in (("before", face.before), ("after", face.after)):
            assert crop is not None
            write_picture(job.target.parent / f"{job.label}_face{face.number:02d}_{when}.png", Picture(crop))

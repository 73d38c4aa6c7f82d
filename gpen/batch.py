"""Photographs in files restored into files, step by step; :mod:`gpen.overlap` runs the steps side by side."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .damage import DamageMasks
from .device import pick_dtype
from .draw import draw_faces, side_by_side
from .errors import GpenError, PhotoError
from .face_task import Parser
from .faces.detect import DEFAULT_THRESHOLD, FaceDetector, make_detector
from .faces.face import Face
from .faces.faces_file import FacesFromFile
from .faces.identity import IdentityGuard, make_guard
from .faces.parsing import make_parser
from .faces.resample import Image
from .faces.select import without_choice
from .files.atomic import atomic_path
from .images import OnSize, Picture, read_picture, write_picture
from .images.picture import from_samples
from .jobs import Job, make_folder
from .model.checkpoint import Model, load_model
from .options import OPTIONS_OF, Options
from .pipeline import OnProgress, resize
from .report import DONE, FAILED, THERE, UNCHANGED, Entry
from .restoration import Restoration
from .tasks import run
from .upscale import OnTile, Upscaler, load_upscaler
from .video import FrameFaces, VideoFaces, listed_faces

# Colours and alpha in float32; while they are read or written, samples of 8 or 16 bits and the file as well.
_BYTES_PER_PIXEL = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extras:
    """What is written besides the results, and how."""

    compare: bool = False
    save_faces: bool = False
    overwrite: bool = False
    quality: int | None = None


@dataclass(frozen=True, eq=False)
class Loaded:
    """A photograph that was read.

    faces: its faces, or what finds them; None where all of it is one. seconds: of work on it so far. damage: its mask.
    """

    job: Job
    picture: Picture
    faces: FaceDetector | list[Face] | FrameFaces | None
    seconds: float
    damage: Image | None = None


@dataclass(frozen=True, eq=False)
class Unwritten:
    """A photograph that was restored.

    picture: the result without alpha. alpha: the photograph's, as it was read. before: the photograph's pixels, where
    they will be shown once more.
    """

    job: Job
    picture: Picture
    alpha: Image | None
    before: Image | None
    restoration: Restoration
    seconds: float

    @property
    def crops(self) -> int:
        """Bytes of the crops that wait to be written."""
        crops = (crop for face in self.restoration.faces for crop in (face.before, face.after))
        return sum(crop.nbytes for crop in crops if crop is not None)

    @property
    def changed(self) -> bool:
        """Whether it is more than the photograph at its size or another."""
        return bool(self.restoration.faces) or self.restoration.has_background

    @property
    def entry(self) -> Entry:
        """What is to be said once it is written."""
        return Entry(
            self.job,
            DONE if self.changed else UNCHANGED,
            self.restoration.summary,
            self.seconds,
            tuple((face.number, face.face) for face in self.restoration.faces),
            tuple(self.restoration.skipped),
            {face.number: (face.identity, face.share) for face in self.restoration.faces if face.identity is not None},
        )


@dataclass(frozen=True)
class Recipe:
    """What a Restorer is made from, in paths and plain values, which other processes understand as well.

    weights: the network's file. faces: what gpen detect wrote, or None for the detector of the options. region: a
    picture in whose white faces are restored. folders: searched first for detectors. device: as PyTorch names it.
    background: the file of an upscaler for all that is not face. task: what is done, one of the catalogue's. damage: a
    picture that is white where the photograph is damaged, or a folder of such. aligned: photographs are faces that
    were cut out as the network takes them. video: the faces of all photographs, where these are the frames of a video.
    """

    weights: Path
    options: Options
    extras: Extras
    faces: Path | None = None
    region: Path | None = None
    folders: tuple[Path, ...] = ()
    device: str = "cpu"
    background: Path | None = None
    task: str = "restore"
    damage: Path | None = None
    aligned: bool = False
    video: VideoFaces | None = None

    def source(self, device: str) -> FaceDetector | FacesFromFile | VideoFaces | None:
        """What says where the faces are, None where all of a photograph is one; FaceError or FilesError if unusable."""
        if self.aligned or self.task == "segmentation":
            return None
        if self.video is not None:
            return self.video
        if self.faces is not None:
            return FacesFromFile(self.faces)
        return make_detector(self.options.detector, self.folders, device)

    def parser(self, device: str) -> Parser | None:
        """What the parsed mask needs; GpenError where it cannot be used."""
        parsed = self.options.mask == "parsed" and "mask" in OPTIONS_OF[self.task]
        return make_parser(self.folders, device) if parsed and not self.aligned else None

    def upscaler(self, device: str) -> Upscaler | None:
        """What makes the background; GpenError where it cannot be used."""
        return None if self.background is None else load_upscaler(self.background, device, self.options.precision)

    def guard(self, device: str) -> IdentityGuard | None:
        """What keeps faces the same person's; GpenError where it cannot be used."""
        return make_guard(self.options, self.folders, device) if self.task == "restore" else None

    def masks(self) -> DamageMasks | None:
        """Where photographs are damaged; PhotoError where the masks are not there."""
        return None if self.damage is None else DamageMasks(self.damage, self.options.max_megapixels)

    def white(self) -> Image | None:
        """The region, (H, W)."""
        if self.region is None:
            return None
        return np.asarray(read_picture(self.region, self.options.max_megapixels).photo.mean(axis=2))

    def make(self) -> Restorer:
        """Load everything. Raises GpenError, or a subclass, where something cannot be used."""
        device = torch.device(self.device)
        model = load_model(self.weights, device, pick_dtype(self.options.precision, device)).for_task(self.task)
        source, parser = self.source(self.device), self.parser(self.device)
        return Restorer(
            model,
            source,
            self.options,
            parser,
            self.extras,
            self.white(),
            self.upscaler(self.device),
            self.masks(),
            self.guard(self.device),
        )


class Restorer:
    """Does the model's task to photographs, with the same faces and options, in three steps: read, restore, write.

    A step never fails: what goes wrong with a photograph is in the entry that takes the place of the step's
    result. The first and the last step call nothing of PyTorch, and may run in other threads than the second.
    """

    def __init__(
        self,
        model: Model,
        faces: FaceDetector | FacesFromFile | VideoFaces | None,
        options: Options,
        parser: Parser | None = None,
        extras: Extras | None = None,
        region: Image | None = None,
        upscaler: Upscaler | None = None,
        damage: DamageMasks | None = None,
        guard: IdentityGuard | None = None,
    ) -> None:
        self._model = model
        self._faces = faces
        # The faces of a video were chosen when they were followed.
        self._options = without_choice(options) if isinstance(faces, VideoFaces) else options
        self._parser = parser
        self._extras = extras or Extras()
        self._region = region
        self._upscaler = upscaler
        self._damage = damage
        self._guard = guard
        self._factor = options.upscale if upscaler is None else upscaler.factor(options)
        # Only YuNet, which stays on the CPU, leaves a GPU to the network; on a CPU every detector needs its cores.
        self._finds_early = model.device.type != "cpu" and getattr(faces, "name", "") == "yunet"

    @property
    def title(self) -> str:
        """What restores, where, and what says where the faces are."""
        source = self._faces
        faces = "" if source is None else source.path if isinstance(source, FacesFromFile) else source.name
        faces = faces and f", faces from {faces}"
        rest = f", all else from {self._upscaler.title}" if self._upscaler is not None else ""
        return f"{self._model.spec.title} ({self._model.path.name}) on {self._model.device}{faces}{rest}"

    def memory(self, pixels: int) -> int:
        """About as many bytes as a photograph of so many pixels holds while it is not being restored.

        Not counted: the second copy and the drawing that ``compare`` needs.
        """
        return round(_BYTES_PER_PIXEL * pixels * self._factor**2)

    def read(self, job: Job, on_size: OnSize | None = None) -> Loaded | Entry:
        """Read a photograph that is not restored yet. on_size: as for :func:`~gpen.images.read_picture`."""
        if job.target.is_file() and not self._extras.overwrite:
            return Entry(job, THERE, f"{job.target} is there already; --overwrite restores it anew.")
        watch = _Watch()
        try:
            picture = read_picture(job.photograph.path, self._options.max_megapixels, on_size)
            damage = None if self._damage is None else self._damage.of(job.photograph)
            return Loaded(job, picture, self._find(job, picture), watch.seconds, damage)
        except Exception as error:
            return _failed(job, error, watch.seconds)

    def restore(
        self, loaded: Loaded, on_progress: OnProgress | None = None, on_tile: OnTile | None = None
    ) -> Unwritten | Entry:
        """Make the background of a photograph, if there is an upscaler for it, and restore the faces."""
        job, picture, extras, watch = loaded.job, loaded.picture, self._extras, _Watch(loaded.seconds)
        try:
            background = None
            if self._upscaler is not None:
                background = self._upscaler.background(picture.photo, self._options, on_tile)
            restoration = run(
                self._model.task,
                picture.photo,
                self._model,
                loaded.faces.faces if isinstance(loaded.faces, FrameFaces) else loaded.faces,
                self._options,
                damage=loaded.damage,
                on_progress=on_progress,
                region=self._region,
                background=background,
                parser=self._parser,
                guard=self._guard,
                keep_crops=extras.save_faces,
                in_place=background is not None or not extras.compare,
            )
            if isinstance(loaded.faces, FrameFaces):
                restoration = loaded.faces.numbered(restoration)
        except Exception as error:
            return _failed(job, error, watch.seconds)
        restored, alpha = result_picture(self._model.task, picture, restoration)
        before = picture.photo if extras.compare else None
        return Unwritten(job, restored, alpha, before, restoration, watch.seconds)

    def write(self, made: Unwritten, on_ready: Callable[[Entry], None] | None = None) -> Entry:
        """Write what was made of a photograph.

        The result itself is written last: where it is there, everything else is. on_ready: called before that.
        """
        job, extras, watch = made.job, self._extras, _Watch(made.seconds)
        try:
            make_folder(job.target.parent)
            if extras.save_faces:
                _save_faces(job, made.restoration)
            if made.before is not None:
                self._save_comparison(job, made.before, made.restoration)
            if on_ready is not None:
                on_ready(dataclasses.replace(made.entry, seconds=watch.seconds))
            if made.changed:
                self._write(made)
            else:
                self._write_unchanged(made)
        except Exception as error:
            return _failed(job, error, watch.seconds)
        return dataclasses.replace(made.entry, seconds=watch.seconds)

    def _find(self, job: Job, picture: Picture) -> FaceDetector | list[Face] | FrameFaces | None:
        if isinstance(self._faces, VideoFaces):
            return self._faces.of(job.photograph)
        if isinstance(self._faces, FacesFromFile):
            return listed_faces(self._faces, job.photograph, picture.width, picture.height)
        if self._faces is None:
            return None
        return _Found(self._faces, picture, self._options) if self._finds_early else self._faces

    def _save_comparison(self, job: Job, photo: Image, restoration: Restoration) -> None:
        height, width = restoration.photo.shape[:2]
        x, y = width / photo.shape[1], height / photo.shape[0]
        faces = [(face.number, face.face.scaled(x, y)) for face in restoration.faces]
        before, after = (
            draw_faces(picture, faces, boxes=False) for picture in (resize(photo, (width, height)), restoration.photo)
        )
        drawing = side_by_side([before, after], ["before", f"after ({self._model.spec.title})"])
        path = job.target.parent / f"{job.label}_compare.png"
        write_picture(path, from_samples(drawing))

    def _write(self, made: Unwritten) -> None:
        alpha = None if made.alpha is None else resize(made.alpha, (made.picture.width, made.picture.height))
        result = dataclasses.replace(made.picture, alpha=alpha)
        write_picture(made.job.target, result, quality=self._extras.quality)

    def _write_unchanged(self, made: Unwritten) -> None:
        """Copy the file where nothing was done to it: encoding it again could only lose something."""
        job, source = made.job, made.job.photograph.path
        same_format = source.suffix.lower() == job.target.suffix.lower()
        if not same_format or self._options.upscale != 1:
            self._write(made)
            return
        try:
            with atomic_path(job.target) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise PhotoError(f"{job.target} cannot be written: {error.strerror or error}.") from error


def result_picture(task: str, picture: Picture, restoration: Restoration) -> tuple[Picture, Image | None]:
    """What is to be written of a photograph, and its alpha, as it was read."""
    if task == "segmentation":
        # The map's profile, metadata and alpha say nothing about the face.
        return Picture(restoration.photo), None
    result = dataclasses.replace(picture, photo=restoration.photo, alpha=None)
    if task == "colorize" and picture.grey and restoration.faces:
        result = dataclasses.replace(result, grey=False, icc=None)  # the profile is one of greys
    return result, picture.alpha


class _Found:
    """A detector that has done its work already."""

    def __init__(self, detector: FaceDetector, picture: Picture, options: Options) -> None:
        self.name = detector.name
        self._faces = detector.detect(picture.photo, options.detection_threshold)

    def detect(self, photo: Image, threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        return self._faces


class _Watch:
    """Seconds since it was made, and those that were counted before."""

    def __init__(self, before: float = 0.0) -> None:
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


def _failed(job: Job, error: Exception, seconds: float) -> Entry:
    if isinstance(error, GpenError):
        why = str(error)
    elif isinstance(error, MemoryError):
        why = "There is not enough memory for this photograph. Close other programs, or make it smaller."
    else:
        # A mistake of ours; thousands of other photographs should not wait for it to be found.
        _log.info("%s", job.photograph.path, exc_info=error)
        why = f"This should not happen: {type(error).__name__}: {error}. gpen -v says more; please report it."
    return Entry(job, FAILED, why, seconds)


def _save_faces(job: Job, restoration: Restoration) -> None:
    for face in restoration.faces:
        for when, crop in (("before", face.before), ("after", face.after)):
            assert crop is not None
            write_picture(job.target.parent / f"{job.label}_face{face.number:02d}_{when}.png", Picture(crop))

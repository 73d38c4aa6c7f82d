"""What a batch is to do, in paths and plain values, which other processes understand as well."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..faces.detection.detector import FaceDetector
from ..faces.faces_file import FacesFromFile
from ..images.masks import read_region_mask
from ..images.picture import FloatImage
from ..options import Options
from ..restoration.api import face_choice, face_source
from ..restoration.components import ComponentLoader, Needs
from ..tasks import Task, find_task
from .faces import BatchFaces, ListedFaces, SameSource, VideoFaces
from .stages import OutputOptions, PhotoProcessor
from .video import TrackedFaces


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What is done to the photos of a batch."""

    weights: Path
    """The network's file."""
    options: Options
    """The product's options."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """What is written besides the results, and how."""
    task_name: str = "restore"
    """The task, by its name: rows do not travel between processes."""
    faces: Path | None = None
    """What ``gpen detect`` wrote; None for the detector of the options."""
    region: Path | None = None
    """A picture in whose white faces are worked on."""
    background: Path | None = None
    """The file of an upscaler for the background."""
    damage: Path | None = None
    """A picture that is white where the photo is damaged, or a folder of such."""
    aligned: bool = False
    """Whether photos are faces that were cropped as the network takes them."""
    video: TrackedFaces | None = None
    """The faces of all photos, where these are the frames of a video."""
    folders: tuple[Path, ...] = ()
    """Searched first for detectors, parsers and recognisers."""
    device: str = "cpu"
    """As PyTorch names it."""

    @property
    def task(self) -> Task:
        """The row of the task."""
        return find_task(self.task_name)

    @property
    def needs(self) -> Needs:
        """The components that the run needs."""
        return Needs.of(
            self.task,
            self.options,
            aligned=self.aligned,
            faces_given=self.faces is not None or self.video is not None,
            upscaler=self.background,
            damage=self.damage,
        )

    def loader(self, device: str | None = None) -> ComponentLoader:
        """Loads the components, onto another device where one is given."""
        return ComponentLoader(self.folders, device or self.device)

    def batch_faces(self, detector: FaceDetector | None) -> BatchFaces:
        """Where the faces come from; FaceError for a faces file that cannot be used."""
        if self.video is not None:
            return VideoFaces(self.video)
        return self._faces_of(self.options, detector)

    def untracked_faces(self, detector: FaceDetector | None) -> BatchFaces:
        """The same without any choice among them, and before faces are followed."""
        everything = dataclasses.replace(self.options, select="all", only_faces="", min_face_size=0)
        return self._faces_of(everything, detector)

    def _faces_of(self, options: Options, detector: FaceDetector | None) -> BatchFaces:
        aligned = self.task.is_aligned(self.aligned)
        if self.faces is not None and not aligned:
            return ListedFaces(FacesFromFile(self.faces), face_choice(options))
        source = face_source(self.task, options, detector, aligned=aligned)
        return SameSource(source, "" if detector is None else detector.name, options.detection_threshold)

    def region_mask(self) -> FloatImage | None:
        """The region, (H, W); PhotoError where it cannot be read."""
        return None if self.region is None else read_region_mask(self.region, self.options.max_megapixels)

    def check(self) -> None:
        """Raise what is wrong with the configuration itself, without building anything."""
        self.loader("cpu").check(self.task, self.weights, self.options, self.needs)
        if self.faces is not None:
            FacesFromFile(self.faces)
        self.region_mask()

    def make(self) -> PhotoProcessor:
        """Load everything. GpenError, or a subclass, where something cannot be used."""
        components = ComponentLoader(self.folders, torch.device(self.device)).load(
            self.task, self.weights, self.options, self.needs
        )
        return PhotoProcessor(
            self.task,
            components,
            self.batch_faces(components.detector),
            self.options,
            self.output,
            self.region_mask(),
        )

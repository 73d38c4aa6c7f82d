"""The configuration of a run, in paths and plain values that can be sent to other processes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from ..faces.detection.detector import FaceDetector
from ..faces.faces_file import FacesFromFile
from ..faces.recognition.people import People
from ..faces.selection.select import FaceChoice
from ..images.masks import read_mask
from ..images.metadata.content_credentials import ContentSigner
from ..images.picture import FloatImage
from ..options import Options, supported
from ..restoration.api import face_choice, face_source
from ..restoration.components import ComponentLoader, Components
from ..restoration.needs import Needs
from ..restoration.processors import with_mask_chosen
from ..tasks import Task, find_task
from ..weights.search import search_folders
from .faces import BatchFaces, ListedFaces, SameSource, VideoFaces
from .stages import OutputOptions, PhotoProcessor
from .textures import FrameTextures
from .video import TrackedFaces


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a batch does to its photos."""

    weights: Path
    """The model file."""
    other_weights: tuple[Path, ...] | None = None
    """Further model files, of which each face gets the one of its size; None where all faces get the first."""
    options: Options
    """The options of the task."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """How results are written, and which further files."""
    task_name: str = "restore"
    """Name of the task; the row itself is not sent between processes."""
    faces: Path | None = None
    """A faces file (:mod:`gpen.faces.faces_file`); None to detect faces."""
    region: Path | None = None
    """A picture that is white where faces are worked on; None for everywhere."""
    background: Path | None = None
    """The model file of an upscaler for the background."""
    damage: Path | None = None
    """A picture that is white where the photo is damaged, or a folder with one per photo."""
    protect: Path | None = None
    """A picture that is white where the photo stays as it is, or a folder with one per photo; None for nowhere."""
    people: tuple[Path, ...] = ()
    """Photos of the people whose faces are worked on; none for everybody's."""
    aligned: bool = False
    """Whether each photo is one aligned face, cropped to the square that the network takes."""
    salvage: bool = False
    """Whether damaged photos are read as far as they go."""
    video: TrackedFaces | None = None
    """The tracked faces, if the photos are the frames of a video."""
    folders: tuple[Path, ...] = ()
    """Folders to search first for detectors, parsers and recognisers."""
    device: str = "cpu"
    """A PyTorch device such as "cpu" or "cuda:1"; a Ray engine also takes "auto"."""

    @property
    def task(self) -> Task:
        """The row of the task in :mod:`gpen.tasks`."""
        return find_task(self.task_name)

    @property
    def has_steady_texture(self) -> bool:
        """Whether the result of a photo, a frame of a video, depends on the frames before it."""
        return self.video is not None and "texture" in self.task.options and self.options.texture > 0

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
            protect=self.protect,
            # The faces of a video were chosen already.
            people=self.people if self.video is None else (),
        )

    def loader(self, device: str | None = None) -> ComponentLoader:
        """Loads the components onto ``device``, or onto the device of the run."""
        return ComponentLoader(self.folders, device or self.device)

    def batch_faces(self, components: Components) -> BatchFaces:
        """Where the faces come from; FaceError if the faces file cannot be used."""
        if self.video is not None:
            return VideoFaces(self.video)
        return self._faces_of(self.choice(components.people), components.detector)

    def untracked_faces(self, detector: FaceDetector | None) -> BatchFaces:
        """All faces of every photo, without choosing or tracking any."""
        return self._faces_of(FaceChoice(), detector)

    def choice(self, people: People | None) -> FaceChoice:
        """What is asked of faces; people: those whose photos are given."""
        choice = face_choice(supported(self.options, self.task), people)
        return dataclasses.replace(choice, report_sharpness=self.output.report)

    def _textures(self) -> FrameTextures | None:
        if self.video is None or not self.has_steady_texture:
            return None
        return FrameTextures(self.video, self.options.texture)

    def _faces_of(self, choice: FaceChoice, detector: FaceDetector | None) -> BatchFaces:
        aligned = self.task.is_aligned(self.aligned)
        if self.faces is not None and not aligned:
            return ListedFaces(FacesFromFile(self.faces), choice)
        source = face_source(self.task, self.options, detector, aligned=aligned, choice=choice)
        return SameSource(source, "" if detector is None else detector.name, self.options.detection_threshold)

    def absolute(self) -> RunConfig:
        """The same with paths that hold in any process: in another working directory and environment."""
        sign = self.output.sign
        return dataclasses.replace(
            self,
            output=dataclasses.replace(self.output, sign=sign and (sign[0].absolute(), sign[1].absolute())),
            weights=self.weights.absolute(),
            other_weights=self.other_weights and tuple(weights.absolute() for weights in self.other_weights),
            faces=self.faces and self.faces.absolute(),
            region=self.region and self.region.absolute(),
            background=self.background and self.background.absolute(),
            damage=self.damage and self.damage.absolute(),
            protect=self.protect and self.protect.absolute(),
            people=tuple(person.absolute() for person in self.people),
            folders=tuple(folder.absolute() for folder in search_folders(self.folders, kind="detector")),
        )

    def with_mask_chosen(self) -> RunConfig:
        """The same with a mask in place of "auto", which may be another one on a machine without a face parser."""
        found = self.loader("cpu").find_parser(self.needs.mask)
        return dataclasses.replace(self, options=with_mask_chosen(self.options, has_parser=found is not None))

    def region_mask(self) -> FloatImage | None:
        """The region, float32 (H, W); PhotoError if it cannot be read."""
        return None if self.region is None else read_mask(self.region, self.options.max_megapixels)

    def check(self) -> None:
        """Raise a GpenError for what is wrong with the configuration itself, without loading anything."""
        self.loader("cpu").check(self.task, self.weights, self.options, self.needs, self.other_weights)
        if self.faces is not None:
            FacesFromFile(self.faces)
        self.region_mask()
        if self.output.sign is not None:
            ContentSigner(*self.output.sign)

    def make(self) -> PhotoProcessor:
        """Load everything; GpenError if something cannot be used."""
        components = self.loader().load(self.task, self.weights, self.options, self.needs, self.other_weights)
        return PhotoProcessor(
            self.task,
            components,
            self.batch_faces(components),
            self.options,
            self.output,
            self.region_mask(),
            salvage=self.salvage,
            textures=self._textures(),
        )

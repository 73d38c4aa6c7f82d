"""The first pass over a film: the faces of every frame are found, and then followed through the film."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
import torch

from ..errors import PhotoError
from ..faces.detection.detector import FaceDetector
from ..faces.face import Face
from ..faces.selection.select import FaceChoice
from ..faces.selection.traits import FaceTraits
from ..faces.tracking.clip import ClipFaces
from ..faces.tracking.shot_cuts import CutFinder
from ..images.picture import FloatImage
from ..images.tensors import DevicePhoto
from ..options import Options
from ..restoration.api import face_source
from ..tasks import Task
from .decoding import Flaw, OnFlaw
from .listed import ListedFaces
from .source import Film, read_frames
from .still import as_photo
from .threads import read_ahead
from .work import WorkFolder

FindFaces = Callable[[FloatImage], Sequence[Face]]
"""Finds the faces of a frame (H, W, 3), RGB, [0, 1], as shown."""

_AHEAD = 2  # frames
_RECORDED = 50
"""Frames whose faces are recorded together; what is found after the last record is found again after a stop."""


@dataclass(eq=False)
class FoundFaces:
    """What the first pass finds."""

    clip: ClipFaces
    timestamps: list[int] = field(default_factory=list)
    """Of each frame."""
    flaws: list[Flaw] = field(default_factory=list)
    """What is damaged in the film."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What of a film is worked on, and how it is read."""

    film: Film
    start: int | None = None
    """The first timestamp that is worked on, which becomes 0 in the result; None for the whole film."""
    end: int | None = None
    """The first timestamp that is not worked on; None for the whole film."""
    deinterlace: bool = False

    def frames(self, on_flaw: OnFlaw = lambda flaw: None) -> Iterator[Any]:
        """Its frames, as :func:`~gpen.video.source.read_frames`."""
        for frame in read_frames(self.film, on_flaw, deinterlace=self.deinterlace, start=self.start):
            if self.end is not None and frame.pts >= self.end:
                return
            yield frame


def finder(task: Task, options: Options, detector: FaceDetector | None, device: torch.device) -> FindFaces:
    """Finds all faces of a frame; which of them are restored is chosen once all frames are known."""
    source = face_source(task, options, detector, choice=FaceChoice())

    def find(photo: FloatImage) -> list[Face]:
        return [found.face for found in source.find(DevicePhoto(photo, device))]

    return find


def find_faces(
    part: Part,
    find: FindFaces | ListedFaces,
    choice: FaceChoice,
    work: WorkFolder,
    on_frame: Callable[[FloatImage | None], object],
) -> FoundFaces:
    """Find or look up the faces of all frames; ``work`` holds those that a run found that was stopped.

    on_frame: called after each frame with its picture, None if its faces were known. Only faces are kept of a frame. A
    second thread decodes ahead. PhotoError where there is no frame.
    """
    records = list(work.records())
    work.restart_records(records)
    found = _from_records(records, choice)
    if records and records[-1]["end"]:
        return found
    done = len(found.timestamps)
    flaws: list[Flaw] = []
    with read_ahead(photos_of(part, done, flaws.append), _AHEAD) as frames:
        for timestamp, photo in frames:
            if photo is not None:
                number = len(found.timestamps)
                found.clip.add(photo, find.of(number, timestamp) if isinstance(find, ListedFaces) else find(photo))
                found.timestamps.append(timestamp)
                if len(found.timestamps) - done == _RECORDED:
                    work.record(_record(found, done))
                    done = len(found.timestamps)
            on_frame(photo)
    if isinstance(find, ListedFaces) and part.end is None:
        find.check_end(len(found.timestamps))
    found.flaws = flaws
    if not found.timestamps:
        raise PhotoError(
            f"No frame of {part.film.path} lies in the part that is to be restored. Choose an earlier one."
        )
    work.record(_record(found, done, is_end=True))
    return found


def photos_of(part: Part, done: int, on_flaw: OnFlaw) -> Iterator[tuple[int, FloatImage | None]]:
    """Timestamp of each frame, and its picture as :data:`FindFaces` takes it; None for the first ``done``."""
    photo = as_photo(part.film)
    for number, frame in enumerate(part.frames(on_flaw)):
        yield frame.pts, None if number < done else photo(frame)


def _record(found: FoundFaces, since: int, *, is_end: bool = False) -> dict[str, Any]:
    clip = found.clip
    if is_end:
        clip.cuts.end()
    return {
        "timestamps": found.timestamps[since:],
        "faces": [[_written(face) for face in faces] for faces in clip.found[since:]],
        "traits": [[[face.sharpness, face.likeness] for face in faces] for faces in clip.traits[since:]],
        "cuts": clip.cuts.cuts,
        "recent": [] if is_end else [[frame, *_packed(image)] for frame, image in clip.cuts.recent],
        "flaws": [astuple(flaw) for flaw in found.flaws],
        "end": is_end,
    }


def _from_records(records: Sequence[dict[str, Any]], choice: FaceChoice) -> FoundFaces:
    clip = ClipFaces(choice)
    found = FoundFaces(clip)
    for record in records:
        found.timestamps += record["timestamps"]
        clip.found += [[_read(face) for face in faces] for faces in record["faces"]]
        clip.traits += [[FaceTraits(*face) for face in faces] for faces in record["traits"]]
        clip.cuts = CutFinder([(frame, _unpacked(*image)) for frame, *image in record["recent"]], record["cuts"])
        found.flaws = [Flaw(*flaw) for flaw in record["flaws"]]
    return found


def _written(face: Face) -> list[Any]:
    """In full precision, so that a run that goes on smooths the same numbers."""
    return [list(face.box), face.score, face.landmarks.tolist()]


def _read(content: list[Any]) -> Face:
    box, score, landmarks = content
    return Face((box[0], box[1], box[2], box[3]), score, np.array(landmarks, float))


def _packed(image: FloatImage) -> tuple[list[int], str]:
    return list(image.shape), base64.b64encode(np.ascontiguousarray(image).tobytes()).decode()


def _unpacked(shape: list[int], data: str) -> FloatImage:
    return np.frombuffer(base64.b64decode(data), np.float32).reshape(shape)

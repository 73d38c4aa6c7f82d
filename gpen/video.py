"""The frames of a video in files: their faces are all found and followed before the first frame is restored."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import FaceError, GpenError, PhotoError
from .faces.cuts import Thumbnail, find_cuts, thumbnail
from .faces.detect import FaceDetector
from .faces.face import Face
from .faces.faces_file import FacesFromFile
from .faces.resample import Image
from .faces.select import select_tracked
from .faces.track import TrackedFace, track_faces
from .images import Picture, read_picture
from .jobs import Job, Photograph
from .options import Options
from .pipeline import check_photo
from .restoration import Restoration, SkippedFace
from .wording import count

_DIGITS = re.compile(r"(\d+)")


@dataclasses.dataclass(frozen=True, eq=False)
class FrameFaces:
    """The faces of one frame: those to restore, from left to right, and the others. Numbers are those of the tracks."""

    chosen: tuple[TrackedFace, ...] = ()
    left_out: tuple[SkippedFace, ...] = ()

    @property
    def faces(self) -> list[Face]:
        """Those to restore, from left to right."""
        return [tracked.face for tracked in self.chosen]

    def numbered(self, restoration: Restoration) -> Restoration:
        """What became of these faces, numbered as the tracks are, with those left out."""
        numbers = [tracked.number for tracked in self.chosen]
        faces = [dataclasses.replace(face, number=numbers[face.number]) for face in restoration.faces]
        skipped = [dataclasses.replace(face, number=numbers[face.number]) for face in restoration.skipped]
        return dataclasses.replace(
            restoration,
            faces=sorted(faces, key=lambda face: face.number),
            skipped=sorted([*skipped, *self.left_out], key=lambda face: face.number),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class VideoFaces:
    """The faces of all frames. name: what found them. frames: by the frame's absolute path."""

    name: str
    frames: dict[str, FrameFaces]
    summary: str

    def of(self, photograph: Photograph) -> FrameFaces:
        """Those of one frame; PhotoError where it could not be read when all faces were looked for."""
        faces = self.frames.get(_key(photograph.path))
        if faces is None:
            raise PhotoError(
                f"{photograph.path} could not be read when the faces were looked for, and now it can. Run the same "
                "command again."
            )
        return faces


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """The frames as they follow each other: frame2 before frame10. PhotoError where they lie in several folders."""
    folders = list(dict.fromkeys(job.photograph.path.parent for job in jobs))
    if len(folders) > 1:
        raise PhotoError(
            f"With --video the photographs are the frames of one video, in one folder; these lie in {len(folders)}, "
            f"such as {folders[0]} and {folders[1]}. Do one folder after the other."
        )
    return sorted(jobs, key=lambda job: _natural(job.photograph.path.name))


def find_video_faces(
    jobs: Sequence[Job],
    source: FaceDetector | FacesFromFile,
    options: Options,
    region: Image | None,
    on_frame: Callable[[], object],
) -> VideoFaces:
    """Find the faces of all frames, follow them, and choose among them.

    jobs: in the order of the frames. source: finds the faces, or knows them. region: (H, W), as for
    :func:`gpen.restore`. on_frame: called after each frame. Of the frames, only faces and thumbnails are kept. One that
    cannot be read counts as one without faces. PhotoError where the frames are not of one size.
    """
    found: list[list[Face]] = []
    thumbnails: list[Thumbnail | None] = []
    first: Path | None = None
    size = (0, 0)
    for job, picture in _pictures(jobs, options.max_megapixels):
        faces: list[Face] = []
        if picture is not None:
            if first is None:
                check_photo(picture.photo, region, None, options)
                first, size = job.photograph.path, (picture.width, picture.height)
            elif (picture.width, picture.height) != size:
                raise PhotoError(
                    f"{job.photograph.path} has {picture.width} x {picture.height} pixels, {first} {size[0]} x "
                    f"{size[1]}. The frames of a video are of one size; without --video each is restored by itself."
                )
            if isinstance(source, FacesFromFile):
                faces = listed_faces(source, job.photograph, *size)
            else:
                faces = source.detect(picture.photo, options.detection_threshold)
        found.append(faces)
        thumbnails.append(None if picture is None else thumbnail(picture.photo))
        on_frame()
    cuts = find_cuts(thumbnails)
    tracked = track_faces(found, cuts)
    given = isinstance(source, FacesFromFile)
    frames = {
        _key(job.photograph.path): _chosen(faces, options, size, region, given)
        for job, faces, image in zip(jobs, tracked, thumbnails, strict=True)
        if image is not None
    }
    numbers = {face.number for faces in tracked for face in faces}
    bridged = sum(face.bridged for faces in tracked for face in faces)
    summary = (
        f"{count(len(numbers), 'track')} of faces in {count(len(jobs), 'frame')} with {count(len(cuts), 'cut')}; "
        f"{count(bridged, 'missing face')} bridged."
    )
    return VideoFaces(str(source.path) if isinstance(source, FacesFromFile) else source.name, frames, summary)


def listed_faces(source: FacesFromFile, photograph: Photograph, width: int, height: int) -> list[Face]:
    """The faces of a photograph of that size in a file; FaceError where they are not there."""
    try:
        # The file may list a folder above the one that was given now: there the whole path tells more.
        return source.faces_for(photograph.path.absolute(), width, height)
    except FaceError:
        return source.faces_for(photograph.name, width, height)


def _chosen(
    tracked: Sequence[TrackedFace], options: Options, size: tuple[int, int], region: Image | None, given: bool
) -> FrameFaces:
    reasons = select_tracked(tracked, options, size, region, given=given)
    return FrameFaces(
        tuple(face for place, face in enumerate(tracked) if place not in reasons),
        tuple(SkippedFace(tracked[place].number, tracked[place].face, why) for place, why in reasons.items()),
    )


def _pictures(jobs: Sequence[Job], max_megapixels: float) -> Iterator[tuple[Job, Picture | None]]:
    """Each frame's picture, the next one being read meanwhile; None where that fails, which restoring it will say."""

    def read(job: Job) -> Picture | None:
        try:
            return read_picture(job.photograph.path, max_megapixels)
        except GpenError:
            return None

    with ThreadPoolExecutor(1, "gpen-reader") as reader:
        ahead = [reader.submit(read, job) for job in jobs[:1]]
        for place, job in enumerate(jobs):
            picture = ahead.pop().result()
            ahead.extend(reader.submit(read, following) for following in jobs[place + 1 : place + 2])
            yield job, picture


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = _DIGITS.split(name)
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], name


def _key(path: Path) -> str:
    return str(path.absolute())

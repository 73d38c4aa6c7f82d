"""Video frames in files: all faces are detected and tracked before the first frame is processed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import GpenError, PhotoError
from ..faces.face import Face
from ..faces.selection.select import FaceChoice
from ..faces.source import FoundFace
from ..faces.tracking.clip import ClipFaces
from ..images import Picture, read_picture
from ..images.picture import FloatImage
from ..options import Options
from ..restoration.pipeline import check_photo
from ..restoration.processors import PhotoInputs
from .plan import Job, PhotoFile

_DIGITS = re.compile(r"(\d+)")

FindFaces = Callable[[PhotoFile, Picture], list[Face]]
"""Detects or looks up the faces of a frame."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrackedFaces:
    """The faces of all frames of a video, tracked and chosen."""

    name: str
    """The detector or file that they come from."""
    frames: dict[str, list[FoundFace]]
    """The faces of each frame from left to right, numbered by track; by the frame's absolute path."""
    summary: str
    """One sentence about the tracks."""

    def of(self, frame: PhotoFile) -> list[FoundFace]:
        """The faces of one frame; PhotoError if it could not be read while faces were tracked."""
        faces = self.frames.get(_key(frame.path))
        if faces is None:
            raise PhotoError(
                f"{frame.path} could not be read while faces were tracked, but can be read now. Start the run again."
            )
        return faces


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """Sort the frames naturally, frame2 before frame10. PhotoError if they are in several folders."""
    folders = list(dict.fromkeys(job.photo.path.parent for job in jobs))
    if len(folders) > 1:
        raise PhotoError(
            f"These frames are in {len(folders)} folders, such as {folders[0]} and {folders[1]}; Steady video needs "
            "the frames of one video in one folder. Process one folder at a time."
        )
    return sorted(jobs, key=lambda job: _natural(job.photo.path.name))


def track_video(
    jobs: Sequence[Job],
    find: FindFaces,
    choice: FaceChoice,
    options: Options,
    region: FloatImage | None,
    on_frame: Callable[[], object],
    *,
    name: str = "",
    salvage: bool = False,
) -> TrackedFaces:
    """Detect the faces of all frames, track them, and choose among the tracks.

    jobs: in the order of the frames. find: gives the faces of one frame; name: what ``find`` is called. choice: about
    medians over a track. region: (H, W), as for :func:`gpen.restore`. on_frame: called after each frame. Only faces and
    thumbnails are kept of each frame. A frame that cannot be read counts as one without faces. salvage: as for
    :func:`~gpen.images.read_picture`. PhotoError if the frames differ in size.
    """
    clip = ClipFaces(choice)
    unread: set[int] = set()
    first: Path | None = None
    size = (0, 0)
    for number, (job, picture) in enumerate(_pictures(jobs, options.max_megapixels, salvage=salvage)):
        if picture is None:
            unread.add(number)
            clip.skip()
        else:
            if first is None:
                check_photo(picture.photo, PhotoInputs(region=region), options)
                first, size = job.photo.path, (picture.width, picture.height)
            elif (picture.width, picture.height) != size:
                raise PhotoError(
                    f"{job.photo.path} has {picture.width} x {picture.height} pixels, {first} {size[0]} x "
                    f"{size[1]}. The frames of a video must have one size; turn off Steady video for separate pictures."
                )
            clip.add(picture.photo, find(job.photo, picture))
        on_frame()
    tracked = clip.tracked(size, region)
    frames = {
        _key(job.photo.path): faces
        for number, (job, faces) in enumerate(zip(jobs, tracked.frames, strict=True))
        if number not in unread
    }
    return TrackedFaces(name, frames, tracked.summary)


def _pictures(jobs: Sequence[Job], max_megapixels: float, *, salvage: bool) -> Iterator[tuple[Job, Picture | None]]:
    """Each frame's picture, with the next one prefetched; None if it cannot be read (processing it reports why)."""

    def read(job: Job) -> Picture | None:
        try:
            return read_picture(job.photo.path, max_megapixels, salvage=salvage)
        except GpenError:
            return None

    with ThreadPoolExecutor(1, "gpen-reader") as reader:
        ahead = [reader.submit(read, job) for job in jobs[:1]]
        for position, job in enumerate(jobs):
            picture = ahead.pop().result()
            ahead.extend(reader.submit(read, following) for following in jobs[position + 1 : position + 2])
            yield job, picture


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = _DIGITS.split(name)
    return [int(part) if index % 2 else part.casefold() for index, part in enumerate(parts)], name


def _key(path: Path) -> str:
    return str(path.absolute())

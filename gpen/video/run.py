"""One film from file to file: both passes, and the result, which appears whole or not at all."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ..atomic import atomic_path, make_folder
from ..errors import ChangedFilmError, FaceError, PhotoError
from ..faces.faces_file import FacesFromFile
from ..faces.selection.select import FaceChoice
from ..faces.source import FoundFace
from ..images.picture import FloatImage
from ..restoration.pipeline import check_mask
from ..wording import count
from .cluster import FilmCluster, SecondPass
from .decoding import Flaw
from .detect import FindFaces, FoundFaces, Part, find_faces
from .encoder import Encoding, choose_encoding
from .ffmpeg import pyav, reason
from .listed import ListedFaces
from .mux import check_container, join
from .restore import FilmRestorer, Outcome, Picture, Restorer, segment_frames
from .segments import check_encoder
from .source import Film, probe, refusal
from .work import WorkFolder

_MOST_TOLD = 3


@dataclass(frozen=True, kw_only=True)
class FilmSettings:
    """How films are read and written."""

    codec: str | None = None
    """As :func:`~gpen.video.encoder.choose_encoding` takes it, and ``crf``."""
    crf: float | None = None
    deinterlace: bool = False
    """Whether interlaced frames are made whole; otherwise an interlaced film is refused."""
    start: float = 0
    """Seconds of the beginning that are left out."""
    preview: float | None = None
    """Only so many seconds from there; None for all."""
    overwrite: bool = False
    """Whether an unfinished run with other options is dropped."""
    keep_unfinished: bool = True
    """Whether what is done stays after an error or a stop, so that the same call goes on there."""


class FilmProgress(Protocol):
    """Is told how far a film is."""

    def starts(self, what: str, frames: int | None) -> None:
        """A pass begins over about so many frames; None where that is not known."""
        ...

    def advances(self, *, was_there: bool = False, picture: Picture | None = None) -> None:
        """A frame is done; was_there: by an earlier run. picture: makes its picture; valid during the call only."""
        ...

    def says(self, text: str) -> None:
        """Something is known that the user may want to read."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmWork:
    """What is done to films, the same for each."""

    restorer: Restorer
    """Its option ``video`` says whether faces are followed from frame to frame; otherwise each frame stands alone."""
    find: FindFaces | FacesFromFile
    """A file lists faces for each film instead."""
    choice: FaceChoice
    settings: FilmSettings
    recipe: Mapping[str, Any]
    """What decides how results look, but for the film and ``settings``."""
    cluster: FilmCluster | None = None
    """Where segments are made; None for here."""
    region: FloatImage | None = None
    """(H, W) as shown; only faces whose centre lies where it is above 0.5 are restored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmResult:
    """What became of a film."""

    outcome: Outcome
    size: tuple[int, int]
    """Width and height as shown."""
    frames: list[tuple[float, Sequence[FoundFace]]]
    """Seconds since the first frame, and the faces, tracked and chosen, of each frame."""
    tracks: int
    encoding: Encoding
    seconds: float = 0.0
    """Spent on it by this run."""
    first_face: float = 0.0
    """Seconds from the first frame to the first with a face that was to be restored; 0 where there is none."""
    flaws: list[Flaw] = field(default_factory=list)
    """What is damaged in the film."""
    left_out: list[str] = field(default_factory=list)
    """In sentences, what of the film's file the result does not hold."""

    @property
    def message(self) -> str:
        """The outcome in a few sentences."""
        outcome = self.outcome
        number = len(outcome.restored)
        parts = [
            f"{count(number, 'face')} of {self.tracks} restored in {count(outcome.frames, 'frame')}, "
            f"{self.encoding.title}."
        ]
        if outcome.failed:
            failed = [str(Flaw(when, why)) for when, why in outcome.failed]
            parts.append(f"{count(len(failed), 'frame')} kept unchanged: {_told(failed)}.")
        if self.flaws:
            told = _told([str(flaw) for flaw in self.flaws])
            parts.append(f"The film is damaged in {count(len(self.flaws), 'place')}: {told}.")
        return " ".join([*parts, *self.left_out])

    def as_json(self) -> dict[str, Any]:
        """What a report says besides the paths."""
        outcome = self.outcome
        numbers = sorted(outcome.restored.keys() | outcome.skipped.keys())
        return {
            "message": self.message,
            "frame_count": outcome.frames,
            "encoder": self.encoding.name,
            "pixel_format": self.encoding.pixel_format,
            "tracks": [
                {
                    "number": number,
                    "frames": outcome.restored.get(number, 0),
                    **({"skipped": outcome.skipped[number]} if number in outcome.skipped else {}),
                }
                for number in numbers
            ],
            "unchanged": [{"seconds": round(when, 3), "why": why} for when, why in outcome.failed],
            "broken": [
                {"seconds": None if flaw.seconds is None else round(flaw.seconds, 3), "why": flaw.why}
                for flaw in self.flaws
            ],
            **({"left_out": self.left_out} if self.left_out else {}),
            "seconds": round(self.seconds, 3),
            # As in a faces file.
            "width": self.size[0],
            "height": self.size[1],
            "frames": [
                {"frame": frame, "seconds": round(when, 3), "faces": chosen}
                for frame, (when, faces) in enumerate(self.frames)
                if (chosen := [_numbered(found) for found in faces if not found.skip_reason])
            ],
        }


def restore_film(path: Path, target: Path, work: FilmWork, progress: FilmProgress) -> FilmResult:
    """Restore the faces of a film, or do another task to them.

    What is done is kept in a hidden folder beside ``target`` until that is written, so the same call goes on after a
    stop, unless the settings say otherwise. The steps, each with little memory: find the faces of all frames; follow
    them; restore and encode, segment by segment; join the segments, and copy everything else. What ``progress`` raises
    ends them.

    GpenError for everything a user can cause.
    """
    try:
        return _restore(path, target, work, progress)
    except pyav().FFmpegError as error:
        raise PhotoError(f"FFmpeg gave up on {path}: {reason(error)}.{_kept(work.settings)}") from error


def _restore(path: Path, target: Path, work: FilmWork, progress: FilmProgress) -> FilmResult:
    start = time.perf_counter()
    settings = work.settings
    limit = work.restorer.options.max_megapixels
    film = probe(path, limit)
    if film.is_interlaced and not settings.deinterlace:
        raise refusal(film)
    if work.restorer.task.adds_color and film.layout.is_grey:
        film = replace(film, layout=film.layout.with_chroma)
    encoding = choose_encoding(film, target, settings.codec, settings.crf)
    check_encoder(film, encoding)
    left_out = check_container(film, target, encoding)
    width, height = film.size_shown
    check_mask(work.region, "the region", height, width)
    check_mask(work.restorer.protect, "what is protected", height, width)
    part = _part(film, settings)
    make_folder(target.parent)
    folder = WorkFolder(target)
    with folder.claimed():
        try:
            result = _both_passes(part, encoding, folder, work, progress)
        finally:
            if not settings.keep_unfinished:
                folder.remove()
    return replace(result, left_out=left_out + result.left_out, seconds=time.perf_counter() - start)


def _both_passes(
    part: Part, encoding: Encoding, folder: WorkFolder, work: FilmWork, progress: FilmProgress
) -> FilmResult:
    """Both passes, and the result."""
    film, target, settings = part.film, folder.target, work.settings
    find = ListedFaces(work.find, film) if isinstance(work.find, FacesFromFile) else work.find
    recipe = _recipe(work, film, encoding) | {"faces": find.digest if isinstance(find, ListedFaces) else None}
    folder.open(recipe, anew=settings.overwrite)
    progress.starts("finding faces in", _frames(part))
    try:
        found = find_faces(
            part,
            find,
            work.choice,
            folder,
            lambda photo: progress.advances(picture=None if photo is None else lambda: photo),
        )
    except FaceError:
        if isinstance(find, ListedFaces):  # nothing is worth going on with, and the corrected file is another one
            folder.remove()
        raise
    tracked = found.clip.tracked(film.size_shown, work.region, steady=work.restorer.options.video)
    unfit = {flaw.unfit for flaw in found.flaws}
    faces_of = [() if when in unfit else faces for when, faces in zip(found.timestamps, tracked.frames, strict=True)]
    progress.says(tracked.summary)
    progress.starts("restoring", len(found.timestamps))
    second = SecondPass(
        part=part,
        encoding=encoding,
        faces=faces_of,
        timestamps=found.timestamps,
        target=target,
        protect=work.restorer.protect,
    )
    try:
        outcome = _second_pass(second, work, folder, progress)
    except ChangedFilmError:  # with what was found in it, no run would ever end
        folder.remove()
        raise
    _write(part, found, folder, target, settings)
    left_out = _losses(film, probe(target, work.restorer.options.max_megapixels))
    folder.remove()
    chosen = (any(not face.skip_reason for face in faces) for faces in faces_of)
    first = next((when for when, is_shown in zip(found.timestamps, chosen, strict=True) if is_shown), film.start)
    return FilmResult(
        outcome=outcome,
        size=film.size_shown,
        frames=[(film.time(when), faces) for when, faces in zip(found.timestamps, faces_of, strict=True)],
        tracks=tracked.tracks,
        encoding=encoding,
        first_face=film.time(first),
        flaws=found.flaws,
        left_out=left_out,
    )


def _second_pass(film: SecondPass, work: FilmWork, folder: WorkFolder, progress: FilmProgress) -> Outcome:
    def on_frame(was_there: bool, picture: Picture | None) -> None:
        progress.advances(was_there=was_there, picture=picture)

    if work.cluster is not None:
        return work.cluster.restore(film.absolute(), folder, lambda was_there: on_frame(was_there, None))
    return FilmRestorer(film.part, work.restorer, film.encoding, film.faces, film.timestamps).run(folder, on_frame)


def _write(part: Part, found: FoundFaces, folder: WorkFolder, target: Path, settings: FilmSettings) -> None:
    numbers = range(-(-len(found.timestamps) // segment_frames(part)))
    about = [folder.finished(number) or {} for number in numbers]
    timestamps = [timestamp for segment in about for timestamp in segment["timestamps"]]
    try:
        # In the hidden folder first: what a killed run leaves goes with it.
        with atomic_path(folder.whole) as temporary:
            join(part, [folder.segment(number) for number in numbers], timestamps, temporary)
        folder.whole.replace(target)
    except OSError as error:
        raise PhotoError(
            f"{target} cannot be written: {error.strerror or error}. Check the folder and the disk.{_kept(settings)}"
        ) from error


def _kept(settings: FilmSettings) -> str:
    return " What is done is kept: the same command goes on there." if settings.keep_unfinished else ""


def _part(film: Film, settings: FilmSettings) -> Part:
    start = film.start + round(settings.start / film.time_base)
    return Part(
        film=film,
        start=start if settings.start else None,
        end=None if settings.preview is None else start + max(1, round(settings.preview / film.time_base)),
        deinterlace=settings.deinterlace,
    )


def _frames(part: Part) -> int | None:
    film = part.film
    start = 0.0 if part.start is None else film.time(part.start)
    end = film.seconds if part.end is None else min(film.time(part.end), film.seconds or math.inf)
    return None if end is None else max(1, round((end - start) * film.rate))


def _recipe(work: FilmWork, film: Film, encoding: Encoding) -> dict[str, Any]:
    settings, status = work.settings, film.path.stat()
    return {
        **work.recipe,
        "film": [film.path.name, status.st_size, status.st_mtime_ns],
        "encoder": encoding.name,
        "pixel format": encoding.pixel_format,
        "encoder options": dict(encoding.options),
        "deinterlace": settings.deinterlace,
        "start": settings.start,
        "preview": settings.preview,
        "video": work.restorer.options.video,
    }


def _losses(film: Film, result: Film) -> list[str]:
    """What the result does not say that the film does."""
    pairs = {
        "the rotation": (film.matrix, result.matrix),
        "the shape of pixels": (film.aspect or 1, result.aspect or 1),
        "the mastering display of HDR10": (film.hdr.mastering, result.hdr.mastering),
        "the light levels of HDR10": (film.hdr.light, result.hdr.light),
        "the names of its colours": (film.tags, result.tags),
    }
    lost = [what for what, (before, after) in pairs.items() if before != after]
    if film.hdr.is_dynamic:
        lost.append("HDR metadata of single frames (HDR10+ or Dolby Vision)")
    return [f"Not kept: {', '.join(lost)}."] if lost else []


def _numbered(found: FoundFace) -> dict[str, Any]:
    return {"number": found.number} | found.face.as_json(score_digits=4)


def _told(problems: Sequence[str]) -> str:
    shown = [problem.rstrip(".") for problem in problems[:_MOST_TOLD]]
    more = len(problems) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more > 0 else [])])

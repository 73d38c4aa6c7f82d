"""Photographs in files restored into files."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .draw import Numbered, draw_faces, side_by_side
from .errors import FaceError, GpenError, PhotoError
from .faces.detect import FaceDetector
from .faces.face import Face
from .faces.faces_file import FacesFromFile
from .faces.resample import Image
from .files.atomic import atomic_path
from .images import Picture, read_picture, write_picture
from .images.picture import from_samples
from .jobs import Job
from .model.checkpoint import Model
from .options import Options
from .pipeline import OnProgress, Parser, Restoration, SkippedFace, enlarge, restore

DONE, UNCHANGED, THERE, FAILED = "restored", "unchanged", "already there", "failed"
_FINISHED = (DONE, UNCHANGED)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extras:
    """What is written besides the results, and how."""

    compare: bool = False
    save_faces: bool = False
    overwrite: bool = False
    quality: int | None = None


@dataclass(frozen=True, eq=False)
class Entry:
    """What became of one photograph. status: one of the constants of this module. Holds no pictures."""

    job: Job
    status: str
    message: str
    seconds: float = 0.0
    faces: tuple[Numbered, ...] = ()
    skipped: tuple[SkippedFace, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The photograph's entry in a report."""
        return {
            "path": str(self.job.photograph.path),
            "output": str(self.job.target),
            "status": self.status,
            "message": self.message,
            "faces": [_face_json(number, face) for number, face in self.faces],
            "skipped": [_face_json(left.number, left.face) | {"why": left.reason} for left in self.skipped],
            "seconds": round(self.seconds, 3),
        }


class Restorer:
    """Restores photographs one after the other with the same model, faces and options."""

    def __init__(
        self,
        model: Model,
        faces: FaceDetector | FacesFromFile,
        options: Options,
        parser: Parser | None = None,
        extras: Extras | None = None,
        region: Image | None = None,
    ) -> None:
        self._model = model
        self._faces = faces
        self._options = options
        self._parser = parser
        self._extras = extras or Extras()
        self._region = region

    def run(self, job: Job, on_progress: OnProgress | None = None) -> Entry:
        """Restore one photograph; what goes wrong with it is in the entry, and its result is not written.

        The result itself is written last: where it is there, everything else is.
        """
        if job.target.is_file() and not self._extras.overwrite:
            return Entry(job, THERE, f"{job.target} is there already; --overwrite restores it anew.")
        start = time.perf_counter()
        try:
            restoration = self._restore(job, on_progress)
        except GpenError as error:
            return Entry(job, FAILED, str(error), time.perf_counter() - start)
        except MemoryError:
            why = "There is not enough memory for this photograph. Close other programs, or make it smaller."
            return Entry(job, FAILED, why, time.perf_counter() - start)
        except Exception as error:
            # A mistake of ours; thousands of other photographs should not wait for it to be found.
            _log.info("%s", job.photograph.path, exc_info=True)
            why = f"This should not happen: {type(error).__name__}: {error}. gpen -v says more; please report it."
            return Entry(job, FAILED, why, time.perf_counter() - start)
        return Entry(
            job,
            DONE if restoration.faces else UNCHANGED,
            restoration.summary,
            time.perf_counter() - start,
            tuple((face.number, face.face) for face in restoration.faces),
            tuple(restoration.skipped),
        )

    def _restore(self, job: Job, on_progress: OnProgress | None) -> Restoration:
        source, extras = job.photograph.path, self._extras
        picture = read_picture(source, self._options.max_megapixels)
        restoration = restore(
            picture.photo,
            self._model,
            self._find(job, picture),
            self._options,
            on_progress=on_progress,
            region=self._region,
            parser=self._parser,
            keep_crops=extras.save_faces,
        )
        make_folder(job.target.parent)
        if extras.save_faces:
            _save_faces(job, restoration)
        if extras.compare:
            self._save_comparison(job, picture.photo, restoration)
        if not restoration.faces:
            self._write_unchanged(job, picture, restoration)
        else:
            self._write(job, picture, restoration)
        return restoration

    def _find(self, job: Job, picture: Picture) -> FaceDetector | list[Face]:
        if not isinstance(self._faces, FacesFromFile):
            return self._faces
        photograph, size = job.photograph, (picture.width, picture.height)
        try:
            # The file may list a folder above the one that was given now: there the whole path tells more.
            return self._faces.faces_for(photograph.path.absolute(), *size)
        except FaceError:
            return self._faces.faces_for(photograph.name, *size)

    def _save_comparison(self, job: Job, photo: Image, restoration: Restoration) -> None:
        factor = self._options.upscale
        faces = [(face.number, face.face.scaled(factor, factor)) for face in restoration.faces]
        before, after = (
            draw_faces(picture, faces, boxes=False) for picture in (enlarge(photo, factor), restoration.photo)
        )
        drawing = side_by_side([before, after], ["before", f"after ({self._model.spec.title})"])
        path = job.target.parent / f"{job.label}_compare.png"
        write_picture(path, from_samples(drawing))

    def _write(self, job: Job, picture: Picture, restoration: Restoration) -> None:
        alpha = picture.alpha
        if alpha is not None:
            alpha = enlarge(alpha, self._options.upscale)
        result = dataclasses.replace(picture, photo=restoration.photo, alpha=alpha)
        write_picture(job.target, result, quality=self._extras.quality)

    def _write_unchanged(self, job: Job, picture: Picture, restoration: Restoration) -> None:
        """Copy the file where nothing was done to it: encoding it again could only lose something."""
        source = job.photograph.path
        same_format = source.suffix.lower() == job.target.suffix.lower()
        if not same_format or self._options.upscale != 1:
            self._write(job, picture, restoration)
            return
        try:
            with atomic_path(job.target) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise PhotoError(f"{job.target} cannot be written: {error.strerror or error}.") from error


def write_report(path: Path, jobs: Sequence[Job], entries: Sequence[Entry]) -> None:
    """Write one entry per photograph as JSON; those that were not restored anew keep what the file said.

    jobs: all, in their order, also those that the run did not come to. PhotoError when the file cannot be
    written.
    """
    earlier = _earlier_entries(path)
    new = {entry.job: entry for entry in entries}
    content = []
    for job in jobs:
        entry, before = new.get(job), earlier.get(str(job.photograph.path))
        if before is not None and (entry is None or (entry.status == THERE and before.get("status") in _FINISHED)):
            content.append(before)
        elif entry is not None:
            content.append(entry.as_json())
    make_folder(path.parent)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PhotoError(f"The report {path} cannot be written: {error.strerror or error}.") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing; PhotoError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error


def _earlier_entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return {entry["path"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _face_json(number: int, face: Face) -> dict[str, Any]:
    return {
        "number": number,
        "box": [round(v, 2) for v in face.box],
        "score": round(face.score, 4),
        "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
    }


def _save_faces(job: Job, restoration: Restoration) -> None:
    for face in restoration.faces:
        for when, crop in (("before", face.before), ("after", face.after)):
            assert crop is not None
            write_picture(job.target.parent / f"{job.label}_face{face.number:02d}_{when}.png", Picture(crop))

"""What became of each photograph, for people and in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .draw import Numbered
from .errors import PhotoError
from .faces.face import Face
from .files.atomic import atomic_path
from .jobs import Job, make_folder
from .restoration import SkippedFace

DONE, UNCHANGED, THERE, FAILED = "restored", "unchanged", "already there", "failed"
_FINISHED = (DONE, UNCHANGED)


@dataclass(frozen=True, eq=False)
class Entry:
    """What became of one photograph. status: one of the constants of this module. Holds no pictures.

    identities: by the number of a restored face, the cosine distance to the original that a guard measured, and the
    share of the strength that it left.
    """

    job: Job
    status: str
    message: str
    seconds: float = 0.0
    faces: tuple[Numbered, ...] = ()
    skipped: tuple[SkippedFace, ...] = ()
    identities: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The photograph's entry in a report."""
        return {
            "path": str(self.job.photograph.path),
            "output": str(self.job.target),
            "status": self.status,
            "message": self.message,
            "faces": [_face_json(number, face) | self._guarded(number) for number, face in self.faces],
            "skipped": [
                _face_json(left.number, left.face) | {"why": left.reason} | _moved(left.identity)
                for left in self.skipped
            ],
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_json(cls, job: Job, content: Mapping[str, Any]) -> Entry:
        """The entry of a job from what as_json gave, whatever its paths were called there."""
        faces = tuple((face["number"], _face_from(face)) for face in content["faces"])
        skipped = tuple(
            SkippedFace(face["number"], _face_from(face), face["why"], face.get("identity_distance"))
            for face in content["skipped"]
        )
        identities = {
            face["number"]: (face["identity_distance"], face["share"])
            for face in content["faces"]
            if "identity_distance" in face
        }
        return cls(job, content["status"], content["message"], content["seconds"], faces, skipped, identities)

    def _guarded(self, number: int) -> dict[str, float]:
        if number not in self.identities:
            return {}
        distance, share = self.identities[number]
        return _moved(distance) | {"share": round(share, 3)}


def write_report(
    path: Path, jobs: Sequence[Job], entries: Sequence[Entry], known: Mapping[str, dict[str, Any]] | None = None
) -> None:
    """Write one entry per photograph as JSON; those that were not restored anew keep what the file said.

    jobs: all, in their order, also those that the run did not come to. known: entries by path that an earlier run
    could not write; one counts unless the file says itself that the photograph is finished. PhotoError when the file
    cannot be written.
    """
    earlier = _earlier_entries(path)
    # A run that was killed may have finished what the report of one before it calls failed.
    finished = {name: entry for name, entry in earlier.items() if entry.get("status") in _FINISHED}
    earlier = {**earlier, **(known or {}), **finished}
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


def _earlier_entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return {entry["path"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _moved(distance: float | None) -> dict[str, float]:
    return {} if distance is None else {"identity_distance": round(distance, 4)}


def _face_json(number: int, face: Face) -> dict[str, Any]:
    return {
        "number": number,
        "box": [round(v, 2) for v in face.box],
        "score": round(face.score, 4),
        "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
    }


def _face_from(content: Mapping[str, Any]) -> Face:
    x0, y0, x1, y1 = content["box"]
    return Face((x0, y0, x1, y1), content["score"], np.array(content["landmarks"], float))

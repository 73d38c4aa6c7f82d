"""The result of each photo, as a sentence and in a JSON report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ..atomic import make_folder, write_json
from ..faces.drawing import NumberedFace
from ..faces.face import Face
from ..restoration.result import FaceNetwork, SkippedFace
from .plan import Job


class Status(Enum):
    """The outcome for a photo; the values are the words in reports."""

    DONE = "restored"
    """Faces or the background were changed."""
    UNCHANGED = "unchanged"
    """Nothing had to be changed: the result equals the photo."""
    EXISTS = "already there"
    """The result existed before the run."""
    FAILED = "failed"
    """No result was made; the message says why."""


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """The outcome for one photo. Holds no pictures."""

    job: Job
    """The photo and the file of its result."""
    status: Status
    """The outcome in a word."""
    message: str
    """The outcome as a sentence for the user."""
    seconds: float = 0.0
    """Seconds spent on the photo."""
    faces: tuple[NumberedFace, ...] = ()
    """The restored faces, with their numbers."""
    skipped: tuple[SkippedFace, ...] = ()
    """The skipped faces."""
    identities: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """By number of a restored face: the cosine distance that the identity guard measured, and the share of strength it
    left."""
    mask: str = ""
    """Which mask was used; empty where there was no choice, or nothing was done."""
    sharpness: Mapping[int, float] = field(default_factory=dict)
    """How sharp the restored faces were before, 0 to 1, by number."""
    networks: Mapping[int, FaceNetwork] = field(default_factory=dict)
    """What restored each face, by number, where each gets the network of its size."""
    left_out: tuple[str, ...] = ()
    """In sentences, what of the photo's file the result does not hold; also in the message."""
    is_salvageable: bool = False
    """Whether the photo's file is damaged, and what is left of it could be read."""
    is_stale: bool = False
    """Whether the result existed and was made with other options or models than this run's."""

    def as_json(self) -> dict[str, Any]:
        """The photo's entry in a report."""
        return {
            "path": str(self.job.photo.path),
            "output": str(self.job.target),
            "status": self.status.value,
            "message": self.message,
            **({"mask": self.mask} if self.mask else {}),
            "faces": [_numbered(number, face) | self._measured(number) for number, face in self.faces],
            "skipped": [
                _numbered(left.number, left.face)
                | {"why": left.reason}
                | _sharpness(left.sharpness)
                | _distance(left.identity)
                for left in self.skipped
            ],
            **({"left_out": list(self.left_out)} if self.left_out else {}),
            **({"salvageable": True} if self.is_salvageable else {}),
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_json(cls, job: Job, content: Mapping[str, Any]) -> PhotoResult:
        """The inverse of :meth:`as_json`, for a job whose paths may have been written differently there."""
        faces = tuple((face["number"], Face.from_json(face)) for face in content["faces"])
        skipped = tuple(
            SkippedFace(
                face["number"], Face.from_json(face), face["why"], face.get("identity_distance"), face.get("sharpness")
            )
            for face in content["skipped"]
        )
        identities = {
            face["number"]: (face["identity_distance"], face["share"])
            for face in content["faces"]
            if "identity_distance" in face
        }
        status = Status(content["status"])
        mask = content.get("mask", "")
        sharpness = {face["number"]: face["sharpness"] for face in content["faces"] if "sharpness" in face}
        networks = {face["number"]: FaceNetwork(**face["network"]) for face in content["faces"] if "network" in face}
        return cls(
            *(job, status, content["message"], content["seconds"], faces, skipped, identities, mask, sharpness),
            networks,
            tuple(content.get("left_out", ())),
            content.get("salvageable", False),
        )

    def _measured(self, number: int) -> dict[str, Any]:
        """What is known of a restored face."""
        measured: dict[str, Any] = _sharpness(self.sharpness.get(number))
        if number in self.networks:
            measured["network"] = asdict(self.networks[number])
        if number in self.identities:
            distance, share = self.identities[number]
            measured |= _distance(distance) | {"share": round(share, 3)}
        return measured


def write_report(
    path: Path, jobs: Sequence[Job], results: Sequence[PhotoResult], known: Mapping[str, dict[str, Any]] | None = None
) -> None:
    """Write a JSON report with one entry per photo; photos without a new result keep their entry in an existing report.

    jobs: all jobs in order, including those that the run did not reach. known: entries by path from an earlier run that
    could not write its report, which is newer than the existing one; but a failure there does not undo what is finished
    here. PhotoError if the file cannot be written.
    """
    earlier, known = earlier_entries(path), known or {}
    earlier = {**earlier, **known, **_finished(earlier), **_finished(known)}
    new = {result.job: result for result in results}
    content = []
    for job in jobs:
        result, before = new.get(job), earlier.get(str(job.photo.path))
        if before is not None and (result is None or (result.status is Status.EXISTS and _is_finished(before))):
            content.append(before)
        elif result is not None:
            content.append(result.as_json())
    make_folder(path.parent)
    write_json(path, content, "The report")


def _finished(entries: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: entry for name, entry in entries.items() if _is_finished(entry)}


def _is_finished(entry: Mapping[str, Any]) -> bool:
    return entry.get("status") in (Status.DONE.value, Status.UNCHANGED.value)


def earlier_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of an existing report by the path of their photo or film; none where it cannot be read."""
    try:
        return {entry["path"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _distance(distance: float | None) -> dict[str, float]:
    return {} if distance is None else {"identity_distance": round(distance, 4)}


def _sharpness(sharpness: float | None) -> dict[str, float]:
    return {} if sharpness is None else {"sharpness": round(sharpness, 3)}


def _numbered(number: int, face: Face) -> dict[str, Any]:
    return {"number": number} | face.as_json(score_digits=4)

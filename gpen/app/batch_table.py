"""The table of a batch: each photo with its thumbnail, what became of it and why, its time, and its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..batch.report import PhotoResult, Status
from ..images import read_picture
from ..wording import count, time_left
from .shown import address, write_shown

_THUMBNAIL = 96
"""Pixels of the longer side."""


class TimeLeft:
    """Estimates how long a batch still takes: the photo at work by its faces, those after it by those before it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._photo_times: list[float] = []
        self._face_times: list[float] = []
        self._begun = self._last = 0.0
        self._faces_left = 0

    def begins(self) -> None:
        """Call when a photo is begun."""
        self._begun = self._last = self._clock()
        self._faces_left = 0

    def face(self, done: int, total: int) -> None:
        """Call after each face of the photo."""
        now = self._clock()
        self._face_times.append(now - self._last)
        self._last, self._faces_left = now, total - done

    def ends(self) -> None:
        """Call when the photo is done."""
        self._photo_times.append(self._clock() - self._begun)
        self._faces_left = 0

    def seconds(self, not_begun: int) -> float | None:
        """Seconds left; None while nothing is known. not_begun: photos after the one at work."""
        if not self._face_times and not self._photo_times:
            return None
        rest = self._faces_left * float(np.mean(self._face_times or [0.0]))
        # Until one is done, the others are taken for photos like the first.
        each = float(np.mean(self._photo_times or [self._last - self._begun + rest]))
        return rest + not_begun * each


class BatchTable:
    """What the table shows. folder: for thumbnails. done: the task's word for a photo that it changed."""

    def __init__(self, folder: Path, done: str, max_megapixels: float) -> None:
        self._folder = folder / "thumbnails"
        self._folder.mkdir()
        self._done, self._max_megapixels = done, max_megapixels
        self._rows: list[dict[str, Any]] = []
        self._at = -1
        self._time = TimeLeft()

    def starts(self, names: Sequence[str]) -> None:
        """Call once, with the paths of all photos within the upload."""
        self._rows = [{"name": name, "status": "waiting", "kind": "waiting", "why": ""} for name in names]

    def begins(self) -> None:
        """Call when the next photo is begun."""
        if self._at >= 0:
            self._time.ends()
        self._at += 1
        self._change(self._at, status="at work", kind="working")
        self._time.begins()

    def face(self, done: int, total: int) -> None:
        """Call after each face of the photo that was begun last."""
        self._time.face(done, total)
        self._change(self._at, why=f"Face {done} of {total}")

    def ends(self, number: int, result: PhotoResult, why: str) -> None:
        """Call with the result of a photo, whose file is there. why: what is said about it, without local paths."""
        words = {Status.DONE: self._done, Status.UNCHANGED: "unchanged", Status.FAILED: "failed"}
        shown: dict[str, Any] = {"status": words[result.status], "why": why, "seconds": round(result.seconds, 1)}
        if result.status is not Status.FAILED:
            thumbnail = self._folder / f"{number}.jpg"
            picture = read_picture(result.job.target, self._max_megapixels)
            write_shown(thumbnail, picture.photo, picture.alpha, _THUMBNAIL)
            shown |= {"thumbnail": address(thumbnail), "file": address(result.job.target)}
        kind = "failed" if result.status is Status.FAILED else "done"
        self._change(number, kind=kind, **shown)

    def stopped(self) -> None:
        """Call when the user stopped the batch: what is not done will not be."""
        for number, row in enumerate(self._rows):
            if row["kind"] in ("waiting", "working"):
                self._change(number, status="stopped", kind="waiting", why="")

    @property
    def value(self) -> dict[str, Any]:
        """What the component shows."""
        return {"rows": list(self._rows)}

    @property
    def text(self) -> str:
        """How far the batch is."""
        seconds = self._time.seconds(len(self._rows) - self._at - 1)
        left = "" if seconds is None else f", {time_left(seconds)}"
        return f"{self._at + 1} of {count(len(self._rows), 'photo')}{left}" if self._at >= 0 else "Unpacking ..."

    def _change(self, number: int, **values: Any) -> None:
        # The rows that the page has seen stay as they were.
        self._rows[number] = {**self._rows[number], **values}

"""The table of a batch: each photo or film with its thumbnail, what became of it and why, its time, and its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..batch.report import PhotoResult, Status
from ..images import read_picture
from ..wording import count, time_left
from .browser_pictures import address, write_shown
from .films import FilmDone, noun_of

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
        self._photos = 0

    def starts(self, photos: Sequence[str], films: Sequence[str] = ()) -> None:
        """Call once, with the paths within the upload of all photos, and of all films, which come after them."""
        self._photos = len(photos)
        names = [*photos, *films]
        self._rows = [{"name": name, "status": "waiting", "kind": "waiting", "why": ""} for name in names]

    def begins(self) -> None:
        """Call when the next photo or film is begun."""
        if self._at >= 0:
            self._time.ends()
        self._at += 1
        self._change(self._at, status="at work", kind="working")
        self._time.begins()

    def face(self, done: int, total: int) -> None:
        """Call after each face of the photo that was begun last."""
        self._time.face(done, total)
        self._change(self._at, why=f"Face {done} of {total}")

    def says(self, text: str) -> None:
        """Call with how far the film is that was begun last."""
        self._change(self._at, why=text)

    def ends(self, number: int, result: PhotoResult, why: str) -> None:
        """Call with the result of a photo, whose file is there. why: what is said about it, without local paths."""
        if result.status is Status.FAILED:
            self.failed(number, result.seconds, why)
            return
        picture = read_picture(result.job.target, self._max_megapixels)
        thumbnail = write_shown(self._thumbnail(number), picture.photo, picture.alpha, _THUMBNAIL)
        self._ends(number, result.status, result.seconds, why, thumbnail, result.job.target)

    def film_ends(self, number: int, done: FilmDone, why: str) -> None:
        """Call with the result of a film, whose file is there. number: of its row. why: as for :meth:`ends`."""
        thumbnail = write_shown(self._thumbnail(number), done.frame, None, _THUMBNAIL)
        self._ends(number, done.status, done.result.seconds, why, thumbnail, done.job.target)

    def failed(self, number: int, seconds: float, why: str) -> None:
        """Call for a photo or film that has no result."""
        self._change(number, kind="failed", status="failed", why=why, seconds=round(seconds, 1))

    def _ends(self, number: int, status: Status, seconds: float, why: str, thumbnail: Path, file: Path) -> None:
        word = self._done if status is Status.DONE else "unchanged"
        addresses = {"thumbnail": address(thumbnail), "file": address(file)}
        self._change(number, kind="done", status=word, why=why, seconds=round(seconds, 1), **addresses)

    def _thumbnail(self, number: int) -> Path:
        return self._folder / f"{number}.jpg"

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
        if self._at < 0:
            return "Unpacking ..."
        films = len(self._rows) - self._photos
        text = f"{self._at + 1} of {count(len(self._rows), noun_of(self._photos, films))}"
        seconds = self._time.seconds(self._photos - self._at - 1) if self._at < self._photos else None
        if seconds is None:
            return text
        return f"{text}, {time_left(seconds)}{' for the photos' if films else ''}"

    def _change(self, number: int, **values: Any) -> None:
        # The rows that the page has seen stay as they were.
        self._rows[number] = {**self._rows[number], **values}

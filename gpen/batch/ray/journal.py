"""The journal that workers keep beside the results, so that nothing is lost or done twice if one dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...atomic import make_folder, process_tag, remove_temporaries, write_text
from ...errors import GpenError, PhotoError
from ..plan import Job
from ..report import PhotoResult

_FOLDER = ".gpen-ray"


@dataclass(frozen=True)
class JournalEntry:
    """The last entry about a photo. The field names are the keys in the file."""

    run: str
    """The run that wrote it."""
    attempts: int
    """How often workers of that run have started on the photo."""
    before: list[int] | None
    """Identity of the file that the result will replace; None if there is none."""
    writer: str
    """Tag of the process whose temporary files may be left."""
    entry: dict[str, Any] | None = None
    """The photo's report entry; None before it is processed."""


@dataclass(frozen=True)
class Journal:
    """The journal of one run, in a hidden folder beside its results. All paths are absolute.

    An entry is written just before the result: if the result then exists and is not the file that was there before, the
    photo is finished. So the outcome is known after any crash.
    """

    results: Path
    """The folder of all results."""
    run: str
    """Unique name of the run."""

    @property
    def folder(self) -> Path:
        """The folder of the entries."""
        return self.results / _FOLDER

    @property
    def _token(self) -> Path:
        return self.folder / f"{self.run}.run"

    def open(self) -> None:
        """Create the folder; PhotoError if that fails."""
        make_folder(self.folder)
        try:
            self._token.touch()
        except OSError as error:
            raise PhotoError(f"{self._token} cannot be written: {error.strerror or error}.") from error

    @property
    def is_visible(self) -> bool:
        """Whether this machine sees the folder that another one opened."""
        return self._token.is_file()

    def remove(self) -> None:
        """Remove the folder with the entries of this run and of earlier ones."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, job: Job) -> None:
        """Record that work on a photo begins."""
        self.write(job, JournalEntry(self.run, self.attempts(job) + 1, _identity(job.target), process_tag()))

    def finish(self, job: Job, result: PhotoResult) -> None:
        """Record the outcome for a photo whose result is about to be written."""
        before = _identity(job.target)
        self.write(job, JournalEntry(self.run, self.attempts(job), before, process_tag(), result.as_json()))

    def attempts(self, job: Job) -> int:
        """How often workers of this run have started on a photo."""
        entry = self.read(job)
        return entry.attempts if entry is not None and entry.run == self.run else 0

    def done(self, job: Job, *, earlier: bool = False) -> PhotoResult | None:
        """The outcome for a photo that this run has finished, or any run if ``earlier``; None if it is not finished."""
        entry = self.read(job)
        if entry is None or entry.entry is None or not (earlier or entry.run == self.run):
            return None
        now = _identity(job.target)
        if now is None or now == entry.before:
            return None
        try:
            return PhotoResult.from_json(job, entry.entry)
        except (ValueError, KeyError, TypeError, AttributeError, GpenError):  # a damaged entry
            return None

    def clean(self, job: Job) -> None:
        """Remove the temporary files of a worker that died while processing a photo."""
        entry = self.read(job)
        if entry is not None and entry.writer != process_tag():
            with suppress(ValueError, TypeError):  # a damaged entry may hold no tag
                remove_temporaries(job.target.parent, entry.writer)

    def _path(self, job: Job) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(job.target)).hexdigest()[:24]}.json"

    def read(self, job: Job) -> JournalEntry | None:
        """The entry about a photo; None if there is none that can be read."""
        with suppress(OSError, ValueError, TypeError, RecursionError):
            return JournalEntry(**json.loads(self._path(job).read_text(encoding="utf-8")))
        return None

    def write(self, job: Job, entry: JournalEntry) -> None:
        """Replace the entry about a photo; PhotoError if it cannot be written."""
        write_text(self._path(job), json.dumps(vars(entry)), "The journal")


def _identity(path: Path) -> list[int] | None:
    """Distinguishes a file from the one that replaces it; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_ino, status.st_mtime_ns]

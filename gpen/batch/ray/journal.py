"""Journal: what workers write beside the results, so that nothing is lost or done twice when one dies."""

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
from ...errors import PhotoError
from ..plan import Job
from ..report import PhotoResult

_FOLDER = ".gpen-ray"


@dataclass(frozen=True)
class JournalEntry:
    """What was last written down about a photo. The names of the fields are those in the file."""

    run: str
    """Which run wrote it."""
    attempts: int
    """How often that run's workers began with the photo."""
    before: list[int] | None
    """Which file the result will replace."""
    writer: str
    """Whose temporary files may have been left."""
    entry: dict[str, Any] | None = None
    """What became of the photo, as in a report; None before that is known."""


@dataclass(frozen=True)
class Journal:
    """The journal of one run, in a hidden folder beside its results. All paths are absolute.

    An entry is written before the result is: the result is finished if it exists and is another file than before. So it
    is known after any crash what became of a photo.
    """

    results: Path
    """The folder that all results go to."""
    run: str
    """The name of the run."""

    @property
    def folder(self) -> Path:
        """Where the entries are."""
        return self.results / _FOLDER

    @property
    def _token(self) -> Path:
        return self.folder / f"{self.run}.run"

    def open(self) -> None:
        """Make the folder; PhotoError when that fails."""
        make_folder(self.folder)
        try:
            self._token.touch()
        except OSError as error:
            raise PhotoError(f"{self._token} cannot be written: {error.strerror or error}.") from error

    @property
    def is_visible(self) -> bool:
        """Whether this machine sees the folder that another one has opened."""
        return self._token.is_file()

    def remove(self) -> None:
        """Remove the folder, with the entries of this run and of earlier ones."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, job: Job) -> None:
        """Write that the work on a photo begins."""
        self._write(job, JournalEntry(self.run, self.attempts(job) + 1, _identity(job.target), process_tag()))

    def finish(self, job: Job, result: PhotoResult) -> None:
        """Write what became of a photo; its result is written after that."""
        before = _identity(job.target)
        self._write(job, JournalEntry(self.run, self.attempts(job), before, process_tag(), result.as_json()))

    def attempts(self, job: Job) -> int:
        """How often workers of this run have begun with a photo."""
        entry = self._read(job)
        return entry.attempts if entry is not None and entry.run == self.run else 0

    def done(self, job: Job, *, earlier: bool = False) -> PhotoResult | None:
        """What became of a photo whose result this run, or with ``earlier`` any, has finished."""
        entry = self._read(job)
        if entry is None or entry.entry is None or not (earlier or entry.run == self.run):
            return None
        there = _identity(job.target)
        return PhotoResult.from_json(job, entry.entry) if there is not None and there != entry.before else None

    def clean(self, job: Job) -> None:
        """Remove temporary files of a worker that died with a photo."""
        entry = self._read(job)
        if entry is not None and entry.writer != process_tag():
            with suppress(ValueError, TypeError):  # a damaged entry names nobody
                remove_temporaries(job.target.parent, entry.writer)

    def _path(self, job: Job) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(job.target)).hexdigest()[:24]}.json"

    def _read(self, job: Job) -> JournalEntry | None:
        with suppress(OSError, ValueError, TypeError):
            return JournalEntry(**json.loads(self._path(job).read_text(encoding="utf-8")))
        return None

    def _write(self, job: Job, entry: JournalEntry) -> None:
        write_text(self._path(job), json.dumps(vars(entry)), "The journal")


def _identity(path: Path) -> list[int] | None:
    """What tells a file from the one that replaces it; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_ino, status.st_mtime_ns]

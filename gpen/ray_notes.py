"""What the workers of a run write down beside the results, so that nothing is lost or done twice when one dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import PhotoError
from .files.atomic import atomic_path, process_tag, remove_temporaries
from .jobs import Job, make_folder
from .report import Entry

_FOLDER = ".gpen-ray"


@dataclass(frozen=True)
class Note:
    """What was last written down about a photograph.

    run: which run did so. attempts: how often its workers began with it. before: which file the result will replace.
    writer: whose temporary files may have been left. entry: what became of it; None before that is known.
    """

    run: str
    attempts: int
    before: list[int] | None
    writer: str
    entry: dict[str, Any] | None = None


@dataclass(frozen=True)
class Notes:
    """The notes of one run, in a hidden folder beside its results. All paths are absolute.

    An entry is written down before the result is: the result is finished if it is there and is another file than
    before. So it is known after any crash what became of a photograph.
    """

    results: Path
    run: str

    @property
    def folder(self) -> Path:
        """Where the notes are."""
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
    def are_seen(self) -> bool:
        """Whether this machine sees the folder that another one has opened."""
        return self._token.is_file()

    def remove(self) -> None:
        """Remove the folder with the notes of this run and of earlier ones."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, job: Job) -> None:
        """Write down that the work on a photograph begins."""
        self._write(job, Note(self.run, self.attempts(job) + 1, _identity(job.target), process_tag()))

    def finish(self, job: Job, entry: Entry) -> None:
        """Write down what became of a photograph; its result is written after that."""
        note = Note(self.run, self.attempts(job), _identity(job.target), process_tag(), entry.as_json())
        self._write(job, note)

    def attempts(self, job: Job) -> int:
        """How often workers of this run have begun with a photograph."""
        note = self._read(job)
        return note.attempts if note is not None and note.run == self.run else 0

    def done(self, job: Job, *, earlier: bool = False) -> Entry | None:
        """The entry of a photograph whose result this run, or with ``earlier`` any, has finished."""
        note = self._read(job)
        if note is None or note.entry is None or not (earlier or note.run == self.run):
            return None
        there = _identity(job.target)
        return Entry.from_json(job, note.entry) if there is not None and there != note.before else None

    def clean(self, job: Job) -> None:
        """Remove temporary files of a worker that died with a photograph."""
        note = self._read(job)
        if note is not None and note.writer != process_tag():
            with suppress(ValueError, TypeError):  # a note that was damaged names nobody
                remove_temporaries(job.target.parent, note.writer)

    def _path(self, job: Job) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(job.target)).hexdigest()[:24]}.json"

    def _read(self, job: Job) -> Note | None:
        with suppress(OSError, ValueError, TypeError):
            return Note(**json.loads(self._path(job).read_text(encoding="utf-8")))
        return None

    def _write(self, job: Job, note: Note) -> None:
        path = self._path(job)
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(vars(note)), encoding="utf-8")
        except OSError as error:
            raise PhotoError(f"{path} cannot be written: {error.strerror or error}.") from error


def _identity(path: Path) -> list[int] | None:
    """What tells a file from the one that replaces it; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_ino, status.st_mtime_ns]

"""The journal beside a report that is not written yet, so that a killed run does not lose what it has finished."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..filenames import fitting
from .plan import Job
from .report import PhotoResult

_log = logging.getLogger(__name__)

_State = list[int] | None
"""Tells a file from the one that replaces it: inode, size and time; None if there is none."""


class ReportJournal:
    """Lines of JSON in a hidden file: one just before a result is written, one just after.

    So the entry of a photo is known after any crash: its result is there, and is not the file from before. It is an
    aid: where it cannot be written, the log says so once. Methods may be called by several threads, and several runs
    with one report share its journal.

    report: the file of the report.
    """

    def __init__(self, report: Path) -> None:
        self.path = report.with_name(f"{fitting(f'.{report.name}', '.jsonl')}.jsonl")
        """The file of the journal."""
        self._is_writable = True

    def begin(self, result: PhotoResult) -> None:
        """Note the outcome for a photo whose result is about to be written."""
        self._append(result, {"before": _state(result.job.target)})

    def end(self, result: PhotoResult) -> None:
        """Note the outcome for a photo whose result was written."""
        self._append(result, {"after": _state(result.job.target)})

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """The report entries of those results that earlier runs wrote and that are there still, by the photo's path."""
        lines = dict(self._lines())
        entries = {}
        for job in jobs:
            line = lines.get((str(job.photo.path), str(job.target)))
            if line is None or (now := _state(job.target)) is None:
                continue
            is_same = now == line["after"] if "after" in line else now != line["before"]
            if is_same:
                with suppress(ValueError, KeyError, TypeError, AttributeError):  # somebody changed the file
                    entries[str(job.photo.path)] = PhotoResult.from_json(job, line["entry"]).as_json()
        return entries

    def remove(self) -> None:
        """Remove it: the report is written."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _append(self, result: PhotoResult, state: dict[str, _State]) -> None:
        if not self._is_writable:
            return
        # A line that a killed run left half written must not take this one with it.
        line = "\n" + json.dumps({**state, "entry": result.as_json()}) + "\n"
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(line.encode())
        except OSError as error:
            self._is_writable = False
            _log.warning(
                "%s cannot be written: %s. If this run is killed, its report will not know what it has finished.",
                self.path,
                error.strerror or str(error),
            )

    def _lines(self) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        """The lines that can be read, with the photo and the result that they are about."""
        with suppress(OSError), self.path.open("rb") as file:
            for text in file:
                with suppress(ValueError, KeyError, TypeError, RecursionError):
                    line = json.loads(text)
                    if ("before" in line) != ("after" in line):
                        yield (str(line["entry"]["path"]), str(line["entry"]["output"])), line


def _state(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_ino, status.st_size, status.st_mtime_ns]

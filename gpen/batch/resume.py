"""What earlier runs made the results of a folder with, so that the next run can tell which of them differ from its own.

The record is a hidden file beside the results: lines of JSON, to which each run adds itself and each of its results.
A line that a killed process left half written is passed over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..atomic import remove_left_over, write_text
from ..errors import PhotoError
from ..restoration.provenance import decisive_options
from ..weights.download import cached_sha256
from .config import RunConfig
from .plan import Job
from .report import PhotoResult, Status

RECORD = ".gpen-results.jsonl"
"""Name of the file."""

_RUN, _RECIPE, _FILE, _STATE = "run", "recipe", "file", "state"
_VERSION = "version"
_MOST_SHOWN = 4
_SPARE_LINES = 100  # that no longer count, before the record is written anew
_Recipe = dict[str, Any]

_log = logging.getLogger(__name__)


def recipe(config: RunConfig) -> _Recipe:
    """What decides how the results of a run look, in names and values for people; files by name and SHA256."""
    from .. import __version__

    task = config.task
    models = [_file(path) for path in (config.weights, *(config.other_weights or ()))]
    given: dict[str, list[Path]] = {
        "region": [config.region] if config.region else [],
        "background model": [config.background] if config.background else [],
        "damage mask": [config.damage] if config.damage else [],
        "protection mask": [config.protect] if config.protect else [],
        "person": list(config.people),
    }
    return {
        "task": task.name,
        "model": models,
        **{name.replace("_", " "): value for name, value in decisive_options(task, config.options).items()},
        # It grows as photos are added, and says nothing of those that are there already.
        "faces file": config.faces.name if config.faces else None,
        **{what: [_file(path) for path in paths] for what, paths in given.items()},
        "aligned": config.aligned,
        "quality": config.output.quality,
        "provenance": config.output.provenance,
        # Only the certificate: nothing may be told from the record about the key.
        "certificate": _file(config.output.sign[0]) if config.output.sign else None,
        _VERSION: __version__,
    }


def _file(path: Path) -> str:
    """Names a file, so that another one of the same name is told apart; a folder only by its name."""
    try:
        return f"{path.name} ({cached_sha256(path)[:12]})"
    except OSError:
        return path.name


class ResumeRecord:
    """The record of a folder of results. It is an aid: where it cannot be written, the log says so once.

    folder: the folder of all results. now: the :func:`recipe` of this run.
    """

    def __init__(self, folder: Path, now: Mapping[str, Any]) -> None:
        self._folder = folder
        self._file = folder / RECORD
        text = json.dumps(now, sort_keys=True)
        self._now: _Recipe = json.loads(text)  # as it is read back
        self._run = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._recipes: dict[str, _Recipe] = {}
        self._results: dict[str, tuple[str, tuple[int, int]]] = {}
        self._is_writable = True
        remove_left_over(folder)
        lines = self._read()
        if lines > 2 * (len(self._results) + len(self._recipes)) + _SPARE_LINES:
            self._compact()
        # The file that holds this run's recipe: another run may put a new one in its place, or somebody delete it.
        self._known_in: tuple[int, int] | None = None
        with contextlib.suppress(OSError):
            self._known_in = _identity(self._file.stat()) if self._run in self._recipes else None

    def add(self, result: PhotoResult) -> PhotoResult:
        """Record a result that was written; returns it, with the difference where it was there and made otherwise."""
        if result.status in (Status.DONE, Status.UNCHANGED):
            self._append(result.job)
        if result.status is not Status.EXISTS:
            return result
        differences = self.differences(result.job)
        if not differences:
            return result
        shown = list(differences.values())
        shown = shown[:_MOST_SHOWN] + (["..."] if len(shown) > _MOST_SHOWN else [])
        message = f"{result.job.target} already exists, made differently ({'; '.join(shown)}); the photo was skipped."
        return dataclasses.replace(result, message=message, is_stale=differences.keys() != {_VERSION})

    def differences(self, job: Job) -> dict[str, str]:
        """How an existing result was made, where that differs from this run, in words by name; none if not known."""
        run, state = self._results.get(self._name(job), ("", None))
        if state is None or state != _state(job.target):
            return {}
        before = self._recipes[run]
        return {
            name: f"{name} {_shown(before.get(name))}, now {_shown(self._now.get(name))}"
            for name in dict.fromkeys([*self._now, *before])
            if before.get(name) != self._now.get(name)
        }

    def _name(self, job: Job) -> str:
        # Not by Path.relative_to, which leaves what it computes with each of perhaps a million paths.
        return os.fspath(job.target).removeprefix(f"{self._folder}{os.sep}").replace(os.sep, "/")

    def _read(self) -> int:
        """Read the record, and return the number of its lines."""
        lines = 0
        for line in self._lines():
            try:
                content = json.loads(line)
                run = str(content[_RUN])
                if _RECIPE in content:
                    self._recipes[run] = dict(content[_RECIPE])
                elif run in self._recipes:
                    size, changed_ns = map(int, content[_STATE])
                    self._results[str(content[_FILE])] = run, (size, changed_ns)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                continue
            lines += 1
        return lines

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._file.open("rb") as file:
                yield from file
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%s cannot be read: %s.", self._file, error.strerror or str(error))

    def _compact(self) -> None:
        """Write the record anew, without what no longer counts."""
        self._results = {name: found for name, found in self._results.items() if (self._folder / name).is_file()}
        used = {run for run, _ in self._results.values()}
        self._recipes = {run: recipe for run, recipe in self._recipes.items() if run in used}
        lines = [json.dumps({_RUN: run, _RECIPE: recipe}) for run, recipe in self._recipes.items()]
        lines += [_line(run, name, state) for name, (run, state) in self._results.items()]
        try:
            write_text(self._file, "".join(f"{line}\n" for line in lines), "The record of the results")
        except PhotoError as error:
            self._give_up(str(error))

    def _append(self, job: Job) -> None:
        state = _state(job.target)
        if not self._is_writable or state is None:
            return
        line = _line(self._run, self._name(job), state) + "\n"
        try:
            with self._file.open("ab") as file:
                identity = _identity(os.fstat(file.fileno()))
                if identity != self._known_in or file.tell() == 0:
                    # A line that a killed run left without its end must not take this one with it.
                    line = "\n" + json.dumps({_RUN: self._run, _RECIPE: self._now}) + "\n" + line
                file.write(line.encode())
                self._known_in = identity
        except OSError as error:
            self._give_up(f"{self._file} cannot be written: {error.strerror or error}.")

    def _give_up(self, why: str) -> None:
        self._is_writable = False
        _log.warning("%s Later runs will not know how these results were made.", why)


def _line(run: str, name: str, state: tuple[int, int]) -> str:
    return json.dumps({_RUN: run, _FILE: name, _STATE: state})


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _state(path: Path) -> tuple[int, int] | None:
    """Tells a result from a file that somebody put in its place; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Output of the commands: a progress bar, results, problems, and the totals at the end."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from ..batch.plan import Job, Problem
from ..batch.report import PhotoResult, Status
from ..restoration.pipeline import OnProgress
from ..restoration.result import RestoredFace
from ..wording import count

OVERWRITE = "Use --overwrite to replace the result."
"""What to do about a result that exists."""

SALVAGE = "What is left of it can be read with --salvage."
"""What to do about a photo that is damaged."""

MOST_REPEATED = 10
"""How many failures are said again at the end."""


def failure(result: PhotoResult) -> str:
    """Which photo failed, and why."""
    path = str(result.job.photo.path)
    return result.message if path in result.message else f"{path}: {result.message}"


def with_advice(result: PhotoResult) -> PhotoResult:
    """The result, with the flag in its message that helps where its photo is damaged."""
    return dataclasses.replace(result, message=f"{result.message} {SALVAGE}") if result.is_salvageable else result


class Tally:
    """Counts photos by status, and faces.

    keep: keep the results as well, for a report; a million photos take less memory without. done: what the task does to
    faces, in a word such as "restored".
    """

    def __init__(self, keep: bool, done: str) -> None:
        self.results: list[PhotoResult] = []
        self.statuses: Counter[Status] = Counter()
        self.stale = 0
        self.failures: list[str] = []
        """Why photos failed, the first of them."""
        self._faces = 0
        self._keep = keep
        self._done = done

    def add(self, result: PhotoResult) -> None:
        """Count the result of a photo."""
        if self._keep:
            self.results.append(result)
        self.statuses[result.status] += 1
        self.stale += result.is_stale
        if result.status is Status.FAILED and len(self.failures) < MOST_REPEATED:
            self.failures.append(failure(result))
        self._faces += len(result.faces)

    def __str__(self) -> str:
        words = {Status.DONE: self._done}
        counts = [
            f"{self.statuses[status]} {words.get(status, status.value)}" for status in Status if self.statuses[status]
        ]
        return f"{', '.join(counts)}; {count(self._faces, 'face')} {self._done}"


_SHARE_OF_BACKGROUND = 0.5  # of the work on a photo; a guess


class Progress:
    """A progress bar over photos, which advances with each background tile and each face."""

    def __init__(self, photos: int) -> None:
        # The name comes last, where a narrow terminal cuts it off.
        form = "{percentage:3.0f}%|{bar:20}| {desc}, {elapsed} gone, {remaining} left{postfix}"
        # disable=None: no bar unless stderr is a terminal.
        self._bar = tqdm(
            total=photos,
            bar_format=form,
            desc=f"{count(photos, 'photo')}",
            file=sys.stderr,
            disable=None,
            leave=False,
            dynamic_ncols=True,
        )
        self._photos = photos
        self._started = self._ended = 0
        self._name = ""
        self._background = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def starts(self, job: Job) -> OnProgress:
        """Call when a photo is started; returns the callback for each of its faces."""
        self._name = job.photo.path.name
        self._background = 0.0
        self._started += 1
        self._show("finding faces", 0)
        return self._on_face

    def on_tile(self, done: int, total: int) -> None:
        """Call after each tile of a background."""
        self._background = _SHARE_OF_BACKGROUND
        self._show(f"background, tile {done} of {total}", self._background * done / total)

    def _on_face(self, done: int, total: int, face: RestoredFace | None) -> None:
        part = done / total if total else 1
        self._show(f"face {done} of {total}", self._background + (1 - self._background) * part)

    def _show(self, what: str, done: float) -> None:
        self._bar.set_description_str(f"{self._started} of {self._photos}, {what}", refresh=False)
        self._bar.set_postfix_str(self._name, refresh=False)
        self._bar.n = self._started - 1 + done
        self._bar.refresh()

    def ends(self, result: PhotoResult) -> None:
        """Call when a photo is finished."""
        if result.status is Status.EXISTS and not self._bar.disable:
            self._bar.initial += 1  # it took no time, so leave it out of the estimate
        self._ended += 1
        self._bar.n = max(self._bar.n, self._ended)  # the next photo may have started already
        self._bar.refresh()
        path = result.job.photo.path
        if result.status is Status.FAILED:
            tqdm.write(f"gpen: {failure(result)}", file=sys.stderr)
        elif result.status is Status.EXISTS:
            tqdm.write(f"{path}: {result.message} {OVERWRITE}")
        else:
            tqdm.write(f"{path} -> {result.job.target}: {result.message} ({result.seconds:.1f} s)")


def frame_progress(frames: int) -> Any:
    """A progress bar for the first pass over a video, which detects faces."""
    form = (
        "{percentage:3.0f}%|{bar:20}| finding faces in frame {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left"
    )
    return tqdm(total=frames, bar_format=form, file=sys.stderr, disable=None, leave=False, dynamic_ncols=True)


def print_failures(tally: Tally) -> None:
    """Print again which photos failed, and why."""
    failed = tally.statuses[Status.FAILED]
    if failed:
        print(f"gpen: {count(failed, 'photo')} failed:", file=sys.stderr)
    for text in tally.failures:
        print(f"    {text}", file=sys.stderr)
    if failed > len(tally.failures):
        print(f"    and {failed - len(tally.failures)} more; --report FILE writes them all.", file=sys.stderr)


def print_problems(problems: Sequence[Problem]) -> None:
    """Print the inputs that could not be used, and why."""
    for problem in problems:
        named = problem.why if problem.text in problem.why else f"{problem.text}: {problem.why}"
        print(f"gpen: {named}", file=sys.stderr)

"""Checks that a command overwrites no file that the user gave it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..batch.plan import Job
from ..errors import PhotoError
from ..filenames import real_path


def check_output_file(
    path: Path, what: str, *, suffix: str, given: Sequence[Path | None], overwrite: bool | None = None
) -> None:
    """PhotoError if the ``what``, such as "report", must not be written to ``path``.

    suffix: the required suffix of the file. given: files that must not be overwritten. overwrite: whether an
    existing file may be replaced; None to allow it if the file has the suffix.
    """
    for other in given:
        if other is not None and real_path(path) == real_path(other):
            raise PhotoError(f"The {what} would replace {other}. Choose another file.")
    if path.is_dir():
        raise PhotoError(f"{path} is a folder. Choose a file for the {what}.")
    if path.suffix.lower() != suffix and (overwrite is not None or path.exists()):
        raise PhotoError(f"The {what} is written as {suffix}, but {path} has another suffix. Change it to {suffix}.")
    if path.exists() and overwrite is False:
        raise PhotoError(f"{path} already exists. Use --overwrite to replace it.")


def check_results_spare(given: Path | None, what: str, jobs: Sequence[Job]) -> None:
    """PhotoError if a result would replace ``given``, a picture such as the region, or be written into that folder."""
    if given is None:
        return
    path = real_path(given)
    for job in jobs:
        target = real_path(job.target)
        if target == path or (path.is_dir() and path in target.parents):
            raise PhotoError(
                f"{job.target} would be written to {given}, where the {what} is. Choose another output folder."
            )

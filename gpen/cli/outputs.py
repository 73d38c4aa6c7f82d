"""Which files a command may write: never a photo or another file that the user gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..batch.plan import Job
from ..errors import PhotoError


def check_output_file(
    path: Path, what: str, *, suffix: str, given: Sequence[Path | None], overwrite: bool | None = None
) -> None:
    """PhotoError where the ``what`` may not be written to ``path``.

    suffix: what the file's name has to end with. given: files that must stay. overwrite: whether a file that exists may
    be replaced; None where it may if it has the suffix.
    """
    for other in given:
        if other is not None and path.resolve() == other.resolve():
            raise PhotoError(f"The {what} would replace {other}. Give another file.")
    if path.is_dir():
        raise PhotoError(f"{path} is a folder. Give the {what} another name.")
    if path.suffix.lower() != suffix and (overwrite is not None or path.exists()):
        raise PhotoError(f"The {what} is written as {suffix}; {path} ends otherwise. Change its ending.")
    if path.exists() and overwrite is False:
        raise PhotoError(f"{path} already exists; use --overwrite to replace it.")


def check_results_spare(given: Path | None, what: str, jobs: Sequence[Job]) -> None:
    """PhotoError where results would be written over a picture, or into a folder of pictures, given for another use."""
    if given is None:
        return
    path = given.resolve()
    for job in jobs:
        target = job.target.resolve()
        if target == path or (path.is_dir() and path in target.parents):
            raise PhotoError(
                f"{job.target} would be written to {given}, where the {what} is. Choose another place with -o."
            )

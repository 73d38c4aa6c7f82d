"""Which photographs a command means, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from .errors import PhotoError
from .images import READABLE_SUFFIXES, can_write

Problem = tuple[str, str]
"""An input, as the user typed it, and why it cannot be used."""

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True)
class Photograph:
    """A picture file. name: relative to the folder that was given, with / between folders."""

    path: Path
    name: str


@dataclass(frozen=True)
class Job:
    """A photograph to restore, and the file to write.

    label: what the names of further files begin with that are written beside the target.
    """

    photograph: Photograph
    target: Path
    label: str


def find_photographs(inputs: Sequence[str], leave_out: Path | None = None) -> tuple[list[Photograph], list[Problem]]:
    """Return what files, folders (with all that is in them) and glob patterns mean, each file once.

    leave_out: a folder whose pictures do not count, where it lies inside one that was given.
    """
    found: dict[Path, Photograph] = {}
    problems = []
    for text in inputs:
        matches = list(_matches(text, leave_out))
        if not matches:
            what = "There is no picture in this folder" if Path(text).is_dir() else "No file matches"
            problems.append((text, f"{what}."))
        for photograph in matches:
            found.setdefault(Path(os.path.abspath(photograph.path)), photograph)  # noqa: PTH100 - keeps links
    return list(found.values()), problems


def plan(inputs: Sequence[str], out: Path) -> tuple[list[Job], list[Problem]]:
    """Give each photograph the file that its result goes to.

    out: the folder for the results, which keeps the tree of each given folder; or, for a single file and
    where it ends like a picture's name, the result itself. Formats that cannot be written become PNG.
    PhotoError where two results would have the same name, or a result that of a photograph.
    """
    photographs, problems = find_photographs(inputs, leave_out=out)
    one_file = len(inputs) == 1 and Path(inputs[0]).is_file()
    if one_file and can_write(out.suffix) and not out.is_dir():
        targets = [out]
    else:
        targets = [out / _writable(PurePath(photograph.name)) for photograph in photographs]
    _check(photographs, targets)
    stems = Counter(target.with_suffix("") for target in targets)
    jobs = []
    for photograph, target in zip(photographs, targets, strict=True):
        alone = stems[target.with_suffix("")] == 1
        jobs.append(Job(photograph, target, target.stem if alone else target.name.replace(".", "_")))
    return jobs, problems


def _matches(text: str, leave_out: Path | None) -> Iterator[Photograph]:
    path = Path(text)
    if path.is_dir():
        skipped = leave_out.resolve() if leave_out is not None else None
        if skipped == path.resolve():
            skipped = None
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() not in READABLE_SUFFIXES or not file.is_file():
                continue
            if skipped is None or skipped not in file.resolve().parents:
                yield Photograph(file, file.relative_to(path).as_posix())
    elif path.is_file() or not _WILDCARDS.intersection(text):
        # A file that is named is taken whatever it is called; a missing one is reported when it is read.
        yield Photograph(path, path.name)
    else:
        for name in sorted(glob.glob(text, recursive=True)):  # noqa: PTH207 - patterns may be absolute
            if Path(name).is_file():
                yield Photograph(Path(name), Path(name).name)


def _writable(name: PurePath) -> PurePath:
    return name if can_write(name.suffix) else name.with_suffix(".png")


def _check(photographs: list[Photograph], targets: list[Path]) -> None:
    sources = {photograph.path.resolve() for photograph in photographs}
    taken: dict[str, Photograph] = {}
    for photograph, target in zip(photographs, targets, strict=True):
        if target.resolve() in sources:
            raise PhotoError(
                f"The result of {photograph.path} would replace {target}, a photograph that was given. "
                "Choose another folder with -o."
            )
        # Many file systems do not tell upper from lower case.
        first = taken.setdefault(str(target).casefold(), photograph)
        if first is not photograph:
            raise PhotoError(
                f"{first.path} and {photograph.path} would both be written to {target}. Restore them one "
                "after the other into different folders, or give the folder above them."
            )

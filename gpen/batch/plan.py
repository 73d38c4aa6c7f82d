"""Which photos a command means, and where each result goes."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..errors import PhotoError
from ..images import READABLE_SUFFIXES, can_write

Problem = tuple[str, str]
"""An input, as the user typed it, and why it cannot be used."""

_WILDCARDS = frozenset("*?[")
_EXTRA = re.compile(r"_(compare|faces|face\d+_(before|after))$")


@dataclass(frozen=True)
class PhotoFile:
    """A picture file."""

    path: Path
    """Where it is."""
    name: str
    """Relative to the folder that was given, with / between folders."""


@dataclass(frozen=True)
class Job:
    """A photo to work on, and the file to write."""

    photo: PhotoFile
    """The photo."""
    target: Path
    """The file that the result goes to."""
    label: str
    """What the names of further files begin with that are written beside the target."""


def find_photos(inputs: Sequence[str], leave_out: Path | None = None) -> tuple[list[PhotoFile], list[Problem]]:
    """Return what files, folders (with all that is in them) and glob patterns mean, each file once.

    Hidden files and folders inside a folder do not count. leave_out: a folder whose pictures do not count
    either, where it lies inside a folder that was given or that a pattern searches.
    """
    found: dict[Path, PhotoFile] = {}
    problems = []
    for text in inputs:
        try:
            matches = list(_matches(text, leave_out))
        except OSError as error:  # a name that is too long, say
            problems.append((text, f"{error.strerror or error}."))
            continue
        if not matches:
            what = "There is no picture in this folder" if Path(text).is_dir() else "No file matches"
            problems.append((text, f"{what}."))
        for photo in matches:
            found.setdefault(Path(os.path.abspath(photo.path)), photo)  # noqa: PTH100 - keeps links
    return list(found.values()), problems


def plan(inputs: Sequence[str], out: Path) -> tuple[list[Job], list[Problem]]:
    """Give each photo the file that its result goes to.

    out: the folder for the results, which keeps the tree of each given folder and pattern; or, for a single
    file and where it ends like a picture's name, the result itself. Formats that cannot be written become
    PNG. PhotoError where that makes no sense, where two results would have the same name, or a result that
    of a photo.
    """
    photos, problems = find_photos(inputs, leave_out=out)
    if _is_result(inputs, out, len(photos)):
        targets = [out for _ in photos]
    else:
        targets = [out / _writable(PurePath(photo.name)) for photo in photos]
    check_targets(photos, targets)
    jobs = [Job(*job) for job in zip(photos, targets, labels(targets), strict=True)]
    return jobs, problems


def check_targets(photos: Sequence[PhotoFile], targets: Sequence[Path]) -> None:
    """PhotoError where what is made of a photo would replace one that was given, or that of another."""
    sources = {photo.path.resolve() for photo in photos}
    taken: dict[str, PhotoFile] = {}
    for photo, target in zip(photos, targets, strict=True):
        if target.resolve() in sources:
            raise PhotoError(
                f"What is made of {photo.path} would replace {target}, a photo that was given. "
                "Choose another folder with -o."
            )
        first = taken.setdefault(_key(target), photo)
        if first is not photo:
            raise PhotoError(
                f"{first.path} and {photo.path} would both be written to {target}. Do them one "
                "after the other into different folders, or give the folder above them."
            )


def labels(paths: Sequence[Path]) -> list[str]:
    """What the names of further files beside each path begin with: its stem, or more where that is not clear."""
    stems = Counter(_key(path.with_suffix("")) for path in paths)
    # Beside a.png and a_compare.png, the comparison of the first may not be called a_compare.png.
    taken = {_key(path.with_name(_EXTRA.sub("", path.stem) or "_")) for path in paths if _EXTRA.search(path.stem)}
    result = []
    for path in paths:
        label, key = path.stem, _key(path.with_suffix(""))
        if stems[key] > 1 or key in taken:
            label = path.name.replace(".", "_")
            while (key := _key(path.with_name(label))) in taken or key in stems:
                label += "_"
            taken.add(key)
        result.append(label)
    return result


def _key(path: Path) -> str:
    """Equal for paths that may be the same: many file systems do not tell upper from lower case."""
    return str(path).casefold()


def _matches(text: str, leave_out: Path | None) -> Iterator[PhotoFile]:
    path = Path(text)
    if path.is_dir():
        for found in _outside(leave_out, path, path.rglob("*")):
            parts = PurePath(found.name).parts
            # Hidden files are no photos: macOS keeps notes in ._photo.jpg, file managers thumbnails.
            if found.path.suffix.lower() in READABLE_SUFFIXES and not any(p.startswith(".") for p in parts):
                yield found
    elif path.is_file() or not _WILDCARDS.intersection(text):
        # A file that is named is taken whatever it is called; a missing one is reported when it is read.
        yield PhotoFile(path, path.name)
    else:
        names = glob.glob(text, recursive=True)  # noqa: PTH207 - patterns may be absolute
        yield from _outside(leave_out, _fixed_part(path), map(Path, names))


def _outside(folder: Path | None, base: Path, paths: Iterable[Path]) -> Iterator[PhotoFile]:
    """The files among ``paths`` that are not in ``folder``, provided that this is a part of ``base``."""
    skipped = folder.resolve() if folder is not None else None
    if skipped is not None and base.resolve() not in skipped.parents:
        skipped = None
    for path in sorted(paths):
        if path.is_file() and (skipped is None or skipped not in path.resolve().parents):
            yield PhotoFile(path, path.relative_to(base).as_posix())


def _fixed_part(pattern: Path) -> Path:
    """The folder that a pattern begins with."""
    while _WILDCARDS.intersection(str(pattern)):
        pattern = pattern.parent
    return pattern


def _writable(name: PurePath) -> PurePath:
    return name if can_write(name.suffix) else name.with_suffix(".png")


def _is_result(inputs: Sequence[str], out: Path, photos: int) -> bool:
    """Whether ``out`` is the name of the one result, not of a folder for all; PhotoError if it is neither."""
    if out.is_dir():
        return False
    if can_write(out.suffix):
        if photos > 1 or any(Path(text).is_dir() for text in inputs):
            raise PhotoError(
                f"{out} is the name of one picture, and more than one may have to be written. Give a folder with -o."
            )
        return True
    if out.exists():
        raise PhotoError(f"{out} is a file, but no picture. Give a folder with -o, or the name of a picture.")
    if out.suffix.lower() in READABLE_SUFFIXES:
        raise PhotoError(f"Pictures cannot be written as {out.suffix}. Choose .png, .jpg, .webp or .tif.")
    return False

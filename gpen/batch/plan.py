"""Which photos the inputs stand for, and which file each result is written to."""

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
"""An input as the user typed it, and why it cannot be used."""

_WILDCARDS = frozenset("*?[")
_EXTRA = re.compile(r"_(compare|faces|face\d+_(before|after))$")


@dataclass(frozen=True)
class PhotoFile:
    """A picture file."""

    path: Path
    """Path of the file."""
    name: str
    """Path relative to the input folder, with / as separator."""


@dataclass(frozen=True)
class Job:
    """A photo to process, and the file to write."""

    photo: PhotoFile
    """The input."""
    target: Path
    """The file of the result."""
    label: str
    """Prefix for the names of further files beside the target, such as "<label>_compare.png"."""


def find_photos(inputs: Sequence[str], leave_out: Path | None = None) -> tuple[list[PhotoFile], list[Problem]]:
    """Expand files, folders (recursively) and glob patterns into photos, each file once.

    Hidden files and folders inside a folder are skipped. leave_out: a folder to skip as well, if it lies inside an
    input folder or one that a pattern searches.
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
    """Choose the file that each photo's result is written to.

    out: the output folder, in which the tree of each input folder and pattern is kept; or, for a single photo, the
    result itself if the name ends like a picture's. Formats that cannot be written become PNG. PhotoError if ``out`` is
    neither, or if a result would replace a photo or another result.
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
    """PhotoError if a target would replace one of the photos, or another target."""
    sources = {photo.path.resolve() for photo in photos}
    taken: dict[str, PhotoFile] = {}
    for photo, target in zip(photos, targets, strict=True):
        if target.resolve() in sources:
            raise PhotoError(
                f"The result of {photo.path} would replace {target}, one of the input photos. Choose another output "
                "folder."
            )
        first = taken.setdefault(_key(target), photo)
        if first is not photo:
            raise PhotoError(
                f"{first.path} and {photo.path} would both be written to {target}. Process them separately into "
                "different folders, or give the folder that contains both."
            )


def labels(paths: Sequence[Path]) -> list[str]:
    """A prefix for the names of further files beside each path: its stem, or more where stems are ambiguous."""
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
    """Equal for paths that may be the same file: many file systems ignore case."""
    return str(path).casefold()


def _matches(text: str, leave_out: Path | None) -> Iterator[PhotoFile]:
    path = Path(text)
    if path.is_dir():
        for found in _outside(leave_out, path, path.rglob("*")):
            parts = PurePath(found.name).parts
            # Hidden files are not photos: macOS keeps metadata in ._photo.jpg, file managers thumbnails.
            if found.path.suffix.lower() in READABLE_SUFFIXES and not any(p.startswith(".") for p in parts):
                yield found
    elif path.is_file() or not _WILDCARDS.intersection(text):
        # A file given by name is taken whatever its suffix; if it is missing, reading it says so.
        yield PhotoFile(path, path.name)
    else:
        names = glob.glob(text, recursive=True)  # noqa: PTH207 - patterns may be absolute
        yield from _outside(leave_out, _fixed_part(path), map(Path, names))


def _outside(folder: Path | None, base: Path, paths: Iterable[Path]) -> Iterator[PhotoFile]:
    """The files among ``paths``, without those in ``folder`` if that lies inside ``base``."""
    skipped = folder.resolve() if folder is not None else None
    if skipped is not None and base.resolve() not in skipped.parents:
        skipped = None
    for path in sorted(paths):
        if path.is_file() and (skipped is None or skipped not in path.resolve().parents):
            yield PhotoFile(path, path.relative_to(base).as_posix())


def _fixed_part(pattern: Path) -> Path:
    """The leading folders of a pattern, up to its first wildcard."""
    while _WILDCARDS.intersection(str(pattern)):
        pattern = pattern.parent
    return pattern


def _writable(name: PurePath) -> PurePath:
    return name if can_write(name.suffix) else name.with_suffix(".png")


def _is_result(inputs: Sequence[str], out: Path, photos: int) -> bool:
    """Whether ``out`` is the file of the only result rather than a folder; PhotoError if it can be neither."""
    if out.is_dir():
        return False
    if can_write(out.suffix):
        if photos > 1 or any(Path(text).is_dir() for text in inputs):
            raise PhotoError(
                f"{out} is the name of one picture, but there may be several results. Give an output folder."
            )
        return True
    if out.exists():
        raise PhotoError(f"{out} is a file, but not a picture. Give an output folder, or the name of a picture.")
    if out.suffix.lower() in READABLE_SUFFIXES:
        raise PhotoError(f"Pictures cannot be written as {out.suffix}. Choose .png, .jpg, .webp or .tif.")
    return False

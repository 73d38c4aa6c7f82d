"""Which photos the inputs stand for, and which file each result is written to."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..errors import PhotoError
from ..filenames import fitting, folded, is_clutter, is_hidden, real_path
from ..images import can_write, is_picture, is_readable, unreadable

_WILDCARDS = frozenset("*?[")
_EXTRA = re.compile(r"_(compare|faces|face\d+_(before|after))$")
_LONGEST_END = "_face0000_before.png"  # of the names of further files

LIKE_A_FILE = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}")
"""A suffix; not that of a folder such as "Album 12.5.2020"."""


@dataclass(frozen=True)
class Problem:
    """An input that cannot be used, or not whole."""

    text: str
    """The input as the user typed it, or the photo."""
    why: str
    """A sentence."""
    is_notice: bool = False
    """Whether the rest of the input is used all the same."""


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

    @property
    def has_result(self) -> bool:
        """See :func:`is_result`."""
        return is_result(self.target)


def is_result(file: Path) -> bool:
    """Whether the file of a result is there. An empty one is none: other programs and full disks leave such."""
    try:
        return file.is_file() and file.stat().st_size > 0
    except OSError:  # it was removed in between
        return False


def find_photos(inputs: Sequence[str], leave_out: Path | None = None) -> tuple[list[PhotoFile], list[Problem]]:
    """Expand files, folders (recursively) and glob patterns into photos, each file once.

    Inside a folder, hidden files and folders are skipped, and those in which systems keep thumbnails or deleted files;
    pictures of a kind that cannot be read are counted in a problem. leave_out: a folder to skip as well, if it lies
    inside an input folder or one that a pattern searches.
    """
    found: dict[Path, PhotoFile] = {}
    problems = []
    for text in inputs:
        try:
            matches = list(matching_files(text, leave_out))
        except OSError as error:  # a name that is too long, say
            problems.append(Problem(text, f"{error.strerror or error}."))
            continue
        if Path(text).is_dir():
            pictures = [photo for photo in matches if is_picture(photo.path.suffix)]
            matches = [photo for photo in pictures if is_readable(photo.path.suffix)]
            if len(matches) < len(pictures):
                others = [photo.path for photo in pictures if not is_readable(photo.path.suffix)]
                problems.append(Problem(text, unreadable(others), is_notice=bool(matches)))
            elif not matches:
                problems.append(Problem(text, "There is no picture in this folder."))
        elif not matches:
            problems.append(Problem(text, "No file matches."))
        for photo in matches:
            found.setdefault(Path(os.path.abspath(photo.path)), photo)  # noqa: PTH100 - keeps links
    return list(found.values()), problems


def plan(inputs: Sequence[str], out: Path) -> tuple[list[Job], list[Problem]]:
    """Choose the file that each photo's result is written to.

    out: the output folder, in which the tree of each input folder and pattern is kept; or, for a single photo, the
    result itself if the name ends like a picture's. Formats that cannot be written become PNG. If results of photos in
    one folder would have the same name, or names that differ only in case, further ones get another: that of a.bmp
    beside a.png is a_bmp.png. Photos of different folders whose results would have one name are a problem, and left
    out. PhotoError if ``out`` is neither, or if a result would replace a photo.
    """
    photos, problems = find_photos(inputs, leave_out=out)
    if _is_result(inputs, out, len(photos)):
        targets = [out for _ in photos]
    else:
        targets = distinct_targets(photos, [out / _writable(PurePath(photo.name)) for photo in photos])
    jobs, clashes = _jobs(photos, targets)
    return jobs, problems + clashes


def plan_beside(inputs: Sequence[str], done: str) -> tuple[list[Job], list[Problem]]:
    """The same for photos, no folders, whose results are written beside them: photo_restored.jpg for photo.jpg.

    done: the end of their names, such as "restored". Results of an earlier run are left out, if their photos are there,
    and so are the comparisons and faces beside them.
    """
    photos, problems = find_photos(inputs)
    results = {_key(_beside(photo, done)) for photo in photos}
    photos = [photo for photo in photos if _key(photo.path) not in results]
    targets = distinct_targets(photos, [_beside(photo, done) for photo in photos])
    prefixes = {_key(target.with_name(label)) for target, label in zip(targets, labels(targets), strict=True)}
    kept = [pair for pair in zip(photos, targets, strict=True) if not _is_further(pair[0].path, prefixes)]
    jobs, clashes = _jobs([photo for photo, _ in kept], [target for _, target in kept])
    return jobs, problems + clashes


def _is_further(path: Path, prefixes: set[str]) -> bool:
    """Whether a file has the name of one that is written beside a result. prefixes: the keys of paths that end with a
    label.
    """
    end = _EXTRA.search(path.stem)
    return path.suffix == ".png" and end is not None and _key(path.with_name(path.stem[: end.start()])) in prefixes


def _beside(photo: PhotoFile, done: str) -> Path:
    target = photo.path.with_name(_writable(PurePath(photo.path.name)).name)
    end = f"_{done}{target.suffix}"
    return target.with_name(fitting(target.stem, end) + end)


def _jobs(photos: list[PhotoFile], targets: list[Path]) -> tuple[list[Job], list[Problem]]:
    """The jobs without those that clash, and a problem for each of these."""
    check_targets(photos, targets)
    photos, targets, clashes = _without_clashes(photos, targets)
    return [Job(*job) for job in zip(photos, targets, labels(targets), strict=True)], clashes


def check_targets(photos: Sequence[PhotoFile], targets: Sequence[Path]) -> None:
    """PhotoError if a target would replace one of the photos."""
    sources = {real_path(photo.path) for photo in photos}
    for photo, target in zip(photos, targets, strict=True):
        if real_path(target) in sources:
            raise PhotoError(
                f"The result of {photo.path} would replace {target}, one of the input photos. Choose another output "
                "folder."
            )


def distinct_targets(photos: Sequence[PhotoFile], targets: list[Path]) -> list[Path]:
    """The targets, with other names where files of one folder would have the same."""
    result = list(targets)
    taken = {_key(target) for target in targets}
    first: set[tuple[str, Path]] = set()
    # Whatever keeps its suffix keeps its name.
    order = sorted(range(len(photos)), key=lambda i: photos[i].path.suffix != targets[i].suffix)
    for index in order:
        photo, target = photos[index], targets[index]
        slot = _key(target), photo.path.parent
        if slot in first:
            result[index] = next(path for path in _alternatives(photo, target) if _key(path) not in taken)
            taken.add(_key(result[index]))
        first.add(slot)
    return result


def _alternatives(photo: PhotoFile, target: Path) -> Iterator[Path]:
    ends: Iterator[str] = map(str, itertools.count(2))
    if photo.path.suffix != target.suffix:
        ends = itertools.chain([photo.path.suffix[1:]], ends)
    for end in ends:
        yield target.with_name(fitting(f"{target.stem}_{end}", target.suffix) + target.suffix)


def _without_clashes(
    photos: Sequence[PhotoFile], targets: Sequence[Path]
) -> tuple[list[PhotoFile], list[Path], list[Problem]]:
    """The photos and targets without those that several photos would be written to, and a problem for each of these."""
    rivals: dict[str, list[PhotoFile]] = defaultdict(list)
    for photo, target in zip(photos, targets, strict=True):
        rivals[_key(target)].append(photo)
    kept = [(photo, target) for photo, target in zip(photos, targets, strict=True) if len(rivals[_key(target)]) == 1]
    problems = []
    for same in rivals.values():
        if len(same) > 1:
            target = targets[photos.index(same[0])]
            names = f"{', '.join(str(photo.path) for photo in same[:-1])} and {same[-1].path}"
            why = (
                f"{names} would {'both' if len(same) == 2 else 'all'} be written to {target}, and were left out. "
                "Process them separately into different folders, or give the folder that contains both."
            )
            problems.append(Problem(str(same[0].path), why))
    return [photo for photo, _ in kept], [target for _, target in kept], problems


def labels(paths: Sequence[Path]) -> list[str]:
    """A prefix for the names of further files beside each path: its stem, or more where stems are ambiguous.

    It is short enough for the longest of these names.
    """
    stems = Counter(_key(path.with_suffix("")) for path in paths)
    # Beside a.png and a_compare.png, the comparison of the first may not be called a_compare.png.
    taken = {_key(path.with_name(_EXTRA.sub("", path.stem) or "_")) for path in paths if _EXTRA.search(path.stem)}
    result = []
    for path in paths:
        label, key = fitting(path.stem, _LONGEST_END), _key(path.with_suffix(""))
        if stems[key] > 1 or key in taken:
            label = fitting(path.name.replace(".", "_"), _LONGEST_END)
            while (key := _key(path.with_name(label))) in taken or key in stems:
                label = fitting(label + "_", _LONGEST_END)
            taken.add(key)
        result.append(label)
    return result


def _key(path: Path) -> str:
    """Equal for paths that may be the same file."""
    return folded(str(path))


def matching_files(text: str, leave_out: Path | None) -> Iterator[PhotoFile]:
    """The files of any kind that a path or pattern stands for; see :func:`find_photos`. OSError for a bad name."""
    path = Path(text)
    if path.is_dir():
        for found in _outside(leave_out, path, path.rglob("*")):
            parts = PurePath(found.name).parts
            if not is_hidden(parts) and not is_clutter(parts):
                yield found
    elif path.is_file() or not _WILDCARDS.intersection(text):
        # A file given by name is taken whatever its suffix; if it is missing, reading it says so.
        yield PhotoFile(path, path.name)
    else:
        base = _fixed_part(path)
        names = glob.glob(str(path.relative_to(base)), root_dir=base, recursive=True)  # noqa: PTH207 - Path has no root
        matches = _outside(leave_out, base, (base / name for name in names))
        yield from (photo for photo in matches if not is_clutter(PurePath(photo.name).parts))


def _outside(folder: Path | None, base: Path, paths: Iterable[Path]) -> Iterator[PhotoFile]:
    """The files among ``paths``, without those in ``folder`` if that lies inside ``base``; broken links count."""
    skipped = real_path(folder) if folder is not None else None
    if skipped is not None and real_path(base) not in skipped.parents:
        skipped = None
    for path in sorted(paths):
        is_file = path.is_file() or (path.is_symlink() and not path.exists())
        if is_file and (skipped is None or skipped not in real_path(path).parents):
            yield PhotoFile(path, path.relative_to(base).as_posix())


def _fixed_part(pattern: Path) -> Path:
    """The leading folders of a pattern, up to its first wildcard; the name of a folder that exists holds none."""
    base = Path(pattern.anchor)
    for part in pattern.relative_to(base).parts[:-1]:
        if _WILDCARDS.intersection(part) and not (base / part).is_dir():
            break
        base /= part
    return base


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
    if is_picture(out.suffix):
        raise PhotoError(f"Pictures cannot be written as {out.suffix}. Choose .png, .jpg, .webp or .tif.")
    if LIKE_A_FILE.fullmatch(out.suffix) and photos == 1 and not any(Path(text).is_dir() for text in inputs):
        raise PhotoError(
            f"{out} is no folder, and pictures cannot be written as {out.suffix}. Choose .png, .jpg, .webp or .tif, or "
            "create a folder of that name first."
        )
    return False

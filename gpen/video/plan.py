"""Which films the inputs stand for, and which file each result is written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..batch.plan import LIKE_A_FILE, PhotoFile, check_targets, distinct_targets, is_result, matching_files
from ..errors import PhotoError
from ..filenames import fitting, folded
from ..images import is_picture
from .encoder import CONTAINERS

SUFFIXES = frozenset(
    {
        *CONTAINERS,
        *(
            ".avi",
            ".mpg",
            ".mpeg",
            ".m2v",
            ".ts",
            ".mts",
            ".m2ts",
            ".vob",
            ".wmv",
            ".flv",
            ".3gp",
            ".ogv",
            ".mxf",
            ".dv",
        ),
    }
)
"""How the names of films end, in lower case."""

PREVIEW = "preview"
"""How the names of previews end."""

_MADE = ".mkv"
"""What films become whose own kind of file is not written."""


@dataclass(frozen=True)
class FilmJob:
    """A film to work on, and the file to write."""

    film: PhotoFile
    target: Path

    @property
    def has_result(self) -> bool:
        """See :func:`~gpen.batch.plan.is_result`."""
        return is_result(self.target)


def split_inputs(inputs: Sequence[str], leave_out: Path | None) -> tuple[list[PhotoFile], list[str]]:
    """The films among files, folders and patterns, each once; and the inputs that may stand for photos.

    leave_out: a folder to skip, as for :func:`~gpen.batch.plan.find_photos`.
    """
    films: dict[Path, PhotoFile] = {}
    rest = []
    for text in inputs:
        try:
            matches = list(matching_files(text, leave_out))
        except OSError:  # the plan of the photos says what is wrong
            rest.append(text)
            continue
        here = [match for match in matches if is_film(match.path)]
        for film in here:
            films.setdefault(film.path.absolute(), film)
        others = [match for match in matches if not is_film(match.path)]
        if Path(text).is_dir():
            if not here or any(is_picture(match.path.suffix) for match in others):
                rest.append(text)
        elif not here:
            rest.append(text)
        else:
            rest += [str(match.path) for match in others]
    return list(films.values()), rest


def is_film(path: PurePath) -> bool:
    """Whether the name is that of a film."""
    return path.suffix.lower() in SUFFIXES


def plan_films(
    films: Sequence[PhotoFile], out: Path | None, done: str, *, is_only: bool, preview: bool = False
) -> list[FilmJob]:
    """Choose the file that each film's result is written to.

    out: the output folder, or the file of the only result; None for files beside the films, whose names end with
    ``done``, such as "restored"; results of an earlier run are left out then. is_only: whether one film is all that was
    given. preview: whether only parts are made, which do not take the place of whole results beside the films.
    PhotoError where results would replace films, or ``out`` cannot be.
    """
    if out is None:
        results = {_key(_beside(film, end)) for film in films for end in (done, PREVIEW)}
        films = [film for film in films if _key(film.path) not in results]
        targets = [_beside(film, PREVIEW if preview else done) for film in films]
    elif _is_file(out, is_only):
        targets = [out for _ in films]
    else:
        targets = [out / _written(PurePath(film.name)) for film in films]
    targets = distinct_targets(films, targets)
    check_targets(films, targets)
    first: dict[str, PhotoFile] = {}
    for film, target in zip(films, targets, strict=True):
        other = first.setdefault(_key(target), film)
        if other is not film:
            raise PhotoError(
                f"{other.path} and {film.path} would both be written to {target}. Restore them separately into "
                "different folders, or give the folder that contains both."
            )
    return [FilmJob(film, target) for film, target in zip(films, targets, strict=True)]


def _is_file(out: Path, is_only: bool) -> bool:
    if out.is_dir():
        return False
    if not is_film(out):
        _check_folder(out, is_only)
        return False
    if not is_only:
        raise PhotoError(f"{out} is the name of one film, but there may be several results. Give an output folder.")
    if out.suffix.lower() not in CONTAINERS:
        raise PhotoError(f"Films cannot be written as {out.suffix}. Choose {', '.join(CONTAINERS)}.")
    return True


def _check_folder(out: Path, is_only: bool) -> None:
    """PhotoError where ``out`` is not there yet and looks like the name of another kind of file."""
    if out.exists():
        raise PhotoError(f"{out} is a file, but not a film. Give an output folder, or the name of a film.")
    if is_only and LIKE_A_FILE.fullmatch(out.suffix):
        raise PhotoError(
            f"{out} is no folder, and films cannot be written as {out.suffix}. Choose {', '.join(CONTAINERS)}, or "
            "create a folder of that name first."
        )
    if is_picture(out.suffix):
        raise PhotoError(f"{out} is the name of a picture, and films cannot be written as one. Give an output folder.")


def _beside(film: PhotoFile, done: str) -> Path:
    target = film.path.with_name(_written(PurePath(film.path.name)).name)
    end = f"_{done}{target.suffix}"
    return target.with_name(fitting(target.stem, end) + end)


def _written(name: PurePath) -> PurePath:
    return name if name.suffix.lower() in CONTAINERS else name.with_suffix(_MADE)


def _key(path: Path) -> str:
    return folded(str(path.absolute()))

"""Finds model files: the folders that are searched, and the file that a name stands for.

Nothing here creates a folder or opens a file; a folder that does not exist counts as empty.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..errors import FilesError
from ..filenames import is_hidden
from ..tasks import find_task
from ..wording import command
from .catalog import (
    KINDS,
    NETWORK_SUFFIXES,
    Published,
    find_published,
    is_half,
    published_by_file_name,
    weight_suffix,
)

MODELS_VARIABLE = "GPEN_MODELS_PATH"
DETECTORS_VARIABLE = "GPEN_DETECTORS_PATH"

AUTO = "auto"
"""As the name of a model: for each face the one of its size."""


def search_folders(extra: Sequence[Path] = (), kind: str = "network") -> list[Path]:
    """The folders to search for files of this kind, in order of preference and without duplicates.

    ``extra`` (the host's folders) comes first, then ``$GPEN_MODELS_PATH``, then ``$GPEN_DETECTORS_PATH`` for every kind
    but networks, then the user's cache. The variables contain one or more folders, separated as in ``PATH``. The
    folders need not exist.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, not one of {', '.join(KINDS)}")
    folders = [Path(folder) for folder in extra]
    folders += _folders_in(MODELS_VARIABLE)
    if kind != "network":
        folders += _folders_in(DETECTORS_VARIABLE)
    cache = _user_cache()
    if cache is not None:
        folders.append(cache)
    return list(dict.fromkeys(folders))


def user_cache() -> Path:
    """The user's own folder for models; FilesError if the user has no home folder."""
    cache = _user_cache()
    if cache is None:
        raise FilesError(
            "There is no home folder for downloaded models. Set the environment variable "
            f"{MODELS_VARIABLE} to a folder of your choice."
        )
    return cache


def download_folder(folders: Sequence[Path]) -> Path:
    """The folder to download to: the first that exists and is writable, else the last.

    Of the folders from :func:`search_folders`, the last is the user's cache, which is also the default without folders.
    """
    for folder in folders:
        if folder.is_dir() and os.access(folder, os.W_OK):
            return folder
    return folders[-1] if folders else user_cache()


def find_file(published: Published, folders: Iterable[Path]) -> Path | None:
    """The published file on disk, or None.

    The first folder that has it wins. Within a folder, full precision comes before 16 bits, safetensors before .pth.
    Files are recognised by their names (see :func:`gpen.weights.catalog.published_by_file_name`).
    """
    return find_files((published,), folders).get(published.name)


def find_files(wanted: Iterable[Published], folders: Iterable[Path]) -> dict[str, Path]:
    """As :func:`find_file` for several published files, by their names; each folder is listed once."""
    names = {published.name for published in wanted}
    files: dict[str, Path] = {}
    for folder in folders:
        here: dict[str, list[Path]] = {}
        for path in _weight_files(folder):
            published = published_by_file_name(path.name)
            if published is not None and published.name in names:
                here.setdefault(published.name, []).append(path)
        files = {name: min(paths, key=_preference) for name, paths in here.items()} | files
        if len(files) == len(names):
            break
    return files


def require_file(published: Published, folders: Sequence[Path]) -> Path:
    """The published file on disk; FilesError that says where to get it and where to put it if it is missing."""
    found = find_file(published, folders)
    if found is not None:
        return found
    lines = [f"{published.name} ({published.saved_as}) is not on this computer.", _searched(folders)]
    by_hand = f"put {' or '.join(published.all_file_names)} into {download_folder(folders)}."
    if published.addresses:
        lines.append(f"Run {command(f'download {published.name}')}, or download it yourself from")
        lines += [f"  {address}" for address in published.addresses]
        lines.append(f"and {by_hand}")
    else:
        lines.append(f"No address is known for it: {by_hand}")
    raise FilesError("\n".join(lines))


def find_network(name_or_path: str | Path | None, folders: Sequence[Path], task: str = "restore") -> Path:
    """The model file that the user means.

    ``name_or_path`` is a path to a file, a name from the catalogue, or the name of a file in one of the folders, with
    or without its suffix (without it, safetensors comes before .pth). None or empty: the :func:`default_network` for
    ``task``. FilesError says what was looked for, where, and what to do.
    """
    text = str(name_or_path or "").strip()
    if not text:
        return _require_default(folders, task)
    path = _expanded(text)
    if _safe(path.is_file):
        return path
    if path.name == text:
        named = _named(text, folders)
        if named is not None:
            return named
        published = _published_or_none(text)
        if published is not None and published.kind == "network":
            return require_file(published, folders)
        if published is not None:
            raise FilesError(
                f"{text} is a {published.kind}, not a GPEN model. Choose one of those that {command('models')} lists."
            )
    if _safe(path.is_dir):
        raise FilesError(f"{path} is a folder. Give one of the model files in it, or a name from the catalogue.")
    if path.name != text:
        raise FilesError(f"There is no file {path}. Give the path of a model file, or a name from the catalogue.")
    on_disk = [file.name for file in list_networks(folders)]
    found = f"Found {', '.join(on_disk)}. " if on_disk else ""
    raise FilesError(
        f'"{text}" is neither a file, nor a name from the catalogue, nor a model in the searched folders. {found}'
        f"{command('models')} lists what is published and what is on disk.\n{_searched(folders)}"
    )


def list_networks(folders: Iterable[Path]) -> list[Path]:
    """The files in the folders that may be GPEN networks, in the order of folders, then names.

    Detectors, parsers and GPEN's discriminators (``-D``) are left out, by name. A file that is reached through two
    folders is listed once.
    """
    files: dict[Path, Path] = {}
    for folder in folders:
        for path in _weight_files(folder):
            if may_be_network(path.name):
                files.setdefault(path.resolve(), path)
    return list(files.values())


def may_be_network(name: str, task: str | None = None) -> bool:
    """Whether a file of this name may be a GPEN network: False for detectors, parsers and GPEN's discriminators.

    Also for hidden files, such as temporary ones and those that macOS writes beside others (``._name``).
    task: if given, also False for published networks for another task.
    """
    if is_hidden(PurePath(name.replace("\\", "/")).parts[-1:]):
        return False
    published = published_by_file_name(name)
    if published is not None:
        return published.kind == "network" and task in (None, published.task)
    stem = PurePath(name).stem.casefold()
    discriminator = stem.startswith("gpen") and stem.endswith(("-d", "_d"))
    return weight_suffix(name) in NETWORK_SUFFIXES and not discriminator


def default_network(folders: Sequence[Path], task: str = "restore") -> Path | None:
    """The published network on disk to use for a task when the user names none; None if there is none."""
    for published in by_preference(task):
        found = find_file(published, folders)
        if found is not None:
            return found
    return None


@dataclass(frozen=True)
class NetworkFiles:
    """The model file that the user means, or several."""

    first: Path
    """The one for most faces."""
    others: tuple[Path, ...] | None = None
    """Further ones, none or more, of which each face gets the one of its size; None where all faces get the first."""


def find_networks(name_or_path: str | Path | None, folders: Sequence[Path], task: str = "restore") -> NetworkFiles:
    """The model files that the user means: for :data:`AUTO` those of which each face gets the one of its size.

    They are the published networks on disk that the task has for that, smallest first; where there are none, the
    default one. For any other name as :func:`find_network`.
    """
    if name_or_path != AUTO:
        return NetworkFiles(find_network(name_or_path, folders, task))
    first, *others = networks_by_size(folders, task) or [find_network(None, folders, task)]
    return NetworkFiles(first, tuple(others))


def networks_by_size(folders: Sequence[Path], task: str = "restore") -> list[Path]:
    """The networks on disk of which :data:`AUTO` gives each face the one of its size, smallest first."""
    wanted = [find_published(name) for name in find_task(task).networks_by_size]
    found = find_files(wanted, folders)
    return [found[published.name] for published in wanted if published.name in found]


def by_preference(task: str) -> list[Published]:
    """The published networks for a task, the one that suits most faces first."""
    return [find_published(name) for name in find_task(task).networks]


def _require_default(folders: Sequence[Path], task: str) -> Path:
    found = default_network(folders, task)
    if found is not None:
        return found
    on_disk = [file.name for file in list_networks(folders) if may_be_network(file.name, task)]
    published = by_preference(task)
    advice = f"Run {command(f'download {published[0].name}')} to get one" if published else "Give a model file"
    if on_disk:
        advice += f", or name one of the models on disk: {', '.join(on_disk)}"
    what = find_task(task).network_does
    raise FilesError(f"No published model that {what} is on this computer. {advice}.\n{_searched(folders)}")


def _named(name: str, folders: Iterable[Path]) -> Path | None:
    wanted = name.casefold()
    for folder in folders:
        files = [path for path in _weight_files(folder) if weight_suffix(path.name) in NETWORK_SUFFIXES]
        for path in files:
            if path.name == name:
                return path
        found = [path for path in files if wanted in (path.name.casefold(), path.stem.casefold())]
        if found:
            return min(found, key=_preference)
    return None


def _published_or_none(name: str) -> Published | None:
    try:
        return find_published(name)
    except FilesError:
        return None


def _weight_files(folder: Path) -> list[Path]:
    try:
        found = (entry.name for entry in os.scandir(folder))
        names = sorted(name for name in found if weight_suffix(name) and not is_hidden((name,)))
        return [path for path in map(folder.joinpath, names) if path.is_file()]
    except OSError:
        return []


def _safe(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:  # the name is longer than the file system allows
        return False


def _preference(path: Path) -> tuple[bool, int, str]:
    suffix = weight_suffix(path.name)
    order = NETWORK_SUFFIXES.index(suffix) if suffix in NETWORK_SUFFIXES else len(NETWORK_SUFFIXES)
    return is_half(path.name), order, path.name


def _searched(folders: Sequence[Path]) -> str:
    if not folders:
        return "No folder was searched."
    lines = [f"  {folder}{'' if folder.is_dir() else ' (does not exist)'}" for folder in folders]
    return "\n".join(["Searched:", *lines])


def _folders_in(variable: str) -> list[Path]:
    entries = os.environ.get(variable, "").split(os.pathsep)
    return [_expanded(entry.strip()) for entry in entries if entry.strip()]


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # "~" without a home folder
        return Path(text)


def _user_cache() -> Path | None:
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA", "")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "gpen"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "gpen"
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        # The XDG specification says to ignore a relative one.
        return (Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache") / "gpen"
    except RuntimeError:
        return None

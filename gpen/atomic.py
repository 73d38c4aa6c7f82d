"""Atomic writes: files appear whole or not at all."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import GpenError, PhotoError

# The errors of file systems without fsync or hard links.
_UNSUPPORTED = {
    getattr(errno, name)
    for name in ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EPERM", "EACCES", "EMLINK")
    if hasattr(errno, name)
}


_TAG = re.compile(r"\.gpen-(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-")
_DAY = 86400.0  # seconds

_cleaned: set[Path] = set()
"""The folders that this process has removed other processes' temporary files from."""


def process_tag() -> str:
    """The prefix of this process's temporary files, different for every process on every machine."""
    return f".gpen-{_machine()}-{os.getpid()}-"


@functools.cache
def _machine() -> str:
    """Tells apart where a process number means one process: machines, and containers of one machine."""
    with suppress(OSError):
        return _digest(f"{platform.node()} {os.readlink('/proc/self/ns/pid')}")  # noqa: PTH115 - no file has that name
    return _digest(platform.node())


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8]


def remove_temporaries(folder: Path, tag: str) -> None:
    """Remove the temporary files that a killed process with this tag left in a folder.

    Raises ValueError if ``tag`` is not one of :func:`process_tag`: as a pattern it could match other files.
    """
    if not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is not the tag of a process")
    for left in folder.glob(f"{tag}*"):
        with suppress(OSError):
            left.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> None:
    """Remove the temporary files of dead processes from a folder, once in this process's life."""
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if _TAG.match(entry.name) and is_left_over(path, entry.name):
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def is_left_over(path: Path, name: str) -> bool:
    """Whether what a process made temporarily is of no use to anyone any more.

    name: begins with the :func:`process_tag` of the process that made it. That process is dead; of one elsewhere that
    cannot be known, but it has not touched the file for a day.
    """
    found = _TAG.match(name)
    if found is None:
        return False
    if found["machine"] == _machine() and os.name != "nt":
        return not _is_alive(int(found["process"]))
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > _DAY
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextmanager
def atomic_path(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, which is renamed to ``path`` if the block succeeds.

    The caller creates, writes and closes the temporary file. Its name starts with a dot, ends with the suffix of
    ``path`` and is unique. After any exception, KeyboardInterrupt included, it is removed and ``path`` is unchanged.

    With ``overwrite=False``, raises FileExistsError if ``path`` exists at the start, or appears before the end. Every
    other OSError (full disk, no permission, no such folder) passes through to the caller, who knows what was being
    written.
    """
    path = Path(path)
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    remove_left_over(path.parent)
    # Not derived from the name of ``path``, which may already be as long as the file system allows.
    temporary = path.with_name(f"{process_tag()}{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        with suppress(OSError):
            shutil.copymode(path, temporary)  # a private file stays private
        _sync(temporary)
        if overwrite:
            temporary.replace(path)
        else:
            _rename_new(temporary, path)
        _sync_folder(path.parent)
    finally:
        _remove(temporary)


def write_text(path: Path, text: str, what: str, error: type[GpenError] = PhotoError) -> None:
    """Write a text file, whole or not at all.

    what: names the file in the error, as in "The report". error: raised if it cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as failure:
        raise error(
            f"{what} {path} cannot be written: {failure.strerror or failure}. Check the folder and the disk."
        ) from failure


def write_json(path: Path, content: Any, what: str) -> None:
    """Write a JSON file; see :func:`write_text`."""
    write_text(path, json.dumps(content, indent=2) + "\n", what)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents unless they exist. Raises PhotoError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise PhotoError(
            f"The folder {folder} cannot be created: {failure.strerror or failure}. Choose another one."
        ) from failure


def _remove(path: Path) -> None:
    """Remove a file as far as possible, even if the user interrupts just here."""
    with suppress(OSError):
        try:
            path.unlink(missing_ok=True)
        except KeyboardInterrupt:
            path.unlink(missing_ok=True)
            raise


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename without overwriting. Raises FileExistsError.

    POSIX's rename overwrites, but a hard link does not; on Windows, rename does not either.
    """
    if os.name == "nt":
        temporary.rename(path)
        return
    try:
        os.link(temporary, path)
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno not in _UNSUPPORTED:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)


def _sync(path: Path) -> None:
    """Flush the content to disk before the rename: a crash must not leave the name without the content."""
    mode = path.stat().st_mode
    descriptor = os.open(path, (os.O_RDWR if mode & 0o200 else os.O_RDONLY) | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

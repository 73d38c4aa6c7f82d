"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import GpenError, PhotoError

# What file systems without fsync, or without hard links, answer.
_UNSUPPORTED = {
    getattr(errno, name)
    for name in ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EPERM", "EACCES", "EMLINK")
    if hasattr(errno, name)
}


_TAG = re.compile(r"\.gpen-[0-9a-f]{8}-[0-9]+-")


def process_tag() -> str:
    """What the names of this process's temporary files begin with; another process on any machine has another."""
    machine = hashlib.sha256(platform.node().encode(errors="replace")).hexdigest()[:8]
    return f".gpen-{machine}-{os.getpid()}-"


def remove_temporaries(folder: Path, tag: str) -> None:
    """Remove what a process that was killed, the one with this tag, left in a folder.

    ValueError where the tag is none: as a pattern it could stand for files of others.
    """
    if not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is not the tag of a process")
    for left in folder.glob(f"{tag}*"):
        with suppress(OSError):
            left.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``, which becomes ``path`` when the block ends without an error.

    The caller creates, writes and closes the temporary file. Its name starts with a dot, ends with the
    suffix of ``path`` and is used by nobody else. After any exception, KeyboardInterrupt included, it is
    removed and ``path`` is as it was.

    With ``overwrite=False`` a ``path`` that exists raises FileExistsError, at the start and again at the
    end if it appeared in between. Every other OSError (full disk, no permission, no such folder) passes
    through: the caller knows what was being written and says so.
    """
    path = Path(path)
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    # Not built from the target's name, which may already be as long as the file system allows.
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
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, what: str, error: type[GpenError] = PhotoError) -> None:
    """Write a text file, whole or not at all; ``error``, which names it ``what``, when that fails."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as failure:
        raise error(f"{what} {path} cannot be written: {failure.strerror or failure}.") from failure


def write_json(path: Path, content: Any, what: str) -> None:
    """Write JSON, as :func:`write_text` does."""
    write_text(path, json.dumps(content, indent=2) + "\n", what)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing; PhotoError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise PhotoError(f"The folder {folder} cannot be made: {failure.strerror or failure}.") from failure


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename, or FileExistsError. POSIX's rename overwrites, a hard link does not; on Windows neither."""
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
    """Put the bytes on the disk before the name: a crash must not leave a whole name and no content."""
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

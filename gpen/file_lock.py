"""A lock file, which one process or thread holds at a time."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
"""Errors of locking what another process has locked; Windows and network file systems have their own."""


class Holder(Enum):
    """Who holds a lock."""

    OURS = auto()
    """The block that asked for it."""
    ANOTHER = auto()
    """Another process or thread."""
    NOBODY = auto()
    """The folder cannot be written, or its file system has no locks."""


# The operating system drops these locks when their process dies, so none is ever stale. The lock file is removed as
# well; whoever opened it before that notices that it is no longer the file of that name.


@contextmanager
def file_lock(path: Path) -> Iterator[Holder]:
    """Hold the lock for the block, without waiting for it; yields who holds it.

    path: a file that is created, and removed at the end of the block that held it. The lock of a killed process is
    free.
    """
    held = _lock(path)
    if isinstance(held, Holder):
        yield held
        return
    try:
        yield Holder.OURS
    finally:
        _unlock(held, path)


def _lock(path: Path) -> int | Holder:
    for _ in range(10):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return Holder.NOBODY
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return descriptor
            else:  # noqa: RET505 - for type checkers, which follow the platform and not the return
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in _HELD:
                os.close(descriptor)
                return Holder.ANOTHER
            _unlock(descriptor, path)
            return Holder.NOBODY
        os.close(descriptor)
    return Holder.ANOTHER


def _unlock(descriptor: int, path: Path) -> None:
    # An open file cannot be removed on Windows; elsewhere it has to be removed while it is locked.
    if sys.platform == "win32":
        os.close(descriptor)
    with suppress(OSError):
        path.unlink()
    if sys.platform != "win32":
        os.close(descriptor)

"""The partial file of a download: kept between attempts, written by one process at a time."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from ..atomic import process_tag, remove_left_over
from ..file_lock import Holder, file_lock


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a part came from."""

    address: str
    """The address."""
    validator: str | None
    """The server's strong ETag or Last-Modified date, by which it can tell that its file is unchanged; None if it gave
    neither."""
    total: int | None
    """Bytes of the whole file; None if the server did not say."""


class Part:
    """The bytes downloaded so far, and a note beside them that says where they came from."""

    path: Path
    """The file with the bytes."""
    note: Path
    """The file with the note: an :class:`Origin` as JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = path.with_name(path.name + ".json")

    def size(self) -> int:
        """Bytes on disk; 0 without a part."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def origin(self) -> Origin | None:
        """Where the part came from; None if there is no valid note."""
        try:
            origin = Origin(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        valid = (
            isinstance(origin.address, str)
            and isinstance(origin.validator, str | None)
            and isinstance(origin.total, int | None)
        )
        return origin if valid else None

    def begin(self, origin: Origin) -> None:
        """Empty the part and note where the next bytes come from. Raises OSError."""
        self.note.unlink(missing_ok=True)
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps(asdict(origin)), encoding="utf-8")

    def append(self) -> FileIO:
        """Open the part for :func:`write`. Raises OSError."""
        # Unbuffered, so that a full disk shows when a chunk is written and not when the file is closed.
        return self.path.open("ab", buffering=0)

    def finish(self, target: Path) -> None:
        """Flush the bytes to the disk, then give them their final name. Raises OSError."""
        with self.path.open("rb+") as file:
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
                    raise
        self.path.replace(target)
        with suppress(OSError):
            self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the part and its note as far as possible."""
        for path in (self.note, self.path):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def write(file: FileIO, data: bytes) -> None:
    """Write all of ``data`` to an unbuffered file. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def claim(folder: Path, name: str) -> Iterator[Part]:
    """Yield the part ``<name>.part`` in ``folder``, locked until the block ends.

    While another process or thread has the lock, the part is a temporary one instead, removed at the end: both
    downloads succeed, and the slower one replaces equal bytes.
    """
    remove_left_over(folder)
    with file_lock(folder / f"{name}.part.lock") as holder:
        if holder is Holder.OURS:
            yield Part(folder / f"{name}.part")
            return
        own = Part(folder / f"{process_tag()}{secrets.token_hex(6)}.part")
        try:
            yield own
        finally:
            own.discard()


def tidy(folder: Path, name: str) -> None:
    """Remove what a download that was killed just after it had finished ``name`` left beside it."""
    if Part(folder / f"{name}.part").note.exists() or (folder / f"{name}.part.lock").exists():
        with claim(folder, name) as part:
            if not part.size():
                part.discard()

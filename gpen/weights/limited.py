"""Reads files that are known to be small, however large they are."""

from __future__ import annotations

from pathlib import Path

from ..errors import FilesError


def read_limited(path: Path, largest: int, what: str) -> bytes:
    """The content of a file, or of a larger one the first ``largest`` + 1 bytes; FilesError if it cannot be read.

    what: the beginning of the message, before the path, such as "The detector file "; may be empty.
    """
    try:
        with path.open("rb") as file:
            return file.read(largest + 1)
    except OSError as error:
        why = error.strerror or error
        raise FilesError(f"{what}{path} cannot be read: {why}. Check the file, or get it again.") from error

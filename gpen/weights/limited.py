"""Reads files of models within limits, and says that memory is too short for them."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import FilesError, OutOfMemoryError


def read_limited(path: Path, largest: int, what: str) -> bytes:
    """The content of a file, or of a larger one the first ``largest`` + 1 bytes.

    what: the beginning of the message, before the path, such as "The detector file "; may be empty. FilesError if it
    cannot be read, OutOfMemoryError if it does not fit into memory.
    """
    try:
        if path.exists() and not path.is_file():
            raise FilesError(f"{what}{path} is a folder, a device or a pipe, not a file.")
        with path.open("rb") as file:
            # Python takes the memory that is asked for at once, however small the file is.
            return file.read(min(largest, os.fstat(file.fileno()).st_size) + 1)
    except MemoryError as error:
        raise too_little_memory(path) from error
    except OSError as error:
        why = error.strerror or error
        raise FilesError(f"{what}{path} cannot be read: {why}. Check the file, or get it again.") from error


def too_little_memory(path: Path) -> OutOfMemoryError:
    """The error that a file does not fit into the computer's memory: nothing is wrong with the file."""
    return OutOfMemoryError(f"There is too little memory to load {path.name}. Close other programs, and try again.")

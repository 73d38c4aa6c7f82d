"""Errors for users: each says what was found, what was expected, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class GpenError(Exception):
    """Anything that a user can cause. Its text is shown to the user as it stands."""

    # ComfyUI shows an error's module to the user, and names our modules after the folder that holds them.
    __module__ = "gpen.errors"

    def __init_subclass__(cls) -> None:
        cls.__module__ = GpenError.__module__


class CheckpointError(GpenError):
    """A model file cannot be used: it is damaged, unsafe, or for another network."""


class PhotoError(GpenError):
    """A picture cannot be read or written."""


class SalvageableError(PhotoError):
    """A picture file is damaged; what is left of it can be read with ``salvage=True``."""


class FilesError(GpenError):
    """A model file is missing, cannot be read, or cannot be downloaded."""


class FaceError(GpenError):
    """Faces cannot be detected, selected, read from a file, or aligned."""


class OptionError(GpenError):
    """An option has an invalid value."""


class OutOfMemoryError(GpenError):
    """The device has too little memory, even with everything that saves memory."""


@contextmanager
def named(*paths: Path) -> Iterator[None]:
    """Name uploaded files in errors without the temporary folder that they are in."""
    try:
        yield
    except GpenError as error:
        text = str(error)
        for path in paths:
            text = text.replace(str(path), path.name)
        raise type(error)(text) from error

"""Errors for users: each says what was found, what was expected, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 2000
"""Characters of an error's text; of a longer one, a part in its middle is left out."""


class GpenError(Exception):
    """Anything that a user can cause. Its text is shown to the user as it stands.

    It may quote names out of files of strangers: letters that a terminal would obey are escaped, and it is shortened.
    """

    # ComfyUI shows an error's module to the user, and names our modules after the folder that holds them.
    __module__ = "gpen.errors"

    def __init_subclass__(cls) -> None:
        cls.__module__ = GpenError.__module__

    def __init__(self, text: str = "") -> None:
        super().__init__(presentable(text))


def presentable(text: str) -> str:
    """A text that may hold parts of a file, for a terminal: no control characters but line ends, and not too long."""
    text = _shortened(text)
    if text.isprintable():
        return text
    escaped = (letter.encode("unicode_escape").decode() for letter in text)
    safe = "".join(
        letter if letter.isprintable() or letter == "\n" else code for letter, code in zip(text, escaped, strict=True)
    )
    return _shortened(safe)  # ten characters may stand for one


def _shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    # Most say first what is wrong, and at the end what to do.
    return f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 3 :]}"


class CheckpointError(GpenError):
    """A model file cannot be used: it is damaged, unsafe, or for another network."""


class PhotoError(GpenError):
    """A picture cannot be read or written."""


class SalvageableError(PhotoError):
    """A picture file is damaged; what is left of it can be read with ``salvage=True``."""


class ChangedFilmError(PhotoError):
    """A film was read differently from when its faces were found: what is done of it does not fit it."""


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

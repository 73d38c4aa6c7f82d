"""PyAV, the binding of FFmpeg's libraries, which is imported where a film is read or written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import GpenError, PhotoError
from ..packages import optional_package
from ..wording import first_line, pip_install

_NEEDED = "18.1"
"""The first version of PyAV that writes rotations, chapters and attachments."""


@cache
def pyav() -> Any:
    """The module ``av``, with FFmpeg's own messages switched off. GpenError where it is missing or too old."""
    av = optional_package("av", "av", "video", "A film", only="reading and writing films")
    if not hasattr(av.VideoStream, "set_display_matrix"):
        raise GpenError(
            f"A film needs the Python package av {_NEEDED} or newer, and {av.__version__} is installed. Update it "
            f"with: {pip_install('video', '--upgrade ')}"
        )
    av.logging.set_level(None)
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 has a level of its own: errors
    return av


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """Open a film. PhotoError where it cannot be read."""
    av = pyav()
    try:
        film = av.open(str(path), metadata_errors="surrogateescape")
    except (OSError, ValueError) as error:
        raise PhotoError(f"{path} cannot be read as a film: {reason(error)}.") from error
    with film:
        yield film


def reason(error: BaseException) -> str:
    """What FFmpeg or the system says, without the path and the full stop."""
    text = getattr(error, "strerror", None) or first_line(error)
    return str(text).rstrip(".")

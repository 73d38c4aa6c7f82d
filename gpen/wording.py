"""Parts of messages for users."""

from __future__ import annotations

from pathlib import Path

_how_to_run = ["gpen", ""]


def count(number: int, noun: str) -> str:
    """A number with its noun, whose plural ends in s: "1 face", "3 faces"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def megabytes(number: int) -> str:
    """A number of bytes in MB: "0.2 MB", "284 MB"."""
    return f"{number / 1e6:.1f} MB" if number < 10e6 else f"{number / 1e6:,.0f} MB"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters; the name of its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def pip_install(extra: str, options: str = "") -> str:
    """What to type to install an extra of this package: quoted as every shell takes it; zsh needs the quotes.

    options: of pip, each followed by a space.
    """
    return f'pip install {options}"gpen-face-restore[{extra}]"'


def command(arguments: str) -> str:
    """What to type to run the command `gpen` with these arguments, in quotes; see :func:`set_command`."""
    program, where = _how_to_run
    return f'"{program} {arguments}"{where}'


def set_command(program: str, folder: Path) -> None:
    """Have messages name another program than "gpen", to be run in a folder: for hosts without that command."""
    _how_to_run[:] = [program, f" in the folder {folder}"]


def time_left(seconds: float) -> str:
    """A duration as people say it: "about 40 s left"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"

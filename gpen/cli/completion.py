"""`gpen completion`: what a shell needs to complete commands, options and models with the Tab key."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

from ..packages import optional_package

SHELLS = ("bash", "zsh", "fish", "powershell")
_ASKED = "_ARGCOMPLETE"  # the variable by which argcomplete's shell code asks a program for words


def run(arguments: argparse.Namespace) -> int:
    """Print the shell code; returns 0. GpenError without the package argcomplete."""
    print(_package().shellcode(["gpen"], shell=arguments.shell))
    return 0


def is_asked() -> bool:
    """Whether a shell asks for completions instead of running a command."""
    return _ASKED in os.environ


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and exit."""
    _package().autocomplete(parser)


def complete_with(action: argparse.Action, words: Callable[[], Sequence[str]]) -> None:
    """Let a shell complete the value of an argument with these words; where none fits, most shells offer files."""

    def completer(**_: object) -> Sequence[str]:
        return words()

    action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks for it


def published_names() -> list[str]:
    """The names of the catalogue."""
    from ..weights.catalog import PUBLISHED

    return [published.name for published in PUBLISHED]


def _package() -> Any:
    return optional_package("argcomplete", "argcomplete", "completion", "Completion", only="that")

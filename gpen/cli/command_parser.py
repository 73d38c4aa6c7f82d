"""The argument parser: short help and full help, and what was meant where something is misspelt."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

MISUSED = 2
"""Exit code for bad arguments."""

HELP_ALL = "--help-all"


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and whose help shows what most people need."""

    is_full = False
    """Whether its help shows all flags."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.commands: Mapping[str, CommandParser] = {}
        """The parsers of its commands."""

    def rare(self, help: str) -> str:
        """The help of a flag that few people need."""
        return help if self.is_full else argparse.SUPPRESS

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the arguments, and exit."""
        self.exit(MISUSED, f"gpen: {_sentence(message)} Try: {self.prog} --help\n")

    def check_known(self, unknown: Sequence[str]) -> None:
        """Print the first of the arguments that no flag stands for, with the flag that may be meant, and exit."""
        if not unknown:
            return
        word = unknown[0].partition("=")[0]
        if not word.startswith("-"):
            self.error(f"One argument too many: {word}.")
        flags = [flag for action in self._actions for flag in action.option_strings]
        self.error(f"There is no option {word}.{did_you_mean(word, flags)}")


class FullCommandParser(CommandParser):
    """A parser whose help, and that of its commands, shows all flags."""

    is_full = True


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence, after a space, that names the known word that is most like another one; empty if none is."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


def _sentence(message: str) -> str:
    """A message of argparse, which begins in lower case and has no full stop, or one of ours, which is a sentence."""
    # "argument --strength: Strength is '7'; it has ...": the second part says it all.
    own = message.partition(": ")[2] if message.startswith("argument ") else message
    message = own if own[:1].isupper() else message
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "?")) else ".")

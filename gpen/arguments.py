"""Flags of the command line: the product's options, and what checks the values of others."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from .errors import OptionError
from .options import OPTIONS, Option


def add_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add a flag for each of these options, in the groups of :mod:`gpen.options`."""
    groups: dict[str, Any] = {}
    for name in names:
        option = OPTIONS[name]
        group = groups.setdefault(option.group, parser.add_argument_group(option.group))
        flag = "--" + name.replace("_", "-")
        # Left out, an option is not in the namespace at all: its default is declared elsewhere.
        more: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(option), "dest": name}
        if option.kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **more)
        else:
            metavar = {int: "N", float: "X", str: "TEXT"}[option.kind]
            if option.choices:
                metavar = f"{{{','.join(option.choices)}}}"
            group.add_argument(flag, type=_value(option), metavar=metavar, **more)


def quality(text: str) -> int:
    """The quality of a lossy picture file, 1 to 100."""
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"The quality is {text!r}; it has to be a whole number from 1 to 100.")


def at_least_one(text: str) -> int:
    """A whole number above 0."""
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"It is {text!r}; it has to be a whole number from 1 on.")


def _value(option: Option) -> Callable[[str], object]:
    """What turns an argument into a value of the option, or says what is wrong in the option's own words."""

    def value(text: str) -> object:
        number: object = text
        if option.kind is not str:
            with contextlib.suppress(ValueError):
                number = option.kind(text)
        try:
            return option.check(number)
        except OptionError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


def _help(option: Option) -> str:
    span = "" if option.minimum is None else f"; {option.minimum:g} to {option.maximum:g}"
    default = {True: "yes", False: "no", "": "none"}.get(option.default, option.default)
    if option.kind is not bool and isinstance(option.default, int | float):
        default = f"{option.default:g}"
    return f"{option.help} (default: {default}{span})".replace("%", "%%")

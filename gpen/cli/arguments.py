"""Flags that several commands share, and the types that check their values."""

from __future__ import annotations

import argparse
import contextlib
import functools
import ipaddress
import itertools
import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..options import ALIGNED, OPTIONS, Option, Options, preset_values
from .command_parser import CommandParser, did_you_mean
from .completion import complete_with

_DEFAULT_COMMAND = "restore"


def add_options(parser: CommandParser, names: Sequence[str]) -> None:
    """Add a flag for each named option, in the groups of :mod:`gpen.options`."""
    groups: dict[str, Any] = {}
    for name in names:
        option = OPTIONS[name]
        group = groups.setdefault(option.group, parser.add_argument_group(option.group))
        flag = "--" + name.replace("_", "-")
        # A flag that is left out is not in the namespace at all: defaults are declared in gpen.options alone.
        help = parser.rare(_help(option)) if option.advanced else _help(option)
        more: dict[str, Any] = {"default": argparse.SUPPRESS, "help": help, "dest": name}
        if option.kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **more)
        else:
            metavar = {int: "N", float: "X", str: "TEXT"}[option.kind]
            if option.choices:
                metavar = f"{{{','.join(option.choices)}}}"
            if option.switch:
                off, on = option.switch
                group.add_argument(
                    f"--no{flag[1:]}", action="store_const", const=off, **more | {"help": argparse.SUPPRESS}
                )
                more |= {"nargs": "?", "const": on}
            action = group.add_argument(flag, type=_value(option), metavar=metavar, **more)
            if option.choices:
                complete_with(action, functools.partial(tuple, option.choices))


def with_command(arguments: Sequence[str], commands: Collection[str]) -> list[str]:
    """The arguments with the command restore, where only photos are given.

    OptionError where the first word is neither a command nor a photo.
    """
    words = [word for word in arguments if not word.startswith("-")]
    if not words or words[0] in commands:
        return list(arguments)
    # What follows an unknown flag may be its value; anything else has to be a photo.
    first = next(word for word in arguments if word not in ("-v", "--verbose"))
    if any(map(_may_be_photo, words if first.startswith("-") else words[:1])):
        return [_DEFAULT_COMMAND, *arguments]
    raise OptionError(
        f"{words[0]} is neither a command nor a photo.{did_you_mean(words[0], commands)} Try: gpen --help"
    )


def _may_be_photo(word: str) -> bool:
    return bool(re.search(r"[*?\[/\\]|\.[A-Za-z]\w*$", word)) or os.path.exists(word)  # noqa: PTH110 -- it never raises


def with_values(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, with the value that an option's flag stands for where none follows it.

    Options that used to be switches may be followed by a photo, which argparse would take for the value.
    """
    flags = {"--" + name.replace("_", "-"): option for name, option in OPTIONS.items() if option.switch}
    result: list[str] = []
    for argument, following in itertools.pairwise([*arguments, ""]):
        option = flags.get(argument)
        if option is not None and following not in option.choices and "--" not in result:
            argument = f"{argument}={option.switch[True]}"
        result.append(argument)
    return result


def options_from(arguments: argparse.Namespace) -> Options:
    """The options among the arguments, over those of a preset; OptionError for a bad value."""
    given = {name: getattr(arguments, name) for name in OPTIONS if hasattr(arguments, name)}
    preset = getattr(arguments, "preset", None)
    return Options(**(given if preset is None else preset_values(preset, given)))


def quality(text: str) -> int:
    """Argument type: the quality of a lossy picture file, 1 to 100."""
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"The quality is {text!r}; it has to be a whole number from 1 to 100.")


def rate_factor(text: str) -> float:
    """Argument type: a constant rate factor, 0 to 63."""
    with contextlib.suppress(ValueError):
        if 0 <= (number := float(text)) <= 63:
            return number
    raise argparse.ArgumentTypeError(f"The rate factor is {text!r}; it has to be a number from 0 to 63.")


def duration(text: str) -> float:
    """Argument type: a time such as 10s, 2m, 90 or 1:30, in seconds."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)(s|m)?", text)
    if match is not None and not (match[2] and match[4]):
        hours, minutes, number = (float(part or 0) for part in match.groups()[:3])
        seconds = hours * 3600 + minutes * 60 + number * (60 if match[4] == "m" else 1)
        if seconds > 0:
            return seconds
    raise argparse.ArgumentTypeError(f"The time is {text!r}; it has to be one such as 10s, 2m or 1:30.")


def port(text: str) -> int:
    """Argument type: a TCP port, 1 to 65535."""
    if text.isdecimal() and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"The port is {text!r}; it has to be a whole number from 1 to 65535.")


def host_name(text: str) -> str:
    """Argument type: the name or address of a computer without a port, in lower case."""
    if re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", text):
        return text.lower()
    raise argparse.ArgumentTypeError(
        f"The name is {text!r}; it has to be that of a computer, such as gpen.example.org, without http:// and a port."
    )


def ip_address(text: str) -> str:
    """Argument type: an IP address, without the brackets of web addresses."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"The address is {text!r}; it has to be an IP address of this computer, such as 192.168.1.5, or 0.0.0.0 "
            "for all of them."
        ) from None


def at_least_one(text: str) -> int:
    """Argument type: a whole number of at least 1."""
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"The value is {text!r}; it has to be a whole number, 1 or more.")


def add_background(parser: CommandParser) -> None:
    """Add the flag for an upscaler."""
    parser.add_argument(
        "--background-model",
        type=Path,
        metavar="FILE",
        help="image upscaler for the background, such as RealESRNet_x4plus.pth; the result has the upscaler's size, or "
        "that of --upscale if given",
    )


def add_aligned(parser: CommandParser) -> None:
    """Add the flag for aligned portraits."""
    parser.add_argument("--aligned", action="store_true", help=ALIGNED.help)


def add_salvage(parser: CommandParser) -> None:
    """Add the flag for damaged photos."""
    parser.add_argument(
        "--salvage",
        action="store_true",
        help=parser.rare(
            "read PNG, JPEG and TIFF files that are damaged or cut short as far as they go, with grey for the rest, "
            "and say how many rows are missing"
        ),
    )


def add_film(parser: CommandParser) -> None:
    """Add the flags for films."""
    group = parser.add_argument_group("films")
    group.add_argument(
        "--codec",
        metavar="NAME",
        help="h264, hevc, av1, ffv1 (without loss), prores, or one of FFmpeg's encoders, such as hevc_nvenc (default: "
        "h264, for more than 8 bits hevc, in .webm av1)",
    )
    group.add_argument(
        "--crf",
        type=rate_factor,
        metavar="X",
        help="constant rate factor, 0 to 63: the lower, the better and the larger (default: h264 17, hevc 18, av1 24)",
    )
    group.add_argument("--deinterlace", action="store_true", help="make whole frames of an interlaced film's fields")
    group.add_argument(
        "--preview",
        type=duration,
        metavar="TIME",
        help="work only on the beginning of a film, such as 10s or 1:30 (default name: FILM_preview)",
    )


def add_provenance(parser: CommandParser) -> None:
    """Add the flag for the note in results."""
    parser.add_argument(
        "--no-provenance",
        action="store_false",
        dest="provenance",
        help=parser.rare(
            "write no note into the XMP of results; without this it says that a trained network changed the photo, "
            "which one, with which options, and where; never a path or a person's name"
        ),
    )


def add_sign(parser: CommandParser) -> None:
    """Add the flag for Content Credentials."""
    parser.add_argument(
        "--sign",
        nargs=2,
        type=Path,
        metavar=("CERT", "KEY"),
        help=parser.rare(
            "sign results with Content Credentials (C2PA): PEM files of a certificate, with those that lead to its "
            "root, and of its private key. Needs the package c2pa-python"
        ),
    )


def add_models_path(parser: CommandParser) -> None:
    """Add the flag for folders with models."""
    parser.add_argument(
        "--models-path",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder to search for models first; may be given several times",
    )


def add_device(parser: CommandParser) -> None:
    """Add the flag for the device."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu (default: auto)")


def add_engine(parser: CommandParser) -> None:
    """Add the flags for a cluster."""
    group = parser.add_argument_group("many machines")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help=parser.rare(
            "local: this process. ray: the Ray cluster at RAY_ADDRESS, or one on this machine; all its machines have "
            "to see photos, models and results under the same paths (default: local)"
        ),
    )
    group.add_argument(
        "--workers",
        type=at_least_one,
        metavar="N",
        help=parser.rare(
            "number of workers with --engine ray, each with its own network (default: one per GPU, else what the CPUs "
            "allow)"
        ),
    )
    group.add_argument(
        "--cpus-per-worker",
        type=at_least_one,
        metavar="N",
        help=parser.rare("CPUs per worker with --engine ray (default: 4, or what the smallest machine has)"),
    )


def _value(option: Option) -> Callable[[str], object]:
    """The argument type for an option, with the option's own error messages."""

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
    if option.default_words:
        default = option.default_words
    elif option.kind is not bool and isinstance(option.default, int | float):
        default = f"{option.default:g}"
    alone = f"; without a value: {option.switch[True]}" if option.switch else ""
    return f"{option.help} (default: {default}{alone}{span})".replace("%", "%%")

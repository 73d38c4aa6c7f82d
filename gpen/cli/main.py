"""The command line: runs the module of the command that was given."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence

from ..errors import GpenError, OptionError
from .parser import make_parser

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``gpen`` with these arguments (those of the process by default) and return its exit code.

    0: all went well. 1: something failed, which was said. 2: the arguments are wrong. 130: interrupted.
    """
    _print_anything()
    arguments = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="gpen: %(message)s")
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except OptionError as error:
        print(f"gpen: {error}", file=sys.stderr)
        return MISUSED
    except GpenError as error:
        print(f"gpen: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Whoever reads our output has seen enough, as in: gpen models | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("gpen: stopped; what is finished stays.", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    # Only now: gpen --help needs neither PyTorch nor OpenCV.
    module = importlib.import_module(f".{arguments.module}", __package__)
    code: int = module.run(arguments)
    return code


def _print_anything() -> None:
    """Print what the terminal's encoding lacks, such as a file's name that is not text, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

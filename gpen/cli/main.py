"""The entry point: parses the arguments and runs the module of the command."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from ..errors import GpenError, OptionError
from ..threads import let_threads_sleep
from .arguments import with_values
from .parser import make_parser

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``gpen`` with these arguments, by default those of the process, and return the exit code.

    0: success. 1: something failed, and was reported. 2: bad arguments. 130: interrupted.
    """
    _escape_unprintable()
    arguments = make_parser().parse_args(with_values(sys.argv[1:] if argv is None else argv))
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="gpen: %(message)s")
    # What is wrong with a picture is said in our own words, or does not matter.
    warnings.filterwarnings("ignore", module=r"PIL\.")
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
        # The reader closed the pipe, as in: gpen models | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("gpen: Interrupted; finished results stay.", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    let_threads_sleep()
    # Imported late: gpen --help needs neither PyTorch nor OpenCV.
    module = importlib.import_module(f".{arguments.module}", __package__)
    code: int = module.run(arguments)
    return code


def _escape_unprintable() -> None:
    """Print characters that the terminal's encoding lacks, or file names that are not text, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

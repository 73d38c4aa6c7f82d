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
from . import completion
from .arguments import with_command, with_values
from .command_parser import HELP_ALL, MISUSED
from .parser import make_parser

FAILED, INTERRUPTED = 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``gpen`` with these arguments, by default those of the process, and return the exit code.

    0: success. 1: something failed, and was reported. 2: bad arguments. 130: interrupted.
    """
    _escape_unprintable()
    try:
        if completion.is_asked():
            completion.complete(make_parser(full=True))
        arguments = _parsed(sys.argv[1:] if argv is None else argv)
        code = 0 if arguments is None else _run(arguments)
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
    except Exception as error:
        from ..device import is_out_of_memory

        if isinstance(error, OSError) and error.filename and error.strerror:
            # Of a name that is too long, or in a folder that is closed to the user, any question about it.
            print(f"gpen: {error.filename} cannot be used: {error.strerror}.", file=sys.stderr)
            return FAILED
        if not is_out_of_memory(error):
            raise
        print("gpen: There is not enough memory. Close other programs; finished results stay.", file=sys.stderr)
        return FAILED


def _parsed(argv: Sequence[str]) -> argparse.Namespace | None:
    """The arguments of a command; None where the help or the version was asked for."""
    full = HELP_ALL in argv
    parser = make_parser(full=full)
    words = ["--help" if word == HELP_ALL else word for word in with_values(with_command(argv, parser.commands))]
    arguments, unknown = parser.parse_known_args(words)
    if arguments.version:
        from .. import __version__

        print(f"gpen {__version__}")
        return None
    if arguments.command is None:
        parser.check_known(unknown)
        parser.print_help()
        return None
    parser.commands[arguments.command].check_known(unknown)
    return arguments


def _run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="gpen: %(message)s")
    # What is wrong with a picture is said in our own words, or does not matter.
    warnings.filterwarnings("ignore", module=r"PIL\.")
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

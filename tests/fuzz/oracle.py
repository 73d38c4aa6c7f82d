"""What has to hold for every input: it is taken, or refused by an error for people; nothing else happens."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gpen.errors import LONGEST, GpenError, OutOfMemoryError

MEMORY = 2 << 30
"""Bytes that the process may have."""
SECONDS = 10
"""Of processor time, for one input."""

_STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")
_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "shutil.rmtree", "os.truncate")
_FOLDERS = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1}
"""Which argument is the open folder that a path is below; -1 for none."""
_own_script = f"{os.sep}run_once.py"


class EscapeError(Exception):
    """An input did what none may do."""


class Oracle:
    """Watches a process. folder: the only one that may be written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._watching = False
        self._seen: list[str] = []
        sys.addaudithook(self._audit)

    def check(self, call: Callable[[], object]) -> str:
        """Run a call, and return the name of the error that it raised, or "". EscapeError if it did what none may."""
        self._seen.clear()
        try:
            with self._watched():
                call()
        except GpenError as error:
            refusal = error
        except BaseException as error:
            raise EscapeError("".join(traceback.format_exception(error)[-12:])) from error
        else:
            refusal = None
        if self._seen:
            raise EscapeError(f"did {self._seen[:5]}")
        if refusal is None:
            return ""
        text = str(refusal)
        if len(text) > LONGEST or not text.strip() or not text.replace("\n", "").isprintable():
            raise EscapeError(f"is refused by a text of {len(text)} characters: {text[:300]!r}")
        if isinstance(refusal, OutOfMemoryError):
            raise EscapeError(f"takes all memory: {text}")
        return type(refusal).__name__

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        # The signal ends the process, also one that is in a library's endless loop.
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        self._watching = True
        try:
            yield
        finally:
            self._watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes and isinstance(path, str | bytes | os.PathLike) and self._is_outside(path):
                self._seen.append(f"open {path!r} for writing")
        is_start = event in _STARTS and not self._is_own(event, arguments)
        if is_start or (event in _CHANGES and self._is_outside(_whole_path(event, arguments))):
            self._seen.append(f"{event} {arguments[:2]!r}")

    def _is_outside(self, path: Any) -> bool:
        where = os.path.realpath(os.fsdecode(path))
        return where != os.devnull and not where.startswith(self._folder + os.sep)

    @staticmethod
    def _is_own(event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether it is the process with limits that an ONNX file is given to."""
        command = arguments[1] if event == "subprocess.Popen" else ()
        return len(command) == 2 and str(command[1]).endswith(_own_script)


def _whole_path(event: str, arguments: tuple[Any, ...]) -> Any:
    """The path that an event changes."""
    folder = arguments[_FOLDERS[event]] if event in _FOLDERS else -1
    if folder == -1:
        return arguments[0]
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(arguments[0]))  # noqa: PTH115, PTH118

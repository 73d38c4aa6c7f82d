"""Commands in children, to which something is done at a chosen moment.

One process imports PyTorch and forks for each command, so that a child starts in a tenth of a second. Moments are
counted in what the command does to files below one folder, as Python's audit events tell, and not in seconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_EVENTS = {
    "open",
    "os.rename",
    "os.remove",
    "os.link",
    "os.mkdir",
    "os.chmod",
    "os.listdir",
    "os.scandir",
    "shutil.copyfile",
}
_CAPABILITIES = 1 << 1 | 1 << 2  # to write and to read where permissions forbid it


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to a command."""

    at: int | None = None
    """The number of the event at which it happens, from 0; None for never, or for ``path``."""
    path: str = ""
    """The end of a path that is opened when it happens, the first time."""
    do: str = ""
    """The name of a signal, or "remove" or "replace" for the file of ``path``."""
    memory: int | None = None
    """Bytes of address space beyond what the process has at the start; None for no limit."""
    file_size: int | None = None
    """The most bytes of a file; None for no limit."""
    obeys_permissions: bool = False
    """Whether permissions hold for the administrator too."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Addresses in the catalogue, by the published name."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code, or minus the number of the signal that killed it."""
    out: str
    err: str
    events: int
    """How many events it got to; 0 if it was killed."""


class Children:
    """Starts children, one or several at a time. folder: that of the test, in which events count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(folder)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: object, fault: Fault | None = None) -> int:
        """Start a command; the number of its process."""
        self._number += 1
        told = {"arguments": [str(argument) for argument in arguments], "fault": asdict(fault or Fault())}
        return int(self._ask({"start": told, "number": self._number}))

    def wait(self, process: int) -> Ended:
        """Wait for the end of a command."""
        return Ended(**self._ask({"wait": process}))

    def run(self, *arguments: object, fault: Fault | None = None) -> Ended:
        """Run a command to its end."""
        return self.wait(self.start(*arguments, fault=fault))

    def close(self) -> None:
        """End the process that forks."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks has died"
        return json.loads(answer)


def _serve(folder: Path) -> None:
    """Fork for each question on stdin."""
    import torch  # noqa: F401

    from gpen.cli import convert, detect, download, main, task  # noqa: F401
    from gpen.images import read_picture  # noqa: F401

    logs: dict[int, Path] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if "start" in question:
            log = folder / f"child-{question['number']}"
            process = os.fork()
            if process == 0:
                _run(question["start"], log, str(folder))
            logs[process] = log
            answer: Any = process
        else:
            process = question["wait"]
            _, status = os.waitpid(process, 0)
            log = logs.pop(process)
            out, err, events = (Path(f"{log}.{name}") for name in ("out", "err", "events"))
            answer = {
                "code": os.waitstatus_to_exitcode(status),
                "out": out.read_text(errors="replace"),
                "err": err.read_text(errors="replace"),
                "events": int(events.read_text()) if events.exists() else 0,
            }
        print(json.dumps(answer), flush=True)


def _run(told: dict[str, Any], log: Path, folder: str) -> None:
    """The child."""
    from gpen.cli import main
    from gpen.weights.catalog import find_published

    code = 70
    try:
        fault = Fault(**told["fault"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name, address in fault.addresses.items():
            vars(find_published(name))["addresses"] = (address,)
        count = _watch(fault, folder, str(log))
        _limit(fault)
        try:
            code = main(told["arguments"])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        events, count[0] = count[0], -(10**9)
        Path(f"{log}.events").write_text(str(events))
    except BaseException:  # a child must never go on in its parent's code
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(fault: Fault, folder: str, log: str) -> list[int]:
    """Have the fault happen; returns the number of events so far."""
    count, happened = [0], [False]

    def happens(path: str) -> None:
        happened[0] = True
        if fault.do == "remove":
            Path(path).unlink()
        elif fault.do == "replace":
            Path(f"{path}.other").replace(path)
        else:
            os.kill(os.getpid(), signal.Signals[fault.do])

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or happened[0]:
            return
        path = os.fsdecode(arguments[0]) if arguments and isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
        if not path.startswith(folder) or path.startswith(log):
            return
        if count[0] == fault.at or (fault.path and event == "open" and path.endswith(fault.path)):
            happens(path)
        count[0] += 1

    sys.addaudithook(hook)
    return count


def _limit(fault: Fault) -> None:
    if fault.memory is not None:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + fault.memory, held + fault.memory))
    if fault.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.file_size, fault.file_size))
    if fault.obeys_permissions:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, of the first 32 and the others
        if libc.capget(header, sets) == 0:
            sets[0] &= ~_CAPABILITIES
            sets[1] &= ~_CAPABILITIES
            if libc.capset(header, sets) != 0:
                raise OSError(ctypes.get_errno(), "the capabilities cannot be given up")


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

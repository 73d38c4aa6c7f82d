"""Runs an ONNX model of a stranger once, in a process with limits of time and memory, and tells what came of it.

Neither ONNX Runtime nor OpenCV is made for files of strangers: a few bytes make them take all memory, never end, or
end the process. Where the system has no limit of memory for a process, as on Windows, only the time is limited.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...wording import first_line

SECONDS = 600
_SCRIPT = Path(__file__).with_name("run_once.py")


class RunError(Exception):
    """The model did not return an array; the text says why, as the end of a sentence about it."""


class NoProcessError(Exception):
    """No process can be started here; the text says why."""


def run_once(
    model: bytes,
    picture: NDArray[np.float32],
    *,
    engine: str = "onnxruntime",
    output: str | None = None,
    memory: int = 4 << 30,
) -> NDArray[np.float32]:
    """What a model returns for a picture: the value ``output``, or its first one.

    picture: as the model takes it; converted to float16 if it takes that. engine: "onnxruntime" or "opencv". memory:
    the most bytes that the process may take.

    RunError if the model fails, crashes, or exceeds :data:`SECONDS` or the memory; NoProcessError where no process can
    be started.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise NoProcessError("this program cannot start Python")
    limits = {"memory": memory, "seconds": SECONDS}
    head = {"path": sys.path, "engine": engine, "output": output, "shape": picture.shape} | limits
    given = b"".join((json.dumps(head).encode(), b"\n", picture.astype(np.float32).tobytes(), model))
    flags: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows, where a console would flash up
    try:
        run = subprocess.run(
            [sys.executable, str(_SCRIPT)],
            input=given,
            capture_output=True,
            timeout=SECONDS,
            creationflags=flags,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"it did not end within {SECONDS} seconds") from None
    except OSError as error:
        raise NoProcessError(f"a process cannot be started ({first_line(error)})") from error
    if run.returncode:
        raise RunError(_why(run.returncode, run.stderr.decode(errors="replace")))
    try:
        return np.asarray(np.load(io.BytesIO(run.stdout), allow_pickle=False), np.float32)
    except (ValueError, EOFError, OSError) as error:
        raise RunError("it returned nothing that can be read") from error


def _why(code: int, said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    if code == 1 and lines:
        kind, _, text = lines[-1].partition(": ")
        if "alloc" in text.lower() or kind == "MemoryError":
            return "it takes too much memory"
        return text or kind
    return f"it crashed with the code {code}"

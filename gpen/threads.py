"""How the threads of numerical libraries wait, in processes that are ours: commands, the page, Ray's workers.

PyTorch's and NumPy's threads spin for milliseconds after every piece of work, in case the next one comes. On an idle
machine that saves microseconds. But where several libraries take turns, or another program uses the same cores, threads
that spin take the time of those that work. In a host's process the choice is the host's.
"""

from __future__ import annotations

import os

_VARIABLES = {
    # PyTorch's OpenMP runtime, GNU's, LLVM's or Intel's: threads sleep as soon as they wait.
    "OMP_WAIT_POLICY": "passive",
    # NumPy's BLAS does nothing here that is worth a second thread, and its threads spin the longest.
    "OPENBLAS_NUM_THREADS": "1",
}


def sleeping_threads() -> dict[str, str]:
    """The environment variables with which threads sleep while they wait; those that the user has set stay as they are.

    Each is read by its library when that is loaded.
    """
    return {name: os.environ.get(name, value) for name, value in _VARIABLES.items()}


def let_threads_sleep() -> None:
    """Set :func:`sleeping_threads` for this process and those that it starts.

    To be called before NumPy and PyTorch are imported; afterwards it has no effect on this process.
    """
    os.environ.update(sleeping_threads())

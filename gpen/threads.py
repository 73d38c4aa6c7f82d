"""How the threads of numerical libraries wait, in processes that are ours: commands, the page, Ray's workers.

PyTorch, NumPy's BLAS and OpenCV each have threads that spin for milliseconds after every piece of work, in case the next
one comes. On an idle machine that saves microseconds. But where several libraries take turns, or another program uses
the same cores, what spins keeps those waiting that have work to do. In a host's process the choice is the host's.
"""

from __future__ import annotations

import os

SLEEPING_THREADS = {
    # PyTorch's OpenMP runtime, GNU's, LLVM's or Intel's: threads sleep as soon as they wait.
    "OMP_WAIT_POLICY": "passive",
    # NumPy's BLAS does nothing here that is worth a second thread, and its threads spin the longest.
    "OPENBLAS_NUM_THREADS": "1",
}
"""Environment variables, read by each library when it is loaded."""


def let_threads_sleep() -> None:
    """Set :data:`SLEEPING_THREADS` for this process and those it starts, except what the user has set.

    To be called before NumPy and PyTorch are imported; afterwards it has no effect on this process.
    """
    for name, value in SLEEPING_THREADS.items():
        os.environ.setdefault(name, value)

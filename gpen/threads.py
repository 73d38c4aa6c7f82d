"""How the threads of numerical libraries wait, in processes that are ours: commands, the page, Ray's workers.

PyTorch's and NumPy's threads spin for milliseconds after every piece of work, in case the next one comes. Where several
libraries take turns, or another program uses the same cores, threads that spin take the time of those that work. Asleep
at once, they would have to be woken for each of many short operations. So they spin for as long as a pause between two
operations of a network lasts, and sleep after that. In a host's process the choice is the host's.
"""

from __future__ import annotations

import os

_POLICY = "OMP_WAIT_POLICY"
_SPINNING = {
    "GOMP_SPINCOUNT": "10000",  # GNU's OpenMP, PyTorch's on Linux: about half a millisecond, instead of 15
    "KMP_BLOCKTIME": "1",  # LLVM's and Intel's, PyTorch's elsewhere: milliseconds, instead of 200
}
# NumPy's BLAS has nothing to do here that is worth a second thread, and its threads spin the longest.
_ALONE = {"OPENBLAS_NUM_THREADS": "1"}


def thread_variables() -> dict[str, str]:
    """The environment variables that make threads sleep soon, each with the user's own value if there is one.

    Libraries read them when they are loaded. Where the user has set OMP_WAIT_POLICY, that decides instead.
    """
    spinning = {_POLICY: os.environ[_POLICY]} if _POLICY in os.environ else _SPINNING
    return {name: os.environ.get(name, value) for name, value in (spinning | _ALONE).items()}


def let_threads_sleep() -> None:
    """Set :func:`thread_variables` for this process and those that it starts.

    To be called before NumPy and PyTorch are imported; afterwards it has no effect on this process.
    """
    os.environ.update(thread_variables())

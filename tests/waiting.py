"""Ends what would wait for ever."""

from __future__ import annotations

import signal

import pytest


def end_of_waiting(request: pytest.FixtureRequest, seconds: int) -> None:
    """Fail the test after some seconds, even in a call of the system; only where there is SIGALRM."""

    def waited(*_: object) -> None:
        # Not TimeoutError: it is an OSError, which means to many that a file cannot be read.
        pytest.fail(f"It still waits after {seconds} seconds.")

    before = signal.signal(signal.SIGALRM, waited)
    request.addfinalizer(lambda: (signal.alarm(0), signal.signal(signal.SIGALRM, before)))
    signal.alarm(seconds)

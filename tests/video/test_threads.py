"""Reading ahead, and handing over what is done."""

from __future__ import annotations

import threading
import time

import pytest

from gpen.errors import PhotoError
from gpen.video.threads import Sink, read_ahead


def test_reading_ahead():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    with read_ahead(items(), 3) as taken:
        assert next(taken) == 0
        time.sleep(0.3)
        assert len(made) <= 6
    # Whoever stops does not wait until the rest is read.
    assert len(made) <= 7
    with read_ahead(iter([1, 2]), 5) as taken:
        assert list(taken) == [1, 2]

    def fails():
        yield 1
        raise PhotoError("no")

    with read_ahead(fails(), 5) as taken:
        assert next(taken) == 1
        with pytest.raises(PhotoError, match="no"):
            next(taken)


def test_a_sink_raises_what_its_function_raises():
    done = []
    sink = Sink(done.append, 2)
    for number in range(20):
        sink.put(number)
    sink.close()
    assert done == list(range(20))

    def fails(number):
        raise PhotoError("disk full")

    sink = Sink(fails, 1)
    sink.put(1)
    with pytest.raises(PhotoError, match="disk full"):
        sink.close()
    with pytest.raises(PhotoError, match="disk full"):
        sink.put(2)


def test_a_stopped_sink_takes_nothing_more():
    done, begun, go_on = [], threading.Event(), threading.Event()

    def take(number):
        begun.set()
        assert go_on.wait(10)
        done.append(number)

    sink = Sink(take, 5)
    for number in range(4):
        sink.put(number)
    assert begun.wait(10)
    stopping = threading.Thread(target=sink.stop)
    stopping.start()
    time.sleep(0.1)
    go_on.set()
    stopping.join(10)
    assert done == [0]

"""Copies in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gpen.images import copying
from gpen.images.copying import PictureCopy
from gpen.images.picture import FloatImage


def large(channels: int = 3) -> FloatImage:
    return np.random.default_rng(1).random((1501, 1100, channels), np.float32)


@pytest.mark.parametrize("threads", [1, 3, 64])
@pytest.mark.parametrize(
    "make",
    [
        large,
        lambda: large()[::-1, ::-1],
        lambda: large(4)[..., :3],
        lambda: large().transpose(1, 0, 2),
        lambda: large()[:9, :7],
        lambda: large()[:1],
        lambda: np.broadcast_to(np.float32([0.1, 0.2, 0.3]), (1501, 1100, 3)),
    ],
    ids=["as it is", "turned by 180 degrees", "without its alpha", "turned by 90", "small", "one row", "one colour"],
)
def test_a_copy_is_the_picture(make: Callable[[], FloatImage], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    picture = make()
    copy = PictureCopy(picture)
    copy.wait()
    assert np.array_equal(copy.picture, picture)
    assert copy.picture.flags.c_contiguous
    assert copy.picture.flags.writeable
    assert not np.shares_memory(copy.picture, picture)


def test_the_caller_does_not_wait_for_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    may_copy = threading.Event()
    copyto = np.copyto

    def later(*arguments: Any) -> None:
        assert may_copy.wait(60)
        copyto(*arguments)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(copying.np, "copyto", later)
    picture = large()
    copy = PictureCopy(picture)
    may_copy.set()
    copy.wait()
    assert np.array_equal(copy.picture, picture)

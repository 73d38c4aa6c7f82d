"""Arrays that the host computes, brought to a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.kernels import count
from gpen.images.uploads import uploaded, uploaded_together
from tests import pretended

ARRAYS = (
    np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)[:, ::2],
    np.array([0, 1, -1, 2**31 - 1, -(2**31), 0x7F800001], np.int32),
    np.zeros((0, 3), np.float32),
    np.array([np.nan, np.inf, 1e-45], np.float32).reshape(1, 3, 1),
)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_every_bit_arrives(device: str) -> None:
    for array, there in zip(ARRAYS, uploaded_together(ARRAYS, torch.device(device)), strict=True):
        assert there.device.type == device
        back = there.cpu().numpy()
        assert (back.shape, back.dtype) == (array.shape, array.dtype)
        assert back.tobytes() == array.tobytes()


@pytest.mark.cuda
def test_what_is_uploaded_while_the_device_is_busy_is_what_was_given() -> None:
    busy = torch.rand(4096, 4096, device="cuda")
    given = [np.full(1000, number, np.float32) for number in range(50)]
    for _ in range(20):
        busy = busy @ busy
    for number, there in enumerate([uploaded(one, torch.device("cuda")) for one in given]):
        assert bool((there == number).all())


def test_where_no_memory_can_be_pinned_the_device_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    with pretended.cuda():
        monkeypatch.setattr(torch, "empty", refuse)
        there = uploaded(ARRAYS[1], torch.device("cuda"))
    assert (there.device.type, there.dtype, len(there)) == ("cuda", torch.int32, len(ARRAYS[1]))


def test_several_take_one_copy_that_does_not_wait() -> None:
    with pretended.cuda(), pretended.stays_on_the_device():
        counted = count(lambda: uploaded_together(ARRAYS, torch.device("cuda")))
    assert [one.name for one in counted.operations] == ["aten::copy_", "aten::_to_copy"]

"""The memory estimate of the network."""

from __future__ import annotations

import itertools

import torch

from gpen.network.memory import CPU_STRIP_BYTES, GPU_STRIP_BYTES, memory_estimate
from gpen.network.spec import Spec


def test_the_estimate_grows_with_the_picture():
    estimates = [memory_estimate(Spec(size, size), torch.float32) for size in (256, 512, 1024, 2048)]
    for smaller, larger in itertools.pairwise(estimates):
        assert 1.1 < larger / smaller < 4.5
    assert 100e6 < estimates[1] < 2e9


def test_the_estimate_falls_with_the_precision():
    spec = Spec(2048, 2048)
    full, half = (memory_estimate(spec, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half == memory_estimate(spec, torch.float16)
    assert 0.5 <= half / full < 0.9


def test_small_strips_take_less_memory_and_fit_a_card_of_4_gigabytes():
    whole, strips = (
        memory_estimate(Spec(2048, 2048), torch.float32, strip_bytes=size)
        for size in (GPU_STRIP_BYTES, CPU_STRIP_BYTES)
    )
    assert strips < 0.6 * whole
    assert strips + 71_294_769 * 4 < 2e9


def test_the_estimate_grows_with_the_batch():
    spec = Spec(512, 512)
    one, two, three = (memory_estimate(spec, torch.float32, batch) for batch in (1, 2, 3))
    assert three > two > one

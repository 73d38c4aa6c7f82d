"""Counting kernels, bytes and FLOPs on a pretended device."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.kernels import Count, Limits, Operation, count, main, network_count, pretended_device

MB = 1 << 20


def operation(call):
    """The one operation of a call on two maps of 1 MB in float16 on a pretended CUDA device."""
    with pretended_device():
        x = torch.empty(2, 1, 8, 256, 256, dtype=torch.float16, device="cuda")
        counted = count(lambda: call(*x))
    (one,) = counted.operations
    return one


def test_an_operation_touches_what_it_reads_and_writes():
    one = operation(lambda x, y: x + y)
    assert (one.name, one.bytes, one.moved, one.flop, one.dtype) == ("aten::add", 3 * MB, 3 * MB, 0, torch.float16)


def test_what_is_updated_in_place_is_touched_once_and_moved_twice():
    one = operation(lambda x, y: x.add_(y))
    assert (one.bytes, one.moved) == (2 * MB, 3 * MB)


@pytest.mark.parametrize("call", [lambda x, y: x.copy_(y), lambda x, y: torch.mul(y, 2, out=x)])
def test_what_is_overwritten_is_not_read(call):
    one = operation(call)
    assert (one.bytes, one.moved) == (2 * MB, 2 * MB)


def test_what_is_expanded_exists_once():
    one = operation(lambda x, y: x.copy_(y[:, :, :1].expand_as(y)))
    assert one.bytes == MB + MB // 256


def test_views_and_allocations_are_no_kernels():
    with pretended_device():
        x = torch.empty(4, 8, device="cuda")
        assert count(lambda: torch.empty_like(x).view(8, 4)[1:].T.unsqueeze(0)) == Count(())


@pytest.mark.parametrize(("stride", "flop"), [(1, 2 * 9 * 8 * 16 * 256**2), (2, 2 * 9 * 8 * 16 * 128**2)])
def test_a_convolution_counts_its_products(stride, flop):
    weight_bytes = 16 * 8 * 9 * 2

    def convolution(x, y):
        weight = torch.empty(16, 8, 3, 3, dtype=x.dtype, device="cuda")
        return F.conv2d(x, weight, stride=stride, padding=1)

    one = operation(convolution)
    assert one.flop == flop
    assert one.bytes == MB + weight_bytes + 2 * MB // stride**2


def test_products_written_in_place_count_like_others():
    with pretended_device():
        x, y, out = (torch.empty(2, 4, 4, device="cuda") for _ in range(3))
        written = count(lambda: out.baddbmm_(x, y)).flop
        assert written == count(lambda: torch.bmm(x, y)).flop == 2 * 2 * 4**3


def test_the_roofline_is_bytes_or_products_of_each_kernel():
    limits = Limits(bandwidth=1.0, half_peak=10.0, float32_peak=2.0, launch=0.5)
    kernels = (
        Operation("bound by bytes", 3, 3, 10, torch.float16),
        Operation("bound by products", 3, 3, 40, torch.float16),
        Operation("in float32", 3, 3, 40, torch.float32),
    )
    counted = Count(kernels)
    assert counted.roofline(limits) == 3 + 4 + 20
    assert counted.launches(limits) == 1.5


def test_mixing_devices_raises():
    with pretended_device():
        x, y = torch.empty(4, device="cuda"), torch.empty(4)
        with pytest.raises(RuntimeError, match="device"):
            count(lambda: x + y)


def test_the_network_has_the_work_of_its_convolutions():
    counted = network_count(256, torch.float16)
    assert 17e9 < counted.flop < 18e9
    assert counted.moved > counted.bytes > 0


def test_operations_are_listed(capsys):
    main(["--operations", "256"])
    assert "aten::convolution" in capsys.readouterr().out

"""What a call costs on a GPU, and that it stays there: counted on a pretended CUDA device, exactly, without one."""

from __future__ import annotations

import pytest
import torch

from bench.kernels import network_count, pretended_device, pretended_network

# Kernels and MB of one face in float16. A change that lowers them lowers these limits.
LIMITS = {256: (163, 257), 512: (181, 1745), 1024: (202, 3315), 2048: (222, 5960)}
# The same in float32.
FLOAT32_LIMITS = {256: (159, 478), 512: (177, 3403), 1024: (198, 6541), 2048: (233, 12913)}


@pytest.mark.parametrize("size", LIMITS)
@pytest.mark.parametrize(("dtype", "limits"), [(torch.float16, LIMITS), (torch.float32, FLOAT32_LIMITS)])
def test_kernels_and_bytes(size: int, dtype: torch.dtype, limits: dict[int, tuple[int, int]]) -> None:
    kernels, megabytes = limits[size]
    counted = network_count(size, dtype)
    assert counted.kernels <= kernels
    assert counted.bytes <= megabytes * 1e6


def test_a_batch_takes_hardly_more_kernels_than_a_face() -> None:
    one, four = network_count(512, torch.float16), network_count(512, torch.float16, batch=4)
    assert four.kernels <= one.kernels + 5
    assert four.bytes < 5 * one.bytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", LIMITS)
@pytest.mark.parametrize("strip_bytes", [None, 16 << 20])
@pytest.mark.parametrize("batch", [1, 2])
def test_every_tensor_stays_on_the_device(size: int, dtype: torch.dtype, strip_bytes: int | None, batch: int) -> None:
    """Mixing devices and asking a tensor for its values raise on a pretended device."""
    with pretended_device():
        network = pretended_network(size, dtype)
        network.strip_bytes = strip_bytes
        out = network.forward_together(torch.empty((batch, 3, size, size), dtype=dtype, device="cuda"))
        assert (out.device.type, out.dtype, out.shape) == ("cuda", dtype, (batch, 3, size, size))
        assert {tensor.device.type for tensor in network.derived()} == {"cuda"}


def test_what_is_derived_from_the_weights_takes_little_beside_them() -> None:
    """In float16 the styles' weights are copied to float32; weights of convolutions, of which most consist, are not."""
    with pretended_device():
        network = pretended_network(2048, torch.float16)
        network.forward_together(torch.empty((1, 3, 2048, 2048), dtype=torch.float16, device="cuda"))
        derived, weights = (
            sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            for tensors in (network.derived(), network.parameters())
        )
    assert weights > 140e6
    assert derived < 0.6 * weights

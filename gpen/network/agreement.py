"""Whether the fused kernels agree with the plain operations, on a network small enough to be asked at any time."""

from __future__ import annotations

import torch

from .fusion import using_fused
from .gpen import GPEN
from .spec import Spec

SMALL = Spec(16, 32, 2, 1 / 4)
"""With an encoder's map at some levels only, and more channels than a program computes at a time."""
BOUNDS = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Of the largest difference, relative to the largest value. The fused kernels round less often."""
_TF32_BOUND = 2e-3
"""The same where convolutions may round what they read to ten bits, as PyTorch lets them on CUDA."""


def small_network(device: torch.device, dtype: torch.dtype) -> GPEN:
    """The network with random weights."""
    generator = torch.Generator("cpu").manual_seed(0)
    with torch.device("cpu"):  # whatever a host's default is
        network = GPEN(SMALL)
        for name, tensor in network.state_dict().items():
            if not name.endswith(".kernel"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float32))
    return network.requires_grad_(False).eval().to(device, dtype)


def difference(device: torch.device, dtype: torch.dtype, batch: int = 1) -> tuple[float, float]:
    """The largest difference, relative to the largest value, and what it should not exceed."""
    # The caller's mode is not for a network of its own: weights made in inference mode are laid out in no call.
    with torch.inference_mode(False), torch.no_grad():
        return _difference(device, dtype, batch)


def _difference(device: torch.device, dtype: torch.dtype, batch: int) -> tuple[float, float]:
    network = small_network(device, dtype)
    generator = torch.Generator("cpu").manual_seed(1)
    shape = (batch, 3, SMALL.in_size, SMALL.in_size)
    x = (2 * torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu") - 1).to(device, dtype)
    results = []
    for fused in (False, True):
        with using_fused(fused):
            results.append(network.forward_together(x).float())
    plain, other = results
    bound = _TF32_BOUND if device.type == "cuda" and dtype == torch.float32 else BOUNDS[dtype]
    return float((plain - other).abs().max() / plain.abs().max()), bound

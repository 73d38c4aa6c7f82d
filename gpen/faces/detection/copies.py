"""What a detector copies between host memory and its device: little at a time, and as seldom as possible."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A small tensor in host memory on a device, without waiting for the device where that is possible."""
    if device.type == "cuda" and torch.cuda.is_available():
        # A copy of pageable memory waits for all that the device was given before.
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def on_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of one dtype and device in host memory, copied together; on the CPU they are the same."""
    if not tensors or tensors[0].device.type == "cpu":
        return list(tensors)
    together = torch.cat([tensor.reshape(-1) for tensor in tensors]).cpu()
    parts = torch.split(together, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

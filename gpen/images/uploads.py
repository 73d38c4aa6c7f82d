"""Arrays that the host computes, brought to the network's device without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uploaded(values: NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device; on the CPU it shares the array's memory. The caller does not change the array any more."""
    host = torch.from_numpy(values)
    if device.type != "cuda":
        return host.to(device)
    # From pageable memory CUDA copies only once the device has done all that it was given before.
    pinned = torch.empty(host.shape, dtype=host.dtype, pin_memory=True)
    return pinned.copy_(host).to(device, non_blocking=True)


def uploaded_together(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Arrays of float32 or int32 on a device, brought there by one copy."""
    words = np.concatenate([array.ravel().view(np.int32) for array in arrays])
    parts = uploaded(words, device).split([array.size for array in arrays])
    return [
        (part.view(torch.float32) if array.dtype == np.float32 else part).view(array.shape)
        for part, array in zip(parts, arrays, strict=True)
    ]

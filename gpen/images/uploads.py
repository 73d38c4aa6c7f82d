"""Small arrays that the host computes, brought to the network's device without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uploaded(values: NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device. On the CPU it shares the array's memory, which is not to be changed any more."""
    host = torch.from_numpy(values)
    if device.type != "cuda":
        return host.to(device)
    # CUDA would copy ordinary memory only when it has done all that it was given before. PyTorch keeps pinned memory,
    # and reuses it once it was copied.
    try:
        pinned = torch.empty(host.shape, dtype=host.dtype, device="cpu", pin_memory=True)
    except RuntimeError:  # such as a container's limit
        return host.to(device)
    return pinned.copy_(host).to(device, non_blocking=True)


def uploaded_together(arrays: Sequence[NDArray[np.float32] | NDArray[np.int32]], device: torch.device) -> list[Tensor]:
    """Arrays on a device, brought there by one copy."""
    words = uploaded(np.concatenate([array.ravel().view(np.float32) for array in arrays]), device)
    there, start = [], 0
    for array in arrays:
        part = words[start : start + array.size]
        there.append((part if array.dtype == np.float32 else part.view(torch.int32)).view(array.shape))
        start += array.size
    return there

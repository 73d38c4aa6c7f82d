"""A detector's calls on CUDA as CUDA graphs: many small ones, of few shapes, which photos of one size repeat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...network.cuda_graph import Call, CudaGraph, GraphMemory, RepeatedCalls, can_record

_MOST = 32
"""Recordings: photos of one size need about ten, and their portraits and landscapes share most."""
_MOST_PIXELS = 1 << 23
"""Of the inputs of all recordings together; 100 MB."""
_LARGEST = 1 << 20
"""Pixels of the largest input that is recorded: with more, the device takes longer than the launches."""
_PAYBACK = 64
"""Replays that save as much time as a recording takes: photos of many sizes shall not be recorded for ever."""
_BYTES_PER_PIXEL = 256
"""What a call takes at most, for each pixel of its input: RetinaFace ResNet-50; YuNet takes a quarter of it."""


class RecordedCalls:
    """Calls of a function of batches (N, 3, H, W), recorded where their shapes repeat.

    device: as PyTorch names it; anywhere but on CUDA nothing is recorded.
    """

    def __init__(self, device: str) -> None:
        self._is_cuda = torch.device(device).type == "cuda"
        self._repeated = RepeatedCalls(_MOST, 3 * _MOST_PIXELS, payback=_PAYBACK, what="face detector")
        self._memory = GraphMemory()

    def filled(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        """The pictures (H, W, 3) of a call and, where it can be recorded, the last of them again a few times.

        The number of faces decides how many pictures there are: so that few shapes occur, it becomes a power of two or
        one and a half of it.
        """
        count = _rounded_up(len(pictures))
        height, width, _ = pictures[0].shape
        if not self._is_cuda or count * height * width > _LARGEST:
            return list(pictures)
        return [*pictures, *[pictures[-1]] * (count - len(pictures))]

    def run(self, call: Call, batch: Tensor) -> Tensor:
        """The result of ``call(batch)``."""
        if not self._is_cuda:
            return call(batch)
        if batch[:, 0].numel() > _LARGEST:
            return self._repeated.called(call, batch)
        return self._repeated.run(call, batch, None, self._record)

    def _record(self, call: Call, batch: Tensor) -> Call | None:
        if not can_record(batch.device, batch[:, 0].numel() * _BYTES_PER_PIXEL):
            return None
        return CudaGraph(call, batch, list, self._memory)


def _rounded_up(count: int) -> int:
    power = 1 << (count - 1).bit_length()
    return 3 * power // 4 if power >= 4 and count <= 3 * power // 4 else power

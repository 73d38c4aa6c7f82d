"""YuNet on any device that PyTorch knows; it needs nothing else but a file of 230 kB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...device import without_autocast
from ...images.tensors import on_cpu
from ..workers import in_threads
from .network import Detections, batched, calls, in_order
from .yunet_network import HEAD_CHANNELS, STRIDES
from .yunet_runtime import in_onnx_runtime
from .yunet_weights import load_yunet

_NMS_THRESHOLD = 0.3
_TOP_K = 5000
_GRID = max(STRIDES)


class YuNet:
    """The YuNet network, with the results of OpenCV's ``FaceDetectorYN``.

    weights: its ONNX file. device: as PyTorch names it. Raises FilesError if the file cannot be read, FaceError if it
    is not YuNet.
    """

    name = "yunet"
    suspicion = 0.2  # reached by 28 of 29 faces of 10 to 14 pixels, which makes few more looks than 0.3

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        network = load_yunet(Path(weights))
        # The file's network takes BGR from 0 to 255.
        network.stem.weight.copy_(network.stem.weight.flip(1) * 255)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        """The network, on the device. It takes RGB, [0, 1]."""
        self.device = device
        """Where it computes, as PyTorch names it."""
        runtime = in_onnx_runtime(network) if torch.device(device).type == "cpu" else None
        self._maps: Callable[[Tensor], list[Tensor]] = runtime or self.network

    def find(self, pictures: Sequence[Tensor], threshold: float) -> list[Detections]:
        """See :class:`gpen.faces.detection.network.DetectorNetwork`."""
        together = calls(pictures)

        def work(numbers: list[int]) -> list[Detections]:
            return self._find(batched([pictures[number] for number in numbers], _GRID), threshold)

        return in_order(together, in_threads(torch.device(self.device), work, together))

    def _find(self, batch: Tensor, threshold: float) -> list[Detections]:
        height, width = batch.shape[2:]
        with without_autocast(batch.device):
            rows = _decoded(self._maps(batch), height, width, threshold)
        return [_without_overlaps(found, threshold) for found in rows.cpu().numpy().astype(np.float64)]


def _decoded(maps: Sequence[Tensor], height: int, width: int, threshold: float) -> Tensor:
    """The cells with the best scores, best first, as rows of detections: maps (N, 16, h, w) to (N, k, 15).

    On a CPU those that score at least ``threshold``, elsewhere a fixed number, so that nothing waits for the device.
    """
    cells = torch.cat([m.permute(0, 2, 3, 1).reshape(len(m), -1, HEAD_CHANNELS) for m in maps], dim=1)
    scores = (cells[..., 0].sigmoid() * cells[..., 1].sigmoid()).sqrt()
    most = int((scores >= threshold).sum(dim=1).max()) if on_cpu(scores) else scores.shape[1]
    scores, best = scores.topk(min(_TOP_K, most), dim=1)
    cells = cells.gather(1, best[..., None].expand(-1, -1, HEAD_CHANNELS))
    corners, strides = (part[best] for part in _grid(height, width, cells.device))
    middle = cells[..., 2:4] * strides + corners
    half = cells[..., 4:6].exp() * strides / 2
    landmarks = cells[..., 6:] * strides + corners.repeat(1, 1, 5)
    return torch.cat([middle - half, middle + half, scores[..., None], landmarks], dim=2)


@lru_cache(maxsize=8)
def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For every cell of every level: x and y of its corner (cells, 2), and its stride (cells, 1), in pixels."""
    corners, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        corners.append(torch.stack([x, y], dim=-1).reshape(-1, 2) * float(stride))
        strides.append(torch.full((x.numel(), 1), float(stride)))
    return torch.cat(corners).to(device), torch.cat(strides).to(device)


def _without_overlaps(rows: Detections, threshold: float) -> Detections:
    """Non-maximum suppression as OpenCV does it: boxes in whole pixels, cut off towards zero. rows: best first."""
    rows = rows[rows[:, 4] >= threshold]
    corners = np.trunc(rows[:, 0:2])
    sides = np.trunc(rows[:, 2:4] - rows[:, 0:2])
    boxes = np.concatenate([corners, corners + sides], axis=1)
    kept = []
    left: NDArray[np.intp] = np.arange(len(rows))
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        common = np.minimum(boxes[left, 2:], boxes[first, 2:]) - np.maximum(boxes[left, :2], boxes[first, :2])
        overlap = np.prod(np.maximum(common, 0), axis=1)
        union = np.prod(sides[left], axis=1) + np.prod(sides[first]) - overlap
        left = left[overlap <= _NMS_THRESHOLD * union]
    return rows[kept]

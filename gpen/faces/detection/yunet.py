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
from ...images.staging import on_host
from ...images.tensors import on_cpu
from ..workers import in_threads
from .network import Detections, batched, calls, in_order, none_found, padding
from .recorded import RecordedCalls
from .yunet_folded import FoldedYuNet
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
        self._maps: Callable[[Tensor], list[Tensor]] = self.network
        kind = torch.device(device).type
        if kind == "cpu":
            self._maps = in_onnx_runtime(network) or self.network
        elif kind == "cuda":
            self._maps = FoldedYuNet(self.network)
        self._recorded = RecordedCalls(device)

    def find(self, pictures: Sequence[Tensor], threshold: float) -> list[Detections]:
        """See :class:`gpen.faces.detection.network.DetectorNetwork`."""
        together = calls(pictures)
        device = torch.device(self.device)

        def start(numbers: list[int]) -> Tensor:
            return self._candidates([pictures[number] for number in numbers], threshold)

        def finish(numbers: list[int], candidates: Tensor) -> list[Detections]:
            height, width = pictures[numbers[0]].shape[:2]
            size = height + padding(height, _GRID), width + padding(width, _GRID)
            # Behind them come those of pictures that only fill a batch.
            found = candidates.numpy()[: len(numbers)]
            return [_without_overlaps(_decoded(cells[cells[:, 0] >= threshold], *size)) for cells in found]

        if device.type == "cpu":
            results = in_threads(device, lambda numbers: finish(numbers, start(numbers)), together)
        else:
            # All calls are on their way before the first result is waited for.
            results = list(map(finish, together, on_host(in_threads(device, start, together))))
        return in_order(together, results)

    def _candidates(self, pictures: Sequence[Tensor], threshold: float) -> Tensor:
        """The cells of some pictures of one size that may score ``threshold``, as :func:`_best` returns them.

        On a CPU no more than do, elsewhere a fixed number, so that nothing waits for the device.
        """
        if on_cpu(pictures[0]):
            return self._best(batched(pictures, _GRID), threshold)
        return self._recorded.run(self._best, batched(self._recorded.filled(pictures), _GRID))

    def _best(self, batch: Tensor, threshold: float = 0.0) -> Tensor:
        with without_autocast(batch.device):
            return _best(self._maps(batch), threshold)


def _best(maps: Sequence[Tensor], threshold: float = 0.0) -> Tensor:
    """Of maps (N, 16, h, w) of all levels the cells with the best scores, unordered: (N, k, 16).

    Of a cell: its score, its number, then bbox and kps of :data:`gpen.faces.detection.yunet_network.HEAD_PARTS`. There
    are as many as OpenCV takes or, with a threshold, as of some picture reach it.
    """
    cells = torch.cat([m.permute(0, 2, 3, 1).reshape(len(m), -1, HEAD_CHANNELS) for m in maps], dim=1)
    certain = cells[..., :2].sigmoid()
    scores = (certain[..., 0] * certain[..., 1]).sqrt_()
    most = int((scores >= threshold).sum(dim=1).max()) if threshold else _TOP_K
    if min(most, _TOP_K) < cells.shape[1]:
        scores, numbers = scores.topk(min(most, _TOP_K), dim=1, sorted=False)
        cells = cells.gather(1, numbers[..., None].expand(-1, -1, HEAD_CHANNELS))
    else:
        numbers = torch.arange(cells.shape[1], device=cells.device)
    cells[..., 0], cells[..., 1] = scores, numbers
    return cells


def _decoded(cells: NDArray[np.float32], height: int, width: int) -> Detections:
    """Cells (n, 16) of one picture as detections, best first."""
    if not len(cells):
        return none_found()
    cells = cells[np.argsort(-cells[:, 0], kind="stable")]
    corners, strides = (part[cells[:, 1].astype(np.intp)] for part in _grid(height, width))
    middle = cells[:, 2:4] * strides + corners
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is no face, see merging.sane
        half = np.exp(cells[:, 4:6]) * strides / 2
        landmarks = cells[:, 6:] * strides + np.tile(corners, 5)
        return np.concatenate([middle - half, middle + half, cells[:, :1], landmarks], axis=1, dtype=np.float64)


@lru_cache(maxsize=32)
def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For every cell of every level: x and y of its corner (cells, 2), and its stride (cells, 1), in pixels."""
    corners, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        corners.append(np.stack([x, y], axis=-1).reshape(-1, 2) * stride)
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(corners, dtype=np.float32), np.concatenate(strides, dtype=np.float32)


def _without_overlaps(rows: Detections) -> Detections:
    """Non-maximum suppression as OpenCV does it: boxes in whole pixels, cut off towards zero. rows: best first."""
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

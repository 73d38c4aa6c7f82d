"""RetinaFace: facexlib's networks with our own pre- and postprocessing."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...device import without_autocast
from ...images.staging import on_host
from ..facexlib import facexlib_module, load_network
from ..workers import in_one_thread
from .network import Detections, batched, calls, in_order
from .recorded import RecordedCalls

NETWORKS = {
    "retinaface_resnet50": ("resnet50", "RetinaFace ResNet-50"),
    "retinaface_mobile0.25": ("mobile0.25", "RetinaFace MobileNet-0.25"),
}
_MEAN_BGR = (104.0, 117.0, 123.0)
_NMS_THRESHOLD = 0.4
_MAX_CANDIDATES = 2000


class RetinaFace:
    """A RetinaFace network.

    name: one of :data:`NETWORKS`. weights: facexlib's file for it. device: as PyTorch names it.
    Raises FilesError if the weights cannot be read, FaceError if they are for another network or facexlib cannot be
    imported.
    """

    suspicion = 0.05  # all of 29 faces of 13 to 21 pixels reach it, and only 21 of them 0.3

    def __init__(self, name: str, weights: Path, device: str = "cpu") -> None:
        network_name, what = NETWORKS[name]
        module = facexlib_module("detection.retinaface")
        self._utils = facexlib_module("detection.retinaface_utils")
        self.name = name
        self.device = device
        """Where it computes, as PyTorch names it."""

        def make() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # facexlib uses a deprecated argument of torchvision
                return module.RetinaFace(network_name, half=False, device="cpu")

        self.network = load_network(make, weights, what).to(device)
        """The network, on the device."""
        self._mean = torch.tensor(_MEAN_BGR, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self._recorded = RecordedCalls(device)

    def find(self, pictures: Sequence[Tensor], threshold: float) -> list[Detections]:
        """See :class:`gpen.faces.detection.network.DetectorNetwork`."""
        from torchvision.ops import nms

        together = calls(pictures)
        started = [self._candidates([pictures[number] for number in numbers]) for numbers in together]
        results = []
        for numbers, candidates in zip(together, on_host(started), strict=True):
            height, width = pictures[numbers[0]].shape[:2]
            anchors = _anchors(self.network.cfg, height, width)
            # Behind them come those of pictures that only fill a batch.
            each = candidates[: len(numbers)]
            results.append(
                [self._rows(faces[faces[:, 0] >= threshold], anchors, (width, height), nms) for faces in each]
            )
        return in_order(together, results)

    def _candidates(self, pictures: Sequence[Tensor]) -> Tensor:
        """The best candidates of pictures of one size, a fixed number, so that nothing waits for the device."""
        shown = self._recorded.filled(pictures)
        batch = in_one_thread(shown[0].device, functools.partial(batched, shown))
        with torch.inference_mode():
            return self._recorded.run(self._best, batch)

    def _best(self, batch: Tensor) -> Tensor:
        """(N, k, 16): for each candidate, best first, its score, box, landmarks and the number of its anchor."""
        # facexlib's weights are laid out for planes.
        batch = batch.flip(1).contiguous() * 255 - self._mean
        with without_autocast(batch.device):
            boxes, scores, landmarks = (part.float() for part in self.network(batch))
            scores, best = scores[..., 1].topk(min(_MAX_CANDIDATES, scores.shape[1]), dim=1)
            return torch.cat([scores[..., None], _at(best, boxes), _at(best, landmarks), best[..., None].float()], 2)

    def _rows(self, faces: Tensor, anchors: Tensor, size: tuple[int, int], nms: Any) -> Detections:
        """faces: (n, 16), as :meth:`_best` returns them."""
        scores, boxes, landmarks = faces[:, :1], faces[:, 1:5], faces[:, 5:15]
        anchors = anchors[faces[:, 15].long()]
        variance = self.network.cfg["variance"]
        sides = torch.tensor(size, dtype=torch.float32, device="cpu")
        boxes = self._utils.decode(boxes, anchors, variance) * sides.repeat(2)
        landmarks = self._utils.decode_landm(landmarks, anchors, variance) * sides.repeat(5)
        rows = torch.cat([boxes, scores, landmarks], dim=1)[nms(boxes, scores[:, 0], _NMS_THRESHOLD)]
        return np.asarray(rows.numpy(), np.float64)


def _at(cells: Tensor, values: Tensor) -> Tensor:
    """The values (N, A, C) of some cells (N, k)."""
    return values.gather(1, cells[..., None].expand(-1, -1, values.shape[2]))


def _anchors(config: dict[str, Any], height: int, width: int) -> Tensor:
    """facexlib's PriorBox without its Python loop: (n, 4), centre and size, relative to the picture."""
    levels = tuple(zip(config["steps"], map(tuple, config["min_sizes"]), strict=True))
    return _cached_anchors(levels, height, width)


@lru_cache(maxsize=32)
def _cached_anchors(levels: tuple[tuple[int, tuple[int, ...]], ...], height: int, width: int) -> Tensor:
    def middles(step: int, length: int) -> Tensor:
        return (torch.arange(-(-length // step), dtype=torch.float32, device="cpu") + 0.5) * step / length

    parts = []
    for step, sizes in levels:
        y, x, side = torch.meshgrid(
            middles(step, height),
            middles(step, width),
            torch.tensor(sizes, dtype=torch.float32, device="cpu"),
            indexing="ij",
        )
        parts.append(torch.stack([x, y, side / width, side / height], dim=-1).reshape(-1, 4))
    return torch.cat(parts)

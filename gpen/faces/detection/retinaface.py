"""RetinaFace: facexlib's networks with our own pre- and postprocessing."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..facexlib import facexlib_module, load_weights
from .multiscale import Detections, Image

if TYPE_CHECKING:
    import torch

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

    def __init__(self, name: str, weights: Path, device: str = "cpu") -> None:
        network_name, what = NETWORKS[name]
        module = facexlib_module("detection.retinaface")
        self._utils = facexlib_module("detection.retinaface_utils")
        self.name = name
        self._device = device
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # facexlib uses a deprecated argument of torchvision
            network = module.RetinaFace(network_name, half=False, device="cpu")
        load_weights(network, weights, what)
        self.network = network.to(device)
        """The network, on the device."""

    def find(self, image: Image, threshold: float) -> Detections:
        """See :data:`gpen.faces.detection.multiscale.Finder`."""
        import torch
        from torchvision.ops import nms

        height, width = image.shape[:2]
        batch = torch.from_numpy(image).to(self._device, torch.float32).permute(2, 0, 1)[None]
        batch = batch - torch.tensor(_MEAN_BGR, device=self._device).view(1, 3, 1, 1)
        with torch.inference_mode():
            boxes, scores, landmarks = (part[0].float().cpu() for part in self.network(batch))
            scores = scores[:, 1]
            sure = torch.nonzero(scores >= threshold)[:, 0]
            sure = sure[torch.argsort(scores[sure], descending=True, stable=True)[:_MAX_CANDIDATES]]
            anchors = _anchors(self.network.cfg, height, width)[sure]
            variance = self.network.cfg["variance"]
            boxes = self._utils.decode(boxes[sure], anchors, variance)
            landmarks = self._utils.decode_landm(landmarks[sure], anchors, variance)
            size = torch.tensor([width, height], dtype=torch.float32)
            boxes, landmarks = boxes * size.repeat(2), landmarks * size.repeat(5)
            keep = nms(boxes, scores[sure], _NMS_THRESHOLD)
            rows = torch.cat([boxes, scores[sure, None], landmarks], dim=1)[keep]
        return np.asarray(rows.numpy(), np.float64)


def _anchors(config: dict[str, Any], height: int, width: int) -> torch.Tensor:
    """facexlib's PriorBox without its Python loop: (n, 4), centre and size, relative to the picture."""
    levels = tuple(zip(config["steps"], map(tuple, config["min_sizes"]), strict=True))
    return _cached_anchors(levels, height, width)


@lru_cache(maxsize=8)
def _cached_anchors(levels: tuple[tuple[int, tuple[int, ...]], ...], height: int, width: int) -> torch.Tensor:
    import torch

    parts = []
    for step, sizes in levels:
        y, x, side = torch.meshgrid(
            (torch.arange(-(-height // step)) + 0.5) * step / height,
            (torch.arange(-(-width // step)) + 0.5) * step / width,
            torch.tensor(sizes, dtype=torch.float32),
            indexing="ij",
        )
        parts.append(torch.stack([x, y, side / width, side / height], dim=-1).reshape(-1, 4))
    return torch.cat(parts)

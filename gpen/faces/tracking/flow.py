"""Optical flow between the crops of one face in two frames of a video, in both directions.

On the CPU it is OpenCV's dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016).
Each patch is searched by itself, without propagation from patch to patch, which threads would divide. OpenCV cannot
read a device's memory, and no step may wait for the device. So there it is Lucas and Kanade's method in PyTorch, from
coarse to fine, with the same operations whatever the pictures show (Bouguet, "Pyramidal Implementation of the Lucas
Kanade Feature Tracker", 2001; here for every pixel).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...images import tensors

_COARSEST = 16
"""Side of the smallest level of the pyramid, in pixels, about."""
_STEPS = 4
"""Gauss-Newton steps per level."""
_WINDOW = 7
"""Side of the window that one motion is assumed for, in pixels."""
_LEAST_TEXTURE = 4e-4
"""Added to the sums over a window of squared gradients, so that flat parts do not move by what noise says."""
_LONGEST_STEP = 1.0
"""In pixels of a level: a longer step left the part where the picture is linear."""


def flow_both_ways(first: Tensor, second: Tensor) -> Tensor:
    """Where each pixel of one picture is in the other: (2, 2, H, W), from the first to the second, and back.

    first, second: grey, (H, W), [0, 1], on one device. The second axis of the result is x, y, in pixels: pixel p of the
    first picture shows what the second shows at p + flow.
    """
    if tensors.on_cpu(first):
        return _inverse_search(first, second)
    return _lucas_kanade(torch.stack([first, second])[:, None], torch.stack([second, first])[:, None])


def displaced(pictures: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Pictures (N, C, H, W) at the places that flow (N, 2, H, W) points to; beyond their edges, the edges' pixels.

    mode: "bilinear" or "bicubic", which is bilinear too on Apple's GPUs: many versions of PyTorch have no other there.
    """
    height, width = pictures.shape[2:]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    places = torch.stack([(x + flow[:, 0] + 0.5) * (2 / width) - 1, (y + flow[:, 1] + 0.5) * (2 / height) - 1], dim=-1)
    if _is_limited(pictures.device):
        # Between the outermost pixels' middles, what is beyond the edges has no weight.
        within = places.new_tensor([1 - 1 / width, 1 - 1 / height])
        places = torch.minimum(torch.maximum(places, -within), within)
        return F.grid_sample(pictures, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    return F.grid_sample(pictures, places, mode=mode, padding_mode="border", align_corners=False)


def _is_limited(device: torch.device) -> bool:
    return device.type == "mps"


def _inverse_search(first: Tensor, second: Tensor) -> Tensor:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setUseSpatialPropagation(False)
    one, other = (np.rint(picture.numpy() * 255).clip(0, 255).astype(np.uint8) for picture in (first, second))
    both = np.zeros((2, *one.shape, 2), np.float32)
    search.calc(one, other, both[0])
    search.calc(other, one, both[1])
    return torch.from_numpy(both).permute(0, 3, 1, 2).contiguous()


def _lucas_kanade(first: Tensor, second: Tensor) -> Tensor:
    levels = [(first, second)]
    while min(levels[-1][0].shape[2:]) >= 2 * _COARSEST:
        levels.append((F.avg_pool2d(levels[-1][0], 2), F.avg_pool2d(levels[-1][1], 2)))
    flow = torch.zeros_like(levels[-1][0]).expand(-1, 2, -1, -1)
    for one, other in reversed(levels):
        if flow.shape[2:] != one.shape[2:]:
            flow = 2 * F.interpolate(flow, one.shape[2:], mode="bilinear", align_corners=False)
        flow = _refined(one, other, flow)
    return flow


def _refined(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """Flow (N, 2, H, W) after some Gauss-Newton steps on the squared difference in a window around each pixel."""
    padded = F.pad(first, (1, 1, 1, 1), mode="replicate")
    x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    sums = _in_window(torch.cat([x * x, x * y, y * y], dim=1))
    xx, xy, yy = sums[:, :1], sums[:, 1:2], sums[:, 2:]
    xx, yy = xx + _LEAST_TEXTURE, yy + _LEAST_TEXTURE
    determinant = xx * yy - xy * xy
    for _ in range(_STEPS):
        difference = displaced(second, flow) - first
        along = _in_window(torch.cat([x * difference, y * difference], dim=1))
        along_x, along_y = along[:, :1], along[:, 1:]
        step = torch.cat([xy * along_y - yy * along_x, xy * along_x - xx * along_y], dim=1) / determinant
        flow = _in_window(flow + step.clamp(-_LONGEST_STEP, _LONGEST_STEP))
    return flow


def _in_window(channels: Tensor) -> Tensor:
    """The mean over the window around each pixel."""
    return F.avg_pool2d(channels, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)

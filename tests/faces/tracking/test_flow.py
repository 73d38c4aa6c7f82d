"""Optical flow of known motion, by OpenCV and by PyTorch."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from bench.texture import pan, portrait, talk, zoom
from gpen.faces.tracking import flow as flow_module
from gpen.faces.tracking.flow import displaced, flow_both_ways

SIZE = 192


@pytest.fixture(scope="module")
def grey(photos: object) -> Tensor:
    return torch.from_numpy(portrait(SIZE).mean(axis=2, dtype=np.float32))


@pytest.mark.parametrize(("motion", "frame"), [(pan, 4), (zoom, -6), (talk, 2), (pan, 0)])
def test_motion_is_found(grey: Tensor, each_implementation: str, motion: object, frame: int) -> None:
    true = torch.from_numpy(motion(frame, SIZE)).permute(2, 0, 1)[None]  # type: ignore[operator]
    moved = displaced(grey[None, None], true, "bicubic")[0, 0]
    flow = flow_both_ways(moved, grey)
    assert flow.shape == (2, 2, SIZE, SIZE)
    inner = slice(20, -20)
    error = (flow[:1] - true).square().sum(dim=1).sqrt()[:, inner, inner]
    assert error.mean() < 0.25
    # And back: the sum of both is nothing.
    around = (flow[:1] + displaced(flow[1:], flow[:1]))[..., inner, inner]
    assert around.abs().mean() < 0.25


def test_pictures_are_displaced_by_whole_pixels_without_loss(grey: Tensor) -> None:
    flow = torch.tensor([3.0, -2.0])[None, :, None, None].expand(1, 2, SIZE, SIZE)
    moved = displaced(grey[None, None], flow, "bicubic")[0, 0]
    assert (moved[5:-5, 5:-5] - grey[3:-7, 8:-2]).abs().max() < 1e-4


def test_pictures_are_displaced_on_apples_gpus_too(grey: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whole pixels and between them, and far beyond the edges."""
    flow = 40 * torch.randn(1, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    expected = displaced(grey[None, None], flow)
    monkeypatch.setattr(flow_module, "_is_limited", lambda device: True)
    assert (displaced(grey[None, None], flow) - expected).abs().max() < 1e-5
    assert (displaced(grey[None, None], flow, "bicubic") - expected).abs().max() < 1e-5


def test_flow_does_not_depend_on_the_number_of_threads(grey: Tensor) -> None:
    noise = torch.randn(grey.shape, generator=torch.Generator().manual_seed(0))
    before, found = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            found.append(flow_both_ways(grey, (grey.roll(2, 1) + 0.02 * noise).clamp(0, 1)))
    finally:
        cv2.setNumThreads(before)
    assert all(torch.equal(flow, found[0]) for flow in found)

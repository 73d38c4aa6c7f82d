"""What cropping, masking and pasting cost on a GPU: counted on a pretended CUDA device, exactly, without one."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest
import torch

from bench.geometry import OneFace
from bench.kernels import count
from gpen.faces.resampling.resample import warp, warp_mask
from gpen.faces.resampling.transforms import scaling
from tests import pretended

# Operations, that into pinned memory included. A change that lowers them lowers these limits.
CROP, MASK, ADD = 8, 13, 13
# Bytes on the GPU at a time beside the photo, at most; the network of 512 takes 0.21 GB in float16, that of 2048 1.25.
MEMORY = {512: 160e6, 2048: 800e6}
SIZES = [(512, 1), (512, 12), (2048, 1), (2048, 12)]


@pytest.fixture(params=SIZES, ids=lambda given: f"{given[0]}, {given[1]} MP")
def face(request: pytest.FixtureRequest) -> Iterator[OneFace]:
    size, megapixels = request.param
    with pretended.cuda():
        face = OneFace(megapixels, size, "cuda")
        face.photo.whole()
        yield face


def test_operations(face: OneFace) -> None:
    crop = face.crop()
    mask = face.mask(crop)
    assert count(face.crop).kernels <= CROP
    assert count(lambda: face.mask(crop)).kernels <= MASK
    assert count(lambda: face.add(crop, mask)).kernels <= ADD


def test_nothing_waits_for_the_device(face: OneFace) -> None:
    with pretended.stays_on_the_device():
        crop = face.crop()
        face.add(crop, face.mask(crop))


def test_memory(face: OneFace) -> None:
    with pretended.MostBytes() as crop_bytes:
        crop = face.crop()
    with pretended.MostBytes() as paste_bytes:
        face.add(crop, face.mask(crop))
    assert crop.nbytes < max(crop_bytes.most, paste_bytes.most) <= MEMORY[len(crop)]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("degrees", [0, 15, 45])
def test_no_crop_takes_more_than_the_network(degrees: float, scale: float) -> None:
    """The rectangle around a turned one is up to twice as large."""
    matrix = cv2.getRotationMatrix2D((1400, 1400), degrees, scale)
    with pretended.cuda():
        photo = torch.zeros((2800, 2800, 3), device="cuda")
        with pretended.MostBytes() as memory:
            assert warp(photo, matrix - [[0, 0, 376], [0, 0, 376]], (2048, 2048)).shape == (2048, 2048, 3)
    assert 100e6 < memory.most < 1.25e9


@pytest.mark.parametrize("side", [64, 512])
def test_a_mask_is_resampled_without_waiting(side: int) -> None:
    with pretended.cuda():
        mask = torch.zeros((512, 512), device="cuda")
        with pretended.stays_on_the_device():
            assert warp_mask(mask, scaling(side / 512), (side, side)).shape == (side, side)

"""Everything between the photo and the result runs on the network's device: shown on a device that is only pretended.

On it PyTorch knows shapes, dtypes and devices, computes nothing, and raises where devices are mixed, or where a value
is needed on the host, which would make the CPU wait for the device.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gpen.faces.align import crop_face, place
from gpen.faces.color import match_colors
from gpen.faces.masks.mask import SIZE
from gpen.faces.masks.protect import Protection
from gpen.faces.paste import Canvas
from gpen.faces.resampling.transforms import compose, scaling
from gpen.images.tensors import DevicePhoto
from gpen.options import Options
from gpen.restoration.processors import Colorization, FaceProcessor, Inpainting, PhotoInputs, with_luma_of
from tests.restoration.test_pipeline import face_at

OPTIONS = Options(mask="ellipse")
FACE = face_at(200, 150, 0.9)
OUT_SIZE = 1024


@pytest.fixture
def photo() -> Iterator[DevicePhoto]:
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield DevicePhoto(np.random.default_rng(0).random((300, 400, 3), np.float32), torch.device("cuda"))


@pytest.mark.parametrize("resident", [False, True])
def test_crops_of_any_size(photo: DevicePhoto, resident: bool) -> None:
    if resident:
        assert photo.whole().device.type == photo.device.type
    for size in (64, 256, 2048):
        crop = crop_face(photo, place(FACE, size, "gpen").matrix, size)
        assert crop.device.type == photo.device.type
        assert crop.shape == (size, size, 3)
        assert crop.dtype == torch.float32


@pytest.mark.parametrize(
    ("task", "upscale"), [(FaceProcessor, 1.0), (FaceProcessor, 2.0), (Colorization, 2.0), (Inpainting, 1.0)]
)
def test_masks_pasting_and_blending(photo: DevicePhoto, task: type[FaceProcessor], upscale: float) -> None:
    options = Options(mask="ellipse", upscale=upscale, grain=1)
    damage = np.zeros((300, 400), np.float32)
    damage[140:160, 190:230] = 1
    processor = task(photo, PhotoInputs(damage=damage))
    placement = place(FACE, 512, "gpen")
    before = processor.crop(processor.crop_source(), placement)
    crop = torch.empty((OUT_SIZE, OUT_SIZE, 3), device=photo.device)
    canvas = processor.canvas(options)
    to_crop = compose(scaling(OUT_SIZE / 512), compose(placement.matrix, scaling(1 / upscale)))
    for _ in range(2):  # the second overlaps the first
        mask = processor.mask(crop, placement, options, None)
        assert mask.device.type == before.device.type == photo.device.type
        region_mask = processor.region_mask(FACE, options)
        region_mask = Protection(damage, canvas.size, photo.device).region_mask(FACE, region_mask)
        area = processor.mask_area(placement, options)
        for method in ("lab", "wavelet"):
            crop = match_colors(method, crop, before, mask)
        canvas.add(crop, to_crop, mask, region_mask, processor.priority(placement), area)
    for patch in canvas._patches:
        for part in canvas._blended(patch, 0.5):
            assert part.device.type == photo.device.type


def test_a_whole_photo_is_one_crop(photo: DevicePhoto) -> None:
    canvas = Canvas(photo, with_luma_of)
    canvas.add(torch.empty((SIZE, SIZE, 3), device=photo.device), scaling(1.28, 1.28), None)
    (patch,) = canvas._patches
    assert canvas._blended(patch, 1.0)[0].shape == (300, 400, 3)

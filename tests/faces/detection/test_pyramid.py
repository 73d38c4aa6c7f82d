"""A photo at several sizes: reductions, parts and rotations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpen.faces.detection.pyramid import Pyramid, enlarged, reduced
from gpen.faces.detection.yunet import YuNet


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(0).random((96, 132, 3)).astype(np.float32), (0, 0), 1)


def square(scale: float, x: float, y: float, degrees: float = 0.0) -> np.ndarray:
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[cos, -sin, x], [sin, cos, y]])


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_reducing_is_opencvs_area_interpolation(photo, factor):
    height, width = (n // factor for n in photo.shape[:2])
    expected = cv2.resize(photo[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced(torch.from_numpy(photo), factor).numpy() - expected).max() < 1e-6


def test_a_large_photo_is_reduced_in_blocks_to_the_same(photo):
    large = np.tile(photo, (5, 30, 1))[:-1]
    expected = cv2.resize(large[:478], (1980, 239), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced(torch.from_numpy(large), 2).numpy() - expected).max() < 1e-6


def test_slivers_are_reduced_to_their_mean():
    sliver = torch.rand(1, 10, 3, generator=torch.manual_seed(0))
    assert torch.allclose(reduced(sliver, 4), sliver[:, :8].reshape(1, 2, 4, 3).mean(2))


def test_nan_and_inf_become_valid_values(photo):
    odd = torch.from_numpy(photo.copy())
    odd[0, 0], odd[0, 2], odd[0, 4], odd[0, 6] = torch.nan, torch.inf, -torch.inf, 7
    assert reduced(odd, 1)[0, 0:8:2, 0].tolist() == [0, 1, 0, 1]
    (part,) = Pyramid(odd, 2).parts([square(1, 0, 0)], 8, "border")
    assert part.isfinite().all()
    assert 0 <= part.min() <= part.max() <= 1


@pytest.mark.parametrize("value", [0.5, np.nan, -0.1, 1.1])
def test_a_photo_is_copied_only_where_values_change(photo, value):
    given = torch.from_numpy(photo.copy())
    given[95, 131, 2] = value
    before = given.clone()
    level = reduced(given, 1)
    assert (level.data_ptr() == given.data_ptr()) == (value == 0.5)
    assert given.equal(before) or np.isnan(value)
    assert level[95, 131, 2] == {-0.1: 0, 1.1: 1, 0.5: 0.5}.get(value, 0)


def test_levels_of_levels(photo):
    pyramid = Pyramid(torch.from_numpy(photo), 2)
    assert pyramid.level(8).shape == (12, 16, 3)
    expected = cv2.resize(photo[:96, :128], (16, 12), interpolation=cv2.INTER_AREA)
    assert np.abs(pyramid.level(8).numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("reduction", [1, 2])
def test_a_part_at_the_photos_own_scale_is_a_copy(photo, reduction):
    parts = Pyramid(torch.from_numpy(photo), reduction).parts([square(1, 7, 5), square(1, 40, 30)], 32, "zeros")
    assert np.abs(parts[0].numpy() - photo[5:37, 7:39]).max() < 1e-5
    assert np.abs(parts[1].numpy() - photo[30:62, 40:72]).max() < 1e-5


def test_what_lies_beyond_the_photo(photo):
    pyramid = Pyramid(torch.from_numpy(photo), 2)
    (black,) = pyramid.parts([square(1, -10, 4)], 32, "zeros")
    (repeated,) = pyramid.parts([square(1, -10, 4)], 32, "border")
    assert black[:, :10].max() < 1e-5
    assert np.abs(repeated[:, :10].numpy() - photo[4:36, :1]).max() < 1e-5
    assert torch.allclose(black[:, 10:], repeated[:, 10:], atol=1e-5)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_part_turned_by_quarters_is_the_turned_part(photo, degrees):
    turned = square(1, 0, 0, degrees)
    turned[:, 2] = (60, 44) - turned[:, :2] @ (16, 16)  # around the middle of a square at (44, 28)
    (part,) = Pyramid(torch.from_numpy(photo), 1).parts([turned], 32, "zeros")
    assert np.abs(part.numpy() - np.rot90(photo[28:60, 44:76], degrees // 90)).max() < 1e-5


def test_a_coarse_part_comes_from_a_coarse_level():
    """Stripes of one pixel are grey at a fifth of the size, not an accident of the pixels that are hit."""
    stripes = torch.zeros(400, 400, 3)
    stripes[:, ::2] = 1
    (part,) = Pyramid(stripes, 1).parts([square(5.1, 10, 10)], 64, "border")
    assert (part - 0.5).abs().max() < 0.01


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("reduction", [1, 2])
def test_a_rotated_photo_has_the_same_pixels(photo, degrees, reduction):
    pyramid = Pyramid(torch.from_numpy(photo), reduction)
    turned, back = pyramid.rotated(degrees)
    assert np.array_equal(turned.level(reduction), np.rot90(pyramid.level(reduction), degrees // 90))
    # Pixels of all detail: the part around a point is that around the same point of the photo, turned.
    point = np.array([40.0, 50.0])
    (seen,) = turned.parts([square(1, *(point - 16))], 32, "zeros")
    x, y = np.round(back[:, :2] @ point + back[:, 2]).astype(int)
    assert np.abs(seen.numpy() - np.rot90(photo[y - 16 : y + 16, x - 16 : x + 16], degrees // 90)).max() < 1e-5


def test_a_tilted_photo_is_whole():
    photo = torch.zeros(200, 300, 3)
    photo[:4, :4] = photo[196:, 296:] = 1
    turned, back = Pyramid(photo, 1).rotated(30)
    assert (turned.width, turned.height) == (360, 323)
    y, x = np.nonzero(turned.level(1)[:, :, 0].numpy() > 0.5)
    found = np.stack([x, y], 1) + 0.5
    off = np.linalg.norm((found @ back[:, :2].T + back[:, 2])[:, None] - [(2, 2), (298, 198)], axis=2)
    assert off.min(axis=1).max() < 3
    assert (off < 3).sum(axis=0).min() >= 12


@pytest.mark.parametrize("reduction", [1, 2])
def test_everything_happens_on_the_photos_device(reduction):
    """On a pretended device, mixing it with the CPU raises, and so does asking for a value."""
    with FakeTensorMode():
        pyramid = Pyramid(torch.empty(301, 403, 3, device="cuda"), reduction)
        for photo in (pyramid, pyramid.rotated(90)[0], pyramid.rotated(30)[0]):
            parts = photo.parts([square(0.5, 1, 2), square(1, 3, 4, 30), square(9, 0, 0)], 32, "border")
            made = (photo.level(4), parts, enlarged(parts, 2))
            assert {tensor.device.type for tensor in made} == {"cuda"}
            assert made[2].shape == (3, 64, 64, 3)


def test_enlarging_is_opencvs_bicubic_interpolation(photo):
    expected = np.clip(cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), 0, 1)
    assert np.abs(enlarged(torch.from_numpy(photo)[None], 2)[0].numpy() - expected).max() < 1e-5


@pytest.mark.skipif(torch.get_num_threads() == 1, reason="needs more than one thread")
@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime"])
def test_on_a_cpu_large_operations_run_in_threads_of_their_own(runtime, detector_weights, monkeypatch):
    """PyTorch's threads wait for one another at every operation, and another program may delay each by milliseconds."""
    large = torch.rand(600, 800, 3, generator=torch.manual_seed(0))
    if runtime == "pytorch":
        monkeypatch.setattr("gpen.faces.detection.yunet.in_onnx_runtime", lambda network: None)
    network = YuNet(detector_weights / "face_detection_yunet_2023mar.onnx")
    with _LargeOperations(10_000) as here:
        pyramid = Pyramid(large, 1, 2)
        pyramid.rotated(30)
        pyramid.level(4)
        parts = enlarged(pyramid.parts([square(1, 7, 5, 20)], 200, "border"), 2)
        network.find([pyramid.level(1), *parts], 0.5)
    assert parts.shape == (1, 400, 400, 3)
    assert here.names == []


class _LargeOperations(TorchDispatchMode):
    """The operations of this thread that compute or copy more than ``most`` numbers."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view and not func.name().startswith(("aten::new_empty", "aten::rand", "aten::lift_fresh")):
            self.names += [func.name() for one in tree_leaves(out) if torch.is_tensor(one) and one.numel() > self.most]
        return out

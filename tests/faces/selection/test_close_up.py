"""Close-ups: the same pixels whatever the size of the face, also where a large one is averaged first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gpen.errors import FaceError
from gpen.faces.align import TEMPLATES, crop_face
from gpen.faces.face import Face
from gpen.faces.resampling.transforms import apply
from gpen.faces.selection.close_up import LEFT, SIZE, TOP, close_up, close_up_matrix
from gpen.images.tensors import DevicePhoto, as_array

CPU = torch.device("cpu")


def face_in(side: float, x: float, y: float, degrees: float = 0.0) -> Face:
    """A face whose crop is a square of this side, in pixels of the photo, around (x, y)."""
    turn = np.exp(1j * np.radians(degrees))
    points = ((TEMPLATES["gpen"] - 0.5) @ (1, 1j)) * side * turn + (x + 1j * y)
    return Face(
        (x - side / 4, y - side / 4, x + side / 4, y + side / 4), 0.9, np.stack([points.real, points.imag], axis=1)
    )


def waves(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    return np.stack([0.5 + 0.4 * np.sin(25 * x + 9 * y), 0.5 + 0.4 * np.cos(31 * y), x], axis=2).astype(np.float32)


@pytest.mark.parametrize("side", [100, 300, 520, 800, 1100, 1700])
@pytest.mark.parametrize("degrees", [0, 37])
def test_it_shows_what_the_matrix_says(side: int, degrees: float, each_implementation: str) -> None:
    photo = waves(2400)
    face = face_in(side, 1210.3, 1180.6, degrees)
    found = as_array(close_up(DevicePhoto(photo, CPU), face))
    assert found.shape == (SIZE, SIZE, 3)
    # The landmarks lie where the template says.
    expected = TEMPLATES["gpen"] * 256 - [LEFT, TOP]
    assert np.abs(apply(close_up_matrix(face), face.landmarks) - expected).max() < 1e-6
    exact = as_array(crop_face(DevicePhoto(photo, CPU), close_up_matrix(face), SIZE))
    assert np.abs(found - exact)[8:-8, 8:-8].max() < 1.5 / 255
    grey = close_up(DevicePhoto(photo, CPU), face, is_luma=True)
    assert grey.shape == (SIZE, SIZE, 1)
    assert np.abs(as_array(grey)[..., 0] - found @ np.float32([0.299, 0.587, 0.114])).max() < 1e-5


def test_at_the_edge_of_a_photo(each_implementation: str) -> None:
    photo = waves(1200)
    face = face_in(1500, 150, 1100)
    exact = as_array(crop_face(DevicePhoto(photo, CPU), close_up_matrix(face), SIZE))
    # Mirrored about the edge of an averaged pixel instead of a pixel.
    assert np.abs(as_array(close_up(DevicePhoto(photo, CPU), face)) - exact).mean() < 3 / 255


@pytest.mark.parametrize("side", [100, 1e5])
def test_a_face_that_cannot_be_cropped(side: float) -> None:
    photo = DevicePhoto(waves(300), CPU)
    face = face_in(side, 1e7, 1e7) if side > 1000 else Face((0, 0, 1, 1), 1.0, np.zeros((5, 2)))
    with pytest.raises(FaceError):
        close_up(photo, face)

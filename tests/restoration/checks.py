"""Checks of a restoration whose result is known. Each raises AssertionError if it fails."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gpen.faces.align import TEMPLATES
from gpen.faces.resampling.transforms import apply
from gpen.images.picture import FloatImage
from gpen.images.tensors import as_array
from gpen.restoration.result import Restoration

MATRIX = np.array([[0.5, 0.25, -0.1], [-0.15, 0.6, 0.2], [0.3, 0.05, 0.25]])
BIAS = np.array([-0.1, 0.05, 0.2])
"""Bias of the marker weights, in the network's range -1 to 1. With this matrix and bias no colour is clipped."""


def passed_through(restoration: Restoration, expected: FloatImage, largest: float = 6, mean: float = 0.5) -> None:
    """Inside the masks almost the expected photo, outside exactly. Bounds in 255ths."""
    inside = restoration.mask > 0
    error = np.abs(restoration.photo - expected) * 255
    assert restoration.faces
    assert inside.any()
    assert not inside.all()
    assert np.array_equal(restoration.photo[~inside], expected[~inside])
    assert error[inside].max() <= largest
    assert error[inside].mean() <= mean


def marked(restoration: Restoration, photo: FloatImage, largest: float = 6, mean: float = 0.75) -> None:
    """Inside the masks the marker weights' colours of the photo, computed here without the network."""
    colored = (((photo * 2 - 1) @ MATRIX.T + BIAS) + 1) / 2
    assert colored.min() > 0
    assert colored.max() < 1
    mask = restoration.mask[..., None]
    expected = photo * (1 - mask) + colored * mask
    inside = restoration.mask > 0
    error = np.abs(restoration.photo - expected) * 255
    assert np.array_equal(restoration.photo[~inside], photo[~inside])
    assert error[inside].max() <= largest
    assert error[inside].mean() <= mean
    assert np.abs(colored - photo)[restoration.mask > 0.9].mean() > 0.05


def masks_cover_faces(restoration: Restoration) -> None:
    """The landmarks of every restored face lie where the mask is 1."""
    for face in restoration.faces:
        for x, y in np.rint(face.face.landmarks).astype(int):
            assert restoration.mask[y, x] > 0.95


def landmarks_on_template(restoration: Restoration, size: int, template: str = "gpen", largest: float = 0.01) -> None:
    """For faces that are exact similarities of the template: landmarks lie at t x size in the crop. Bound in pixels."""
    for face in restoration.faces:
        landed = apply(face.matrix, face.face.landmarks)
        assert np.abs(landed - TEMPLATES[template] * size).max() <= largest


class LeftHalf:
    """A parser that marks the left half of every crop as face, and records the crops."""

    def __init__(self) -> None:
        self.seen: list[FloatImage] = []

    def parse(self, crop: Tensor) -> Tensor:
        self.seen.append(as_array(crop))
        half = torch.zeros(512, 512)
        half[:, :256] = 1
        return half

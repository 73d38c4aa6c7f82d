"""Masks in the crop: where they are full, where they end, and how soft they are."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpen.errors import OptionError
from gpen.faces.align import TEMPLATES
from gpen.faces.masks.mask import FACE_HEIGHT, MARGIN, SIZE, SMALLEST_FEATHER, face_mask, mask_area
from gpen.images.tensors import as_array, as_tensor
from tests import pretended

SHAPES = ["ellipse", "box", "parsed"]


def make(shape: str, feather: float = 0.1, template: str = "gpen") -> NDArray[np.float32]:
    return mask_of(shape, TEMPLATES[template], feather)


def mask_of(shape: str, landmarks: NDArray[np.float64], feather: float) -> NDArray[np.float32]:
    return as_array(face_mask(shape, landmarks, feather, torch.device("cpu"), as_tensor(parsed_face())))


def parsed_face() -> NDArray[np.float32]:
    y, x = np.mgrid[:SIZE, :SIZE]
    return (np.hypot((x - 256) / 0.8, y - 280) < 170).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("template", ["gpen", "ffhq"])
@pytest.mark.parametrize("feather", [0.0, 0.1, 0.3, 0.5])
def test_masks_are_soft_between_0_and_1_and_end_before_the_border(shape: str, template: str, feather: float) -> None:
    mask = make(shape, feather, template)
    assert mask.shape == (SIZE, SIZE)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) == 0
    assert np.abs(np.diff(mask, axis=0)).max() < 0.6  # no hard edge anywhere, also without feather


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("template", ["gpen", "ffhq"])
def test_eyes_nose_and_mouth_are_restored_in_full(shape: str, template: str) -> None:
    mask = make(shape, 0.1, template)
    for x, y in np.rint(TEMPLATES[template] * SIZE).astype(int):
        assert mask[y, x] > 0.99


@pytest.mark.parametrize("shape", ["ellipse", "box"])
@pytest.mark.parametrize("feather", [0.05, 0.1, 0.2])
def test_the_feather_is_a_fraction_of_the_face_height(shape: str, feather: float) -> None:
    row = make(shape, feather)[290, :256]
    soft = np.count_nonzero((row > 0.001) & (row < 0.999))
    eyes, mouth = TEMPLATES["gpen"][:2].mean(axis=0), TEMPLATES["gpen"][3:].mean(axis=0)
    height = FACE_HEIGHT * np.linalg.norm(mouth - eyes) * SIZE
    assert soft == pytest.approx(feather * height, rel=0.25)


def test_the_ellipse_follows_the_landmarks() -> None:
    moved = mask_of("ellipse", TEMPLATES["gpen"] + (0.1, -0.08), 0.1)
    shifted = np.roll(make("ellipse"), (round(-0.08 * SIZE), round(0.1 * SIZE)), axis=(0, 1))
    assert np.abs(moved - shifted)[60:-60, 60:-60].max() < 0.05

    center = TEMPLATES["gpen"].mean(axis=0)
    smaller = mask_of("ellipse", center + (TEMPLATES["gpen"] - center) * 0.7, 0.1)
    assert smaller.sum() == pytest.approx(make("ellipse").sum() * 0.49, rel=0.05)

    angle = 0.5
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = mask_of("ellipse", center + (TEMPLATES["gpen"] - center) * 0.7 @ turn.T, 0.1)
    y, x = np.mgrid[:SIZE, :SIZE]
    weights = turned / turned.sum()
    dx, dy = x - (x * weights).sum(), y - (y * weights).sum()
    # The long axis turns with the face, by the same angle from straight down.
    long_axis = 0.5 * np.arctan2(2 * (weights * dx * dy).sum(), (weights * (dx**2 - dy**2)).sum())
    assert abs(abs(long_axis) - (np.pi / 2 - angle)) % np.pi == pytest.approx(0, abs=0.06)


def test_a_profile_keeps_the_width_of_a_head() -> None:
    """In a profile the eyes nearly coincide; the ellipse must not become a stripe."""
    profile = TEMPLATES["gpen"].copy()
    middle = profile[:2, 0].mean()
    profile[:, 0] = middle + (profile[:, 0] - middle) * 0.2
    mask = mask_of("ellipse", profile, 0.1)
    assert np.count_nonzero(mask[280] > 0.5) > 0.35 * SIZE


def test_a_parsed_mask_follows_the_parser_and_needs_one() -> None:
    mask = make("parsed", 0.05)
    assert mask[280, 256] > 0.99
    assert mask[60, 60] < 0.01
    assert 0.4 < mask[280, 256 + 136] < 0.6
    with pytest.raises(OptionError, match="parser"):
        face_mask("parsed", TEMPLATES["gpen"], 0.1, torch.device("cpu"))


@pytest.mark.parametrize("feather", [0.0, 0.1, 0.5, 2.0])
def test_a_parsed_mask_is_blurred_like_opencv_does(feather: float) -> None:
    parsed = np.random.default_rng(0).integers(0, 2, (SIZE, SIZE)).astype(np.float32)
    landmarks = TEMPLATES["gpen"]
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    height = FACE_HEIGHT * float(np.linalg.norm(mouth - eyes)) * SIZE
    end = math.ceil(MARGIN * SIZE)
    inside = np.zeros_like(parsed)
    inside[end:-end, end:-end] = parsed[end:-end, end:-end]
    blurred = cv2.GaussianBlur(inside, (0, 0), max(feather, SMALLEST_FEATHER) * height / 4)
    mask = as_array(face_mask("parsed", landmarks, feather, torch.device("cpu"), as_tensor(parsed)))
    # Farther from the border than the mask is faded out for.
    assert np.abs(mask - blurred)[end:-end, end:-end].max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.2)])
@pytest.mark.parametrize("angle", [0.0, 0.5, 2.0])
def test_the_area_of_a_mask_is_known_without_looking(shape: str, offset: tuple[float, float], angle: float) -> None:
    center = TEMPLATES["gpen"].mean(axis=0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = center + (TEMPLATES["gpen"] - center) @ turn.T + offset
    # So much feather that a parsed mask reaches everywhere.
    mask = mask_of(shape, landmarks, 0.5)
    for axis, area in zip((1, 0), mask_area(shape, landmarks), strict=True):
        found = np.flatnonzero(mask.any(axis=axis))
        assert 0 <= found[0] - area.start <= 3
        assert 0 <= area.stop - 1 - found[-1] <= 3


def test_a_face_beside_the_crop_leaves_the_mask_empty() -> None:
    assert not mask_of("ellipse", TEMPLATES["gpen"] + (3.0, 0.0), 0.1).any()
    assert mask_of("ellipse", TEMPLATES["gpen"] + (0.4, 0.0), 0.1).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_are_made_on_the_device(shape: str) -> None:
    """On a pretended CUDA device, without waiting for it."""
    with pretended.cuda():
        device = torch.device("cuda")
        parsed = torch.zeros((SIZE, SIZE), device=device)
        with pretended.stays_on_the_device():
            mask = face_mask(shape, TEMPLATES["gpen"], 0.1, device, parsed)
    assert mask.device.type == "cuda"
    assert mask.dtype == torch.float32

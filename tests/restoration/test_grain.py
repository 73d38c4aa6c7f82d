"""Grain through the whole pipeline, with a network that takes some of it away."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gpen.faces.align import crop_face, place
from gpen.faces.face import Face
from gpen.images.picture import FloatImage
from gpen.images.tensors import DevicePhoto, as_array
from gpen.options import Options
from gpen.restoration.api import colorize, paste, restore
from gpen.weights.checkpoint import Model
from tests.restoration.conftest import MakeModel
from tests.restoration.markers import aligned_face

SOFTEN = (np.outer((1, 2, 1), (1, 2, 1)) / 16).tolist()
SIGMA = 8 / 255


@pytest.fixture(scope="module")
def clean() -> FloatImage:
    y, x = np.mgrid[:500, :600].astype(np.float32)
    return np.stack([0.4 + x / 3000, 0.35 + y / 3000, 0.5 - x / 4000], axis=2)


@pytest.fixture(scope="module")
def photo(clean: FloatImage) -> FloatImage:
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    return (clean + noise).astype(np.float32)


@pytest.fixture(scope="module")
def softening(make_model: MakeModel) -> Model:
    return make_model(256, kernel=SOFTEN)


FACE = aligned_face(260, 170, 110)


def deviation(result: FloatImage, clean: FloatImage, mask: FloatImage) -> float:
    """The standard deviation of the noise within a face, relative to the photo's."""
    return float((result - clean)[mask > 0.98].std()) / SIGMA


def test_the_grain_that_the_network_took_away_comes_back(
    clean: FloatImage, photo: FloatImage, softening: Model
) -> None:
    plain, grainy = (restore(photo, softening, [FACE], Options(grain=amount)) for amount in (0.0, 1.0))
    assert deviation(plain.photo, clean, plain.mask) < 0.6
    assert deviation(grainy.photo, clean, plain.mask) == pytest.approx(1, abs=0.06)
    assert np.array_equal(plain.mask, grainy.mask)
    assert np.array_equal(grainy.photo[grainy.mask == 0], photo[grainy.mask == 0])
    assert np.array_equal(plain.faces[0].after, grainy.faces[0].after)


def test_at_another_strength_it_is_that_of_a_run_with_it(photo: FloatImage, softening: Model) -> None:
    kept = restore(photo, softening, [FACE], Options(grain=1.0), keep_layers=True)
    for strength in (0.0, 0.4, 1.0):
        options = Options(grain=1.0, strength=strength)
        assert np.array_equal(kept.with_strength(strength).photo, restore(photo, softening, [FACE], options).photo)


def test_crops_that_are_pasted_get_it_too(clean: FloatImage, photo: FloatImage) -> None:
    placement = place(FACE, 512, "gpen")
    crop = as_array(crop_face(DevicePhoto(clean, torch.device("cpu")), placement.matrix, 512))
    for amount, expected in ((0.0, 0.0), (1.0, 1.0)):
        result, mask = paste(photo, [(placement, crop)], Options(grain=amount, mask="ellipse"))
        assert deviation(result, clean, mask) == pytest.approx(expected, abs=0.05)


def test_in_an_enlarged_photo_it_is_that_of_the_enlarged_photo(photo: FloatImage, softening: Model) -> None:
    plain, grainy = (restore(photo, softening, [FACE], Options(grain=amount, upscale=2.0)) for amount in (0.0, 1.0))
    around = np.diff(grainy.photo[60:140, 300:800], axis=1).std()
    inside = slice(400, 520), slice(500, 700)
    before, after = (np.diff(result.photo[inside], axis=1).std() for result in (plain, grainy))
    assert before < 0.7 * around
    assert after == pytest.approx(around, rel=0.15)


def test_other_tasks_have_none(photo: FloatImage, colorizer: Model) -> None:
    plain, grainy = (colorize(photo, colorizer, [FACE], Options(grain=amount)) for amount in (0.0, 1.0))
    assert np.array_equal(plain.photo, grainy.photo)


def test_faces_of_a_few_pixels_are_no_error(photo: FloatImage, softening: Model) -> None:
    tiny = [Face(face.box, 0.9, face.landmarks) for face in (aligned_face(9, 20, 20), aligned_face(20, 100, 40))]
    assert len(restore(photo, softening, tiny, Options(grain=1.0)).faces) == 2

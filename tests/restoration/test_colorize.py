"""Colorizing real photos: the network's chroma at the photo's own luma."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gpen.errors import OptionError
from gpen.images.picture import FloatImage
from gpen.images.tensors import as_array, as_tensor, luma
from gpen.options import Options
from gpen.restoration.api import colorize
from gpen.restoration.processors import with_luma_of
from gpen.restoration.result import Restoration
from tests.restoration.markers import LUMA, aligned_face, marked


def only_chroma_changed(result: Restoration, photo: FloatImage) -> None:
    assert np.abs(result.photo @ LUMA - photo @ LUMA).max() <= 2e-6
    outside = result.mask == 0
    assert np.array_equal(result.photo[outside], photo[outside])
    assert result.photo.min() >= 0
    assert result.photo.max() <= 1
    # As stored in an 8-bit file, where each channel is rounded by itself.
    stored = np.rint(result.photo * 255) / 255
    assert np.abs(stored @ LUMA - photo @ LUMA).max() <= 0.5001 / 255


def coloured(photo: FloatImage, mask: FloatImage) -> FloatImage:
    """The expected result, computed per pixel without the product's code; NaN outside the gamut."""
    grey = (photo @ LUMA)[..., None]
    network = marked(np.repeat(grey, 3, axis=2))
    chroma = (photo - grey) * (1 - mask[..., None]) + (network - (network @ LUMA)[..., None]) * mask[..., None]
    expected = grey + chroma
    return np.where(((expected >= 0) & (expected <= 1)).all(axis=2, keepdims=True), expected, np.nan)


def test_grey_photo_with_many_faces(solvay, colorizer, yunet):
    result = colorize(solvay.photo, colorizer, yunet)
    assert result.summary == "29 faces colorized."
    only_chroma_changed(result, solvay.photo)
    expected = coloured(solvay.photo, result.mask)
    inside = (result.mask > 0) & ~np.isnan(expected).any(axis=2)
    assert inside.sum() > 0.9 * (result.mask > 0).sum()
    error = np.abs(result.photo - expected)[inside] * 255
    # The network's colours follow the crop, which is resampled twice.
    assert np.quantile(error, 0.999) <= 6
    assert error.mean() <= 0.5
    middle = result.mask > 0.99
    assert (result.photo[middle] - result.photo[middle] @ LUMA[:, None]).std(axis=1).mean() > 0.02


def test_the_network_sees_grey_and_its_colours_replace_those_of_the_photo(portrait, colorizer, yunet):
    result = colorize(portrait.photo, colorizer, yunet)
    (face,) = result.faces
    assert np.ptp(face.before, axis=2).max() == 0
    only_chroma_changed(result, portrait.photo)
    expected = coloured(portrait.photo, result.mask)
    inside = (result.mask > 0.99) & ~np.isnan(expected).any(axis=2)
    # A crop of 256 pixels does not hold the finest detail of this photo, but colour follows the coarse luma closely.
    assert np.abs(result.photo - expected)[inside].mean() * 255 <= 1.5


def test_a_network_without_colours_leaves_grey_grey(grey_portrait, make_model, yunet):
    result = colorize(grey_portrait.photo, make_model(256, "colorize"), yunet)
    assert result.faces
    assert np.abs(result.photo - grey_portrait.photo).max() <= 1e-5


def test_strength_and_upscale(grey_portrait, colorizer):
    small = cv2.resize(grey_portrait.photo, (300, 300), interpolation=cv2.INTER_AREA)
    face = [aligned_face(280, 10, 10)]
    full = colorize(small, colorizer, face)
    half = colorize(small, colorizer, face, Options(strength=0.5))
    only_chroma_changed(half, small)
    in_gamut = ~np.isnan(coloured(small, full.mask)).any(axis=2)
    assert np.abs((half.photo - small) * 2 - (full.photo - small))[in_gamut].max() <= 1e-5
    large = colorize(small, colorizer, face, Options(upscale=2))
    assert large.photo.shape == (600, 600, 3)
    only_chroma_changed(large, np.clip(cv2.resize(small, (600, 600), interpolation=cv2.INTER_LANCZOS4), 0, 1))


def test_aligned_portrait_is_coloured_up_to_its_border(grey_portrait, colorizer):
    photo = grey_portrait.photo
    seen = []
    result = colorize(photo, colorizer, None, on_progress=lambda *step: seen.append(step[:2]))
    assert (result.mask == 1).all()
    assert seen == [(0, 1), (1, 1)]
    only_chroma_changed(result, photo)
    expected = coloured(photo, result.mask)
    inside = ~np.isnan(expected).any(axis=2)
    assert np.abs(result.photo - expected)[inside].mean() * 255 <= 1.5
    edge = np.abs(result.photo - expected)[0][inside[0]]
    assert edge.mean() * 255 <= 2


def test_an_aligned_portrait_has_no_region_and_its_result_is_new(photo_with_face, colorizer):
    photo = photo_with_face[0][:, :300].copy()
    with pytest.raises(OptionError, match="leave the region out"):
        colorize(photo, colorizer, None, region=np.zeros((300, 300), np.float32))
    stopped = colorize(photo, colorizer, None, on_progress=lambda *_: False)
    assert stopped.photo is not photo
    assert np.array_equal(stopped.photo, photo)
    (face,) = colorize(photo, colorizer, None, keep_crops=False).faces
    assert (face.before, face.after) == (None, None)


def test_chroma_is_reduced_where_a_colour_would_leave_the_gamut():
    rng = np.random.default_rng(3)
    photo = np.repeat(rng.choice([0, 0.02, 0.3, 0.98, 1], (40, 40, 1)), 3, axis=2).astype(np.float32)
    colors = rng.uniform(0, 1, (40, 40, 3)).astype(np.float32)
    result = as_array(with_luma_of(as_tensor(colors), as_tensor(photo)))
    assert result.min() >= -1e-6
    assert result.max() <= 1 + 1e-6
    lumas = [as_array(luma(as_tensor(picture))) for picture in (result, photo, colors)]
    assert np.abs(lumas[0] - lumas[1]).max() <= 1e-6
    chroma, wanted = result - lumas[0][..., None], colors - lumas[2][..., None]
    # The same hue: chroma is scaled by a factor from 0 to 1, the largest that fits.
    factor = (chroma * wanted).sum(axis=2) / np.square(wanted).sum(axis=2)
    assert factor.min() >= -1e-5
    assert factor.max() <= 1 + 1e-5
    assert np.abs(chroma - factor[..., None] * wanted).max() <= 1e-5
    touches = (np.minimum(result, 1 - result).min(axis=2) <= 1e-5) | (factor >= 1 - 1e-4)
    assert touches.all()
    assert 0.05 < (factor > 0.99).mean() < 0.95

"""Crops taken from a photo and pasted back on their own, into the photo or into the same one enlarged."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from gpen.errors import OptionError, PhotoError
from gpen.faces.align import TEMPLATES, Placement, place
from gpen.faces.face import Face
from gpen.faces.resampling.transforms import apply
from gpen.images import Picture
from gpen.images.picture import FloatImage
from gpen.images.resize import resize
from gpen.options import Options
from gpen.restoration.api import paste, restore
from gpen.weights.checkpoint import Model
from tests.arrays import crop_face
from tests.restoration import checks


@pytest.fixture
def photo() -> FloatImage:
    """Smooth, so that resampling it twice changes almost nothing."""
    y, x = np.mgrid[:160, :420].astype(np.float32)
    waves = [0.5 + 0.2 * np.sin(x / (25 + 6 * c) + c) + 0.1 * np.cos(y / (15 + 3 * c)) for c in range(3)]
    return np.stack(waves, axis=2).astype(np.float32)


def face_at(x: float, y: float = 80, scale: float = 0.35, angle: float = 0) -> Face:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (TEMPLATES["gpen"] - 0.55) * 256 * scale @ turn.T + (x, y)
    return Face((x - 90 * scale, y - 110 * scale, x + 90 * scale, y + 110 * scale), 0.9, landmarks)


FACES = (face_at(80), face_at(210, 85, 0.3, 0.5), face_at(340, 70, 0.4, -0.3))


def crops_of(photo: FloatImage, size: int = 256, faces: tuple[Face, ...] = FACES) -> list[tuple[Placement, FloatImage]]:
    placements = [place(face, size, "gpen") for face in faces]
    return [(placement, crop_face(photo, placement.matrix, placement.size)) for placement in placements]


def came_back(
    result: FloatImage, mask: FloatImage, photo: FloatImage, largest: float = 1.5, mean: float = 0.25
) -> None:
    """Almost the photo inside the masks, exactly the photo outside. Bounds in 255ths."""
    inside = mask > 0
    error = np.abs(result - photo) * 255
    assert inside.any()
    assert np.array_equal(result[~inside], photo[~inside])
    assert 0 < error[inside].max() <= largest
    assert error[inside].mean() <= mean


@pytest.mark.parametrize("mask", ["ellipse", "box"])
@pytest.mark.parametrize("size", [128, 256, 512])
def test_unchanged_crops_give_the_photo_back(photo: FloatImage, mask: str, size: int) -> None:
    before = photo.copy()
    crops = crops_of(photo, size)
    copies = [crop.copy() for _, crop in crops]
    result, weights = paste(photo, crops, Options(mask=mask))
    came_back(result, weights, photo)
    assert np.array_equal(photo, before)
    assert not np.shares_memory(result, photo)
    assert all(np.array_equal(crop, copy) for (_, crop), copy in zip(crops, copies, strict=True))
    assert result.dtype == weights.dtype == np.float32
    for x, y in (FACES[0].center, FACES[1].center, FACES[2].center):
        assert weights[round(y), round(x)] > 0.95


def test_unchanged_crops_of_a_real_photo_give_it_back(solvay: Picture, yunet: Any) -> None:
    faces = tuple(yunet.detect(solvay.photo))
    assert len(faces) == 29
    result, weights = paste(solvay.photo, crops_of(solvay.photo, 256, faces))
    came_back(result, weights, solvay.photo, 6, 0.5)


def test_pasting_is_the_second_half_of_restoring(photo: FloatImage, make_model: Any) -> None:
    """Pasting the restored crops gives the same photo as restoring."""
    model: Model = make_model(color_matrix=checks.MATRIX.tolist(), color_bias=checks.BIAS.tolist())
    for options in (Options(), Options(mask="box", feather=0.3), Options(strength=0.4), Options(color_match=True)):
        whole = restore(photo, model, FACES, options)
        untouched = restore(photo, model, FACES, Options()).faces
        crops = [(place(face.face, 256, "gpen"), face.after) for face in untouched if face.after is not None]
        result, weights = paste(photo, crops, options)
        assert np.array_equal(result, whole.photo)
        assert np.array_equal(weights, whole.mask)


def test_crops_resized_since_they_were_taken(photo: FloatImage) -> None:
    crops = [
        (placement, resize(crop, (size, size)))
        for (placement, crop), size in zip(crops_of(photo), (96, 256, 700), strict=True)
    ]
    result, weights = paste(photo, crops)
    came_back(result, weights, photo)
    same, same_weights = paste(photo, crops_of(photo))
    assert np.array_equal(weights, same_weights)
    assert np.abs(result - same).max() * 255 < 1


@pytest.mark.parametrize(("width", "height"), [(840, 320), (630, 240), (421, 161), (1260, 479)])
def test_crops_pasted_into_the_photo_at_another_size(photo: FloatImage, width: int, height: int) -> None:
    large = cv2.resize(photo, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = width / 420, height / 160
    crops = [(placement.in_photo_scaled(x, y), crop) for placement, crop in crops_of(photo)]
    result, weights = paste(large, crops)
    came_back(result, weights, large)
    for face in FACES:
        left, top = face.scaled(x, y).center
        assert weights[round(top), round(left)] > 0.95


def test_a_placement_in_the_enlarged_photo_is_the_same_square() -> None:
    placement = place(FACES[1], 256, "gpen")
    scaled = placement.in_photo_scaled(2, 3)
    assert scaled.size == 256
    assert scaled.landmarks == pytest.approx(placement.landmarks)
    # Pixel centres are at integers: the photo's corner is at -1/2 before and after.
    points = np.array([(-0.5, -0.5), (10, 20), (419.5, 159.5)])
    enlarged = np.array([(-0.5, -0.5), (20.5, 61), (839.5, 479.5)])
    assert apply(scaled.matrix, enlarged) == pytest.approx(apply(placement.matrix, points))
    back = scaled.in_photo_scaled(1 / 2, 1 / 3)
    assert back.matrix == pytest.approx(placement.matrix)
    assert back.face.landmarks == pytest.approx(placement.face.landmarks)


def test_a_face_in_the_enlarged_photo_covers_the_same_pixels() -> None:
    face = Face((-0.5, 9.5, 19.5, 39.5), 0.8, np.array([[0, 0], [9.5, 19.5], [3, 4], [5, 6], [7, 8]], float))
    scaled = face.scaled(2, 4)
    assert scaled.box == (-0.5, 39.5, 39.5, 159.5)
    assert (scaled.width, scaled.height, scaled.score) == (40, 120, 0.8)
    assert scaled.landmarks[:2].tolist() == [[0.5, 1.5], [19.5, 79.5]]
    assert face.landmarks[0].tolist() == [0, 0]
    assert scaled.scaled(0.5, 0.25).box == face.box


def test_strength_blends_the_crops(photo: FloatImage) -> None:
    painted = [(placement, np.zeros_like(crop)) for placement, crop in crops_of(photo)]
    whole, weights = paste(photo, painted)
    part, part_weights = paste(photo, painted, Options(strength=0.25))
    assert np.allclose(part - photo, 0.25 * (whole - photo), atol=1e-6)
    assert np.allclose(part_weights, 0.25 * weights)
    nothing, no_weights = paste(photo, painted, Options(strength=0))
    assert np.array_equal(nothing, photo)
    assert not no_weights.any()
    for face in FACES:
        x, y = (round(value) for value in face.center)
        assert whole[y, x].max() < 1e-3


def test_matching_colours_brings_the_photos_colours_back(photo: FloatImage) -> None:
    tinted = [
        (placement, np.clip(crop * 0.8 + (0.2, 0, -0.1), 0, 1).astype(np.float32))
        for placement, crop in crops_of(photo)
    ]
    plain, weights = paste(photo, tinted)
    matched, _ = paste(photo, tinted, Options(color_match=True))
    inside = weights > 0.95
    off = np.abs(plain[inside].mean(axis=0) - photo[inside].mean(axis=0)).max()
    left = np.abs(matched[inside].mean(axis=0) - photo[inside].mean(axis=0)).max()
    assert off > 0.1
    assert left < 0.02
    assert np.array_equal(matched[weights == 0], photo[weights == 0])


def test_without_crops_the_photo_comes_back(photo: FloatImage) -> None:
    result, weights = paste(photo, [])
    assert np.array_equal(result, photo)
    assert not weights.any()


def test_the_parsed_mask_is_parsed_from_the_changed_crop(photo: FloatImage) -> None:
    (placement, crop), parser = crops_of(photo)[0], checks.LeftHalf()
    result, weights = paste(photo, [(placement, 1 - crop)], Options(mask="parsed"), parser=parser)
    assert np.array_equal(parser.seen[0], 1 - crop)
    assert weights[80, 60] > 0.95
    assert weights[80, 110] == pytest.approx(0, abs=0.05)
    assert np.array_equal(result[weights == 0], photo[weights == 0])


def test_the_mask_auto_is_parsed_with_a_parser_and_else_an_ellipse(photo: FloatImage) -> None:
    crops = [(placement, 1 - crop) for placement, crop in crops_of(photo)]
    for parser, mask in ((checks.LeftHalf(), "parsed"), (None, "ellipse")):
        chosen, auto = (paste(photo, crops, Options(mask=name), parser=parser) for name in (mask, "auto"))
        assert all(np.array_equal(one, other) for one, other in zip(chosen, auto, strict=True))


def test_the_parsed_mask_needs_a_parser(photo: FloatImage) -> None:
    with pytest.raises(OptionError, match="needs a face parser"):
        paste(photo, crops_of(photo), Options(mask="parsed"))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((64, 80, 3), np.float32), "A crop is 80 x 64 pixels; it has to stay a square"),
        (np.zeros((64, 64), np.float32), "The crop is float32 of the shape"),
        (np.zeros((64, 64, 4), np.float32), "The crop is float32 of the shape"),
        (np.zeros((64, 64, 3), np.uint8), "The crop is uint8"),
        (np.full((64, 64, 3), 128, np.float32), "The crop's values go from 128 to 128"),
        (np.full((64, 64, 3), np.nan, np.float32), "The crop's values go from nan"),
    ],
)
def test_an_invalid_crop_is_refused(photo: FloatImage, bad: Any, says: str) -> None:
    good = crops_of(photo)
    with pytest.raises(PhotoError, match=says):
        paste(photo, [good[0], (good[1][0], bad)])


def test_an_invalid_photo_is_refused(photo: FloatImage) -> None:
    with pytest.raises(PhotoError, match="The photo is uint8"):
        paste(np.zeros((160, 420, 3), np.uint8), crops_of(photo))  # type: ignore[arg-type]

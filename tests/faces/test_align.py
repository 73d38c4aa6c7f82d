"""Alignment: the matrix, and where the picture's content really lands."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpen.errors import FaceError
from gpen.faces.align import MAX_REACH, MIN_ALLOWED_REACH, TEMPLATES, crop_matrix, similarity
from gpen.faces.face import Face
from gpen.faces.resampling.transforms import apply, compose, invert, scaling
from tests.arrays import crop_face

pytestmark = pytest.mark.usefixtures("each_implementation")

angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.02, 50)
offsets = st.floats(-5000, 5000)
points = st.lists(st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)), min_size=5, max_size=5)


def similar(template: str, size: int, angle: float, scale: float, x: float, y: float) -> Face:
    """A face whose landmarks are an exact similarity of the template's points in a crop of ``size``."""
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    landmarks = TEMPLATES[template] * size @ turn.T + (x, y)
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return Face((low[0], low[1], high[0], high[1]), 1.0, landmarks)


@given(angles, scales, offsets, offsets, st.sampled_from(["gpen", "ffhq"]), st.sampled_from([256, 512, 1024, 2048]))
def test_landmarks_lie_at_the_template_times_the_size(
    angle: float, scale: float, x: float, y: float, template: str, size: int
) -> None:
    face = similar(template, size, angle, scale, x, y)
    landed = apply(crop_matrix(face, size, template), face.landmarks)
    assert np.abs(landed - TEMPLATES[template] * size).max() <= 0.01


def test_the_templates_are_of_one_face_at_two_sizes() -> None:
    """So that a network for one gets, through the other, a face of the wrong size, but never one that leans."""
    matrix = similarity(TEMPLATES["ffhq"], TEMPLATES["gpen"])
    assert matrix[:, :2] == pytest.approx(0.89 * np.eye(2), abs=0.001)
    assert np.abs(apply(matrix, TEMPLATES["ffhq"]) - TEMPLATES["gpen"]).max() < 0.015
    assert TEMPLATES["gpen"].mean(axis=0) == pytest.approx((0.5, 0.59), abs=0.01)


@given(angles, scales, offsets, offsets)
def test_inverse_after_forward_is_the_identity(angle: float, scale: float, x: float, y: float) -> None:
    face = similar("gpen", 512, angle, scale, x, y)
    matrix = crop_matrix(face, 512, "gpen")
    there_and_back = compose(invert(matrix), matrix)
    assert np.allclose(there_and_back, np.eye(2, 3), atol=1e-6)
    assert np.abs(apply(invert(matrix), apply(matrix, face.landmarks)) - face.landmarks).max() <= 1e-6


@given(points)
@settings(max_examples=200)
def test_the_similarity_is_the_least_squares_one(raw: list[tuple[float, float]]) -> None:
    """Equals the closed form of Umeyama's paper, by SVD, and is never a reflection."""
    source = np.array(raw)
    centered = source - source.mean(axis=0)
    if np.abs(centered).max() < 1:
        return
    target = TEMPLATES["gpen"] * 512
    wanted = target - target.mean(axis=0)
    u, s, vt = np.linalg.svd(wanted.T @ centered / 5)
    sign = np.diag([1, np.sign(np.linalg.det(u @ vt))])
    scale = np.trace(np.diag(s) @ sign) / np.square(centered).sum(axis=1).mean()
    linear = scale * u @ sign @ vt
    if abs(scale) < 1e-9:
        return
    matrix = similarity(source, target)
    assert np.linalg.det(matrix[:, :2]) > 0
    assert np.allclose(matrix[:, :2], linear, atol=1e-6 + 1e-6 * abs(scale))
    assert np.allclose(matrix[:, 2], target.mean(axis=0) - linear @ source.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("landmarks", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_degenerate_landmarks_are_refused(landmarks: NDArray[np.float64]) -> None:
    with pytest.raises(FaceError, match="landmarks"), np.errstate(invalid="ignore"):
        crop_matrix(Face((0, 0, 1, 1), 1.0, landmarks), 512, "gpen")


@pytest.mark.parametrize("apart", [0, 1e-5])
def test_a_mouth_between_the_eyes_is_refused(apart: float) -> None:
    """Though five different points: masks are measured by the distance from the eyes to the mouth."""
    landmarks = np.array([(100, 100), (140, 100), (120, 100), (110, 100 + apart), (130, 100 + apart)])
    with pytest.raises(FaceError, match="mouth lies between its eyes"):
        crop_matrix(Face((90, 80, 150, 120), 1.0, landmarks), 512, "gpen")


def test_landmarks_may_be_a_list_of_points() -> None:
    points = [(100, 100), (140, 100), (120, 120), (105, 140), (135, 140)]
    face = Face((90, 80, 150, 160), 1.0, points)  # type: ignore[arg-type]
    assert face.landmarks.dtype == np.float64
    assert face.landmarks.tolist() == [[x, y] for x, y in points]
    for wrong in (points[:4], [value for point in points for value in point]):
        with pytest.raises(ValueError, match=r"landmarks has the shape \(.*\), which is not \(5, 2\)"):
            Face((90, 80, 150, 160), 1.0, wrong)  # type: ignore[arg-type]


def test_scaling_keeps_pixel_centres() -> None:
    """Enlarged by 2, the centre of the first pixel lies half way between the first two: at 0.5."""
    assert apply(scaling(2), np.array([[0.0, 0.0]])) == pytest.approx(np.array([[0.5, 0.5]]))
    assert compose(scaling(0.5), scaling(2)) == pytest.approx(np.eye(2, 3))


@pytest.mark.parametrize(
    ("size", "scale", "angle"), [(256, 0.31, 0.2), (256, 0.8, -0.6), (256, 2.3, 0.1), (512, 0.15, 3.0)]
)
def test_picture_content_lands_where_the_matrix_says(size: int, scale: float, angle: float) -> None:
    """Blobs drawn at the landmarks have their centres at t x size in the crop: no half pixel is lost."""
    face = similar("gpen", size, angle, scale, 0, 0)
    low = face.landmarks.min(axis=0)
    landmarks = face.landmarks - low + 100.3
    extent = math.ceil(landmarks.max() + 100)
    y, x = np.mgrid[:extent, :extent]
    sigma = max(1.5, 2.0 * scale)
    matrix = crop_matrix(Face(face.box, 1.0, landmarks), size, "gpen")
    rows, columns = np.mgrid[:size, :size]
    for (a, b), point in zip(landmarks, TEMPLATES["gpen"] * size, strict=True):
        blob = np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2)).astype(np.float32)
        crop = crop_face(np.repeat(blob[..., None], 3, axis=2), matrix, size)[..., 1].astype(np.float64)
        # The mirrored part beyond the photo may show the blob again.
        crop[np.hypot(columns - point[0], rows - point[1]) > 6 * sigma / scale] = 0
        center = (columns * crop).sum() / crop.sum(), (rows * crop).sum() / crop.sum()
        assert center == pytest.approx(tuple(point), abs=0.04 / min(1, scale))


def test_the_photo_is_mirrored_beyond_its_edges() -> None:
    noise = np.random.default_rng(0).random((40, 60, 3), dtype=np.float32)
    photo = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5), dtype=np.float32)
    crop = crop_face(photo, np.array([[1.0, 0, 16], [0, 1.0, 16]]), 72)
    mirrored = cv2.copyMakeBorder(photo, 16, 16, 16, 16, cv2.BORDER_REFLECT_101)
    assert np.abs(crop - mirrored[:, :72]).max() < 0.005
    assert np.abs(crop - np.roll(mirrored, 1, axis=1)[:, :72]).max() > 0.03


@pytest.mark.parametrize(
    ("shape", "scale", "x", "y"),
    [
        ((600, 1000), 16.0, 500, 300),
        ((600, 1000), 1.0, 9000, 300),
        ((600, 1000), 1.0, 500, -9000),
        ((1, 1), 9.0, 0, 0),
        ((600, 1000), 1e6, 500, 300),
        ((600, 1000), 1.0, 1e15, 300),
    ],
    ids=["spread", "right of the photo", "above the photo", "one pixel", "spread without end", "far without end"],
)
def test_a_crop_many_times_the_photo_is_refused(shape: tuple[int, int], scale: float, x: float, y: float) -> None:
    """Before any allocation: the mirrored part of some of these would not fit into any memory."""
    face = similar("gpen", 256, 0, scale, x - 128 * scale, y - 128 * scale)
    matrix = crop_matrix(face, 256, "gpen")
    with pytest.raises(FaceError, match=r"so far apart.*Correct or remove it in the faces file"):
        crop_face(np.zeros((*shape, 3), np.float32), matrix, 256)


@pytest.mark.parametrize(("shape", "allowed"), [((30, 900), 3600), ((900, 30), 3600), ((7, 9), 2048)])
def test_a_crop_may_be_larger_than_the_photo_up_to_the_bound(shape: tuple[int, int], allowed: int) -> None:
    assert allowed == max(MAX_REACH * max(shape), MIN_ALLOWED_REACH)
    photo = np.full((*shape, 3), 0.4, np.float32)
    height, width = shape
    for reach, fits in ((allowed - 5, True), (allowed + 5, False)):
        scale = 255 / reach
        matrix = np.array([[scale, 0, 127.5 - scale * width / 2], [0, scale, 127.5 - scale * height / 2]])
        if fits:
            assert np.abs(crop_face(photo, matrix, 256) - 0.4).max() < 1e-3
        else:
            with pytest.raises(FaceError, match=str(allowed)):
                crop_face(photo, matrix, 256)

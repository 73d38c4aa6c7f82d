"""Real photos through passthrough and marker weights: the result is the photo itself, or is computed from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from gpen.faces.detection.detector import FaceDetector, make_detector
from gpen.images import Picture, read_picture
from gpen.images.picture import FloatImage
from gpen.images.resize import enlarge
from gpen.options import Options
from gpen.restoration.api import restore
from gpen.restoration.result import Restoration
from gpen.restoration.upscaler import load_upscaler
from gpen.weights.checkpoint import Model
from tests.restoration import checks
from tests.restoration.upscalers import known_output, known_upscaler


@pytest.mark.parametrize("detector", ["yunet", "retinaface_mobile0.25"])
def test_every_face_of_the_solvay_conference(
    solvay: Picture, passthrough: Model, detector_weights: Path, detector: str
) -> None:
    if detector != "yunet":
        pytest.importorskip("facexlib")
    restoration = restore(solvay.photo, passthrough, make_detector(detector, [detector_weights]))
    assert len(restoration.faces) == 29
    assert not restoration.skipped
    checks.passed_through(restoration, solvay.photo)
    checks.masks_cover_faces(restoration)


def test_solvay_through_marker_weights(solvay: Picture, make_model: Any, yunet: FaceDetector) -> None:
    marker = make_model(color_matrix=checks.MATRIX.tolist(), color_bias=checks.BIAS.tolist())
    restoration = restore(solvay.photo, marker, yunet)
    checks.marked(restoration, solvay.photo)


@pytest.mark.parametrize(
    "options",
    [
        Options(mask="box"),
        Options(template="ffhq"),
        Options(feather=0.0),
        Options(strength=0.4),
        Options(color_match="lab"),
        Options(color_match="wavelet"),
    ],
    ids=["box", "ffhq", "no feather", "strength", "colours in Lab", "low frequencies"],
)
def test_solvay_with_options(solvay: Picture, passthrough: Model, yunet: FaceDetector, options: Options) -> None:
    checks.passed_through(restore(solvay.photo, passthrough, yunet, options), solvay.photo)


def test_solvay_on_the_background_of_an_upscaler(
    solvay: Picture, passthrough: Model, yunet: FaceDetector, tmp_path: Path
) -> None:
    """Outside the faces the pixels are the upscaler's, to the last bit; inside they are the enlarged photo's."""
    photo = solvay.photo
    background = load_upscaler(known_upscaler(tmp_path / "upscaler.pth"))(photo)
    assert np.abs(background - known_output(photo)).max() <= 1e-6
    restoration = restore(photo, passthrough, yunet, background=background)
    mask = restoration.mask[..., None]
    assert len(restoration.faces) == 29
    # The enlarged photo is pasted over the background, without the upscaler's tint.
    checks.passed_through(restoration, background * (1 - mask) + enlarge(photo, 2) * mask)


@pytest.mark.parametrize("upscale", [1.5, 2, 4])
def test_solvay_enlarged(solvay: Picture, passthrough: Model, yunet: FaceDetector, upscale: float) -> None:
    restoration = restore(solvay.photo, passthrough, yunet, Options(upscale=upscale))
    expected = enlarge(solvay.photo, upscale)
    assert restoration.photo.shape[:2] == (round(568 * upscale), round(1328 * upscale))
    checks.passed_through(restoration, expected)


def test_solvay_pasted_into_a_given_background(solvay: Picture, passthrough: Model, yunet: FaceDetector) -> None:
    """Over a grey background the faces appear where they lie in the enlarged photo, and only there."""
    grey = np.full((1136, 2656, 3), 0.5, np.float32)
    restoration = restore(solvay.photo, passthrough, yunet, background=grey)
    expected = enlarge(solvay.photo, 2)
    inside = restoration.mask[..., None]
    error = np.abs(restoration.photo - (grey * (1 - inside) + expected * inside)) * 255
    assert error.max() <= 6
    assert np.array_equal(restoration.photo[restoration.mask == 0], grey[restoration.mask == 0])


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("ffhq_00000_lq", 6),
        ("ffhq_00000_hq", 6),
        ("ffhq_00001_lq", 6),
        # The sharpest: much of its detail lies at the limit of the crop, where the filter falls off.
        ("ffhq_00001_hq", 9),
        ("gray_106000", 9),
    ],
)
def test_faces_larger_than_the_crop(
    photos: Path, make_model: Any, yunet: FaceDetector, name: str, largest: float, size: int
) -> None:
    """The result is the photo, low-passed to the resolution of the crop."""
    photo = read_picture(photos / f"{name}.png", 100).photo
    restoration = restore(photo, make_model(size), yunet)
    (face,) = restoration.faces
    low = low_passed(photo, face.matrix)
    expected = photo + (low - photo) * restoration.mask[..., None]
    # A crop is clipped to [0, 1], so that the low-passed photo does not come back where it exceeds that.
    beyond = ((low < 0) | (low > 1)).any(axis=2).astype(np.uint8)
    spread = 2 * math.ceil(6 / math.sqrt(np.linalg.det(face.matrix[:, :2]))) + 1
    faithful = cv2.dilate(beyond, np.ones((spread, spread))) == 0
    inside = restoration.mask > 0
    error = np.abs(restoration.photo - expected) * 255
    assert (inside & faithful).sum() > 0.6 * inside.sum()
    assert error[inside & faithful].max() <= largest
    assert error[inside].mean() <= 0.5
    assert np.array_equal(restoration.photo[~inside], photo[~inside])


def low_passed(photo: FloatImage, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The photo through an ideal low-pass filter (Kaiser, 8 pixels) at the resolution of the crop, along its axes."""
    turn = matrix[:, :2]
    reach = math.ceil(8.5 / math.sqrt(np.linalg.det(turn)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.ones(x.shape)
    for row in turn:
        along = row[0] * x + row[1] * y
        window = np.i0(5 * np.sqrt(np.clip(1 - (along / 8) ** 2, 0, None))) * (np.abs(along) < 8)
        kernel *= np.sinc(0.98 * along) * window
    kernel /= kernel.sum()
    padded = cv2.copyMakeBorder(photo, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    return np.stack([fftconvolve(padded[..., c], kernel[::-1, ::-1], mode="valid") for c in range(3)], axis=2)


def test_a_tilted_photo(solvay: Picture, passthrough: Model, yunet: FaceDetector) -> None:
    part = solvay.photo[:, 300:900]
    turn = cv2.getRotationMatrix2D((300, 284), 25, 1)
    tilted = np.asarray(cv2.warpAffine(part, turn, (600, 568), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    tilted = np.clip(tilted, 0, 1)
    restoration = restore(tilted, passthrough, yunet)
    assert len(restoration.faces) >= 12
    angles = [math.degrees(math.atan2(face.matrix[1, 0], face.matrix[0, 0])) for face in restoration.faces]
    assert np.median(angles) == pytest.approx(25, abs=6)
    checks.passed_through(restoration, tilted)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_rotated_photo(solvay: Picture, passthrough: Model, yunet: FaceDetector, turns: int) -> None:
    turned = np.ascontiguousarray(np.rot90(solvay.photo, turns))
    restoration = restore(turned, passthrough, yunet)
    assert len(restoration.faces) == 29
    checks.passed_through(restoration, turned)
    upright = restore(solvay.photo, passthrough, yunet)
    assert np.abs(np.rot90(upright.mask, turns) - restoration.mask).max() < 0.35  # the same faces, not others


def test_marker_weights_in_the_range_of_synthesis_networks(
    solvay: Picture, make_model: Any, yunet: FaceDetector
) -> None:
    """Seg2face works in [0, 1], so that the bias is in the photo's own units."""
    matrix, bias = checks.MATRIX * 0.5, np.array([0.3, 0.2, 0.25])
    model = make_model(task="synthesize", color_matrix=matrix.tolist(), color_bias=bias.tolist())
    restoration = restore(solvay.photo, model, yunet, Options(select="largest"))
    mask = restoration.mask[..., None]
    expected = solvay.photo * (1 - mask) + (solvay.photo @ matrix.T + bias) * mask
    assert np.abs(restoration.photo - expected).max() * 255 <= 6


def test_the_same_bytes_every_time(solvay: Picture, passthrough: Model, yunet: FaceDetector) -> None:
    first, second = (restore(solvay.photo, passthrough, yunet) for _ in range(2))
    assert np.array_equal(first.photo, second.photo)
    assert np.array_equal(first.mask, second.mask)
    assert _boxes(first) == _boxes(second)


def _boxes(restoration: Restoration) -> list[tuple[float, float, float, float]]:
    return [face.face.box for face in restoration.faces]

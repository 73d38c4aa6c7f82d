"""The real detectors on real photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gpen.errors import FaceError
from gpen.faces.detection.detector import FaceDetector, NetworkDetector, make_detector
from gpen.faces.face import Face

NAMES = ("yunet", "retinaface_mobile0.25")


def load(path: Path) -> np.ndarray:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].astype(np.float32) / 255


@pytest.fixture(scope="module", params=NAMES)
def detector(request: pytest.FixtureRequest, detector_weights: Path) -> FaceDetector:
    if request.param != "yunet":
        pytest.importorskip("facexlib")
    return make_detector(request.param, [detector_weights])


@pytest.fixture(scope="module")
def yunet(detector_weights: Path) -> FaceDetector:
    return make_detector("yunet", [detector_weights])


@pytest.fixture(scope="module")
def solvay(photos: Path) -> np.ndarray:
    return load(photos / "Solvay_conference_1927.png")


@pytest.fixture(scope="module")
def group(detector: FaceDetector, solvay: np.ndarray) -> list[Face]:
    return detector.detect(solvay)


@pytest.fixture(scope="module")
def yunet_group(yunet: FaceDetector, solvay: np.ndarray) -> list[Face]:
    return yunet.detect(solvay)


def points(faces) -> np.ndarray:
    return np.array([face.landmarks for face in faces]).reshape(-1, 5, 2)


def distances(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """For each expected face, the largest distance of its landmarks to those of the nearest detected face."""
    far = np.linalg.norm(found[None] - expected[:, None], axis=3).max(axis=2)
    return far.min(axis=1)


def test_the_29_people_of_solvay_are_found(group):
    faces = group
    assert len(faces) == 29
    assert [f.center[0] for f in faces] == sorted(f.center[0] for f in faces)
    assert all(0.7 <= f.score <= 1 for f in faces)
    for face in faces:
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == np.float64
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        assert face.box[0] < nose[0] < face.box[2]
        assert face.box[1] < nose[1] < face.box[3]
        assert 25 < face.width < 60


def test_the_detectors_agree_where_the_faces_are(group, yunet_group):
    a, b = points(group), points(yunet_group)
    assert np.median(np.abs(a - b)) < 1.5


def test_detection_is_deterministic(yunet, solvay, yunet_group):
    first, second = yunet_group, yunet.detect(solvay)
    assert [(f.box, f.score) for f in first] == [(f.box, f.score) for f in second]
    assert np.array_equal(points(first), points(second))


def test_threshold(yunet, solvay, yunet_group):
    scores = sorted(face.score for face in yunet_group)
    above = (scores[9] + scores[10]) / 2
    assert len(yunet.detect(solvay, above)) == 19
    assert yunet.detect(solvay, 1.0) == []


def test_a_mirrored_photo_has_mirrored_faces(detector, solvay, group):
    """A shift by half a pixel would show as a whole one here, swapped sides as much more."""
    faces = points(group)
    mirrored = points(detector.detect(np.ascontiguousarray(solvay[:, ::-1])))
    mirrored[:, :, 0] = solvay.shape[1] - 1 - mirrored[:, :, 0]
    mirrored = mirrored[::-1, [1, 0, 2, 4, 3]]
    assert np.abs((faces - mirrored).mean(axis=(0, 1))).max() < 0.3
    assert np.median(np.abs(faces - mirrored)) < 1.5


@pytest.mark.parametrize(("scale", "tolerance"), [(0.5, 4.0), (2.0, 5.0)])
def test_other_sizes_of_the_photo(detector, solvay, group, scale, tolerance):
    expected = points(group)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    faces = points(detector.detect(np.clip(cv2.resize(solvay, None, fx=scale, fy=scale, interpolation=how), 0, 1)))
    back = (faces + 0.5) / scale - 0.5
    assert len(faces) == 29
    assert distances(back, expected).max() < tolerance
    assert np.abs((back - expected).mean(axis=(0, 1))).max() < 0.5


def test_an_enlargement_of_24_megapixels(yunet, solvay, yunet_group):
    large = np.clip(cv2.resize(solvay, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), 0, 1)
    faces = points(yunet.detect(large))
    assert len(faces) == 29
    assert distances((faces + 0.5) / 4 - 0.5, points(yunet_group)).max() < 6


def test_small_faces_in_a_photo_of_24_megapixels(yunet, solvay, yunet_group):
    canvas = np.full((4000, 6000, 3), 0.45, np.float32)
    height, width = solvay.shape[:2]
    canvas[2300 : 2300 + height, 3411 : 3411 + width] = solvay
    faces = points(yunet.detect(canvas))
    assert len(faces) == 29
    assert distances(faces - (3411, 2300), points(yunet_group)).max() < 6


def test_faces_of_40_and_of_1600_pixels_in_one_photo(yunet, photos):
    one, other = load(photos / "ffhq_00000_hq.png"), load(photos / "ffhq_00001_hq.png")
    canvas = np.full((4000, 6000, 3), 0.45, np.float32)
    canvas[600:3400, 200:3000] = np.clip(cv2.resize(one, (2800, 2800), interpolation=cv2.INTER_CUBIC), 0, 1)
    for i, size in enumerate((72, 100, 180, 320, 500, 640)):
        x, y = 3200 + (i % 3) * 800, 300 + (i // 3) * 1500
        canvas[y : y + size, x : x + size] = cv2.resize(other, (size, size), interpolation=cv2.INTER_AREA)
    faces = yunet.detect(canvas)
    assert len(faces) == 7
    assert faces[0].width > 1200
    assert min(face.width for face in faces) < 48


def test_faces_of_16_to_1000_pixels_in_24_megapixels(yunet, photos):
    """None from 32 pixels up is missed, and nothing else is found, at whatever position on the pixel grid."""
    portraits = [load(photos / f"ffhq_{name}.png") for name in ("00000_hq", "00001_hq", "00000_lq", "00001_lq")]
    canvas = np.full((4000, 6000, 3), 0.45, np.float32)
    random = np.random.default_rng(0)
    placed = []
    x, y, row_height = 20, 20, 0
    for i, width in enumerate([1000, 700, 500, *np.geomspace(380, 16, 50)]):
        portrait, side = portraits[i % 4], round(width / 0.47)
        if x + side > 5980:
            x, y, row_height = 20, y + row_height + 10, 0
        x, y = x + random.integers(8), y + random.integers(2)
        how = cv2.INTER_AREA if side < 1024 else cv2.INTER_CUBIC
        canvas[y : y + side, x : x + side] = np.clip(cv2.resize(portrait, (side, side), interpolation=how), 0, 1)
        placed.append((x + side / 2, y + 0.57 * side, width))
        x, row_height = x + side + 20, max(row_height, side)
    assert y + row_height < 4000
    faces = yunet.detect(canvas)
    found = np.array([(*face.center, face.width) for face in faces])
    at = np.array(placed)
    off = np.linalg.norm(found[None, :, :2] - at[:, None, :2], axis=2)
    nearest = off.argmin(axis=1)
    hit = (off.min(axis=1) < 0.3 * at[:, 2]) & (np.abs(found[nearest, 2] / at[:, 2] - 1) < 0.5)
    assert hit[at[:, 2] >= 32].all()
    assert hit[at[:, 2] < 32].sum() >= 10
    assert len(faces) == hit.sum()


def test_a_tensor_is_the_same_as_an_array(yunet, solvay, yunet_group):
    faces = yunet.detect(torch.from_numpy(solvay))
    assert [(f.box, f.score) for f in faces] == [(f.box, f.score) for f in yunet_group]


def turned_points(faces: np.ndarray, quarter_turns: int, height: int, width: int) -> np.ndarray:
    """Where np.rot90(photo, quarter_turns) shows what the photo shows at ``faces``."""
    x, y = faces[..., 0], faces[..., 1]
    to = {0: (x, y), 1: (y, width - 1 - x), 2: (width - 1 - x, height - 1 - y), 3: (height - 1 - y, x)}
    return np.stack(to[quarter_turns], axis=-1)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_group_scanned_sideways(yunet, solvay, yunet_group, turns):
    expected = turned_points(points(yunet_group), turns, *solvay.shape[:2])
    faces = yunet.detect(np.rot90(solvay, turns))
    assert len(faces) == 29
    assert distances(points(faces), expected).max() < 1e-6
    for face in faces:
        assert face.box[0] < face.landmarks[2, 0] < face.box[2]
        assert face.box[1] < face.landmarks[2, 1] < face.box[3]


@pytest.mark.parametrize("name", ["ffhq_00000_lq", "ffhq_00001_hq", "gray_106000"])
def test_a_portrait_at_any_quarter_turn(detector, photos, name):
    """Both detectors find lying faces too, but with wrong landmarks, which must not be used."""
    photo = cv2.resize(load(photos / f"{name}.png"), (512, 512), interpolation=cv2.INTER_AREA)
    upright = detector.detect(photo)
    assert len(upright) == 1
    for turns in (1, 2, 3):
        faces = detector.detect(np.rot90(photo, turns))
        assert len(faces) == 1
        expected = turned_points(points(upright), turns, 512, 512)
        assert distances(points(faces), expected).max() < 1e-4  # enlarged, a turned photo differs in the last bits


@pytest.mark.parametrize("name", ["ffhq_00000_hq", "ffhq_00001_lq"])
def test_a_portrait_of_1024_pixels(detector, photos, name):
    (face,) = detector.detect(load(photos / f"{name}.png"))
    # FFHQ is aligned: eyes and mouth lie at these positions, within the variation of faces.
    template = np.array([(0.377, 0.469), (0.623, 0.469), (0.501, 0.613), (0.393, 0.725), (0.612, 0.725)])
    assert np.abs(face.landmarks - template * 1024).max() < 0.06 * 1024


def test_rotation_can_be_turned_off(detector_weights, solvay):
    detector = make_detector("yunet", [detector_weights], turn=False)
    assert len(detector.detect(solvay)) == 29
    assert len(detector.detect(np.rot90(solvay))) == 0


def rolled(photo: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The photo rotated to the left on a larger canvas, and the matrix that maps its pixels there."""
    height, width = photo.shape[:2]
    side = int(np.hypot(height, width)) + 1
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    matrix[:, 2] += ((side - width) / 2, (side - height) / 2)
    return np.clip(cv2.warpAffine(photo, matrix, (side, side), flags=cv2.INTER_CUBIC), 0, 1), matrix


@pytest.mark.parametrize("degrees", [-30, 15, 30])
def test_a_tilted_photo(yunet, solvay, yunet_group, degrees):
    tilted, matrix = rolled(solvay, degrees)
    faces = points(yunet.detect(tilted))
    expected = points(yunet_group) @ matrix[:, :2].T + matrix[:, 2]
    assert len(faces) == 29
    assert distances(faces, expected).max() < 9


def test_one_face_upside_down_among_upright_ones(yunet, photos, solvay):
    """The photo is not rotated, but that face gets the landmarks of its own upright view."""
    portrait = cv2.resize(load(photos / "ffhq_00001_hq.png"), (256, 256), interpolation=cv2.INTER_AREA)
    upright = points(yunet.detect(portrait))
    photo = np.concatenate([solvay, np.full((300, solvay.shape[1], 3), 0.45, np.float32)])
    photo[590:846, 500:756] = np.rot90(portrait, 2)
    faces = points(yunet.detect(photo))
    expected = turned_points(upright, 2, 256, 256) + np.array([500, 590])
    assert len(faces) == 30
    assert distances(faces, expected).max() < 12


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (20, 20), (10, 4000), (4000, 10), (1, 3000), (33, 31)])
def test_photos_too_small_for_a_face(detector, size):
    photo = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    assert detector.detect(photo) == []


def test_nan_and_values_out_of_range(yunet, solvay):
    odd = solvay.copy()
    odd[:5] = np.nan
    odd[5:8] = 7
    odd[8:10] = -np.inf
    assert len(yunet.detect(odd)) == 29


def test_colours_and_values_are_passed_as_they_are():
    seen = []

    class Network:
        name = "recorder"
        device = "cpu"
        suspicion = 0.3

        def find(self, pictures, threshold):
            seen.extend(pictures)
            return [np.zeros((0, 15)) for _ in pictures]

    photo = np.empty((300, 800, 3), np.float32)
    photo[:] = (1.5, 0.5, 10.4 / 255)
    NetworkDetector(Network(), turn=False).detect(photo)
    assert seen[0].dtype == torch.float32
    assert seen[0].shape == (300, 800, 3)
    assert np.allclose(seen[0][0, 0], (1.0, 0.5, 10.4 / 255))


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (0, 10, 3)])
def test_other_shapes_are_refused(yunet, shape):
    with pytest.raises(FaceError, match="shape"):
        yunet.detect(np.zeros(shape, np.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.float16, np.float64])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_other_dtypes_are_refused(yunet, kind, as_tensor):
    photo = np.zeros((50, 50, 3), kind)
    with pytest.raises(FaceError, match=f"dtype (torch.)?{np.dtype(kind)}; it must be float32"):
        yunet.detect(torch.from_numpy(photo) if as_tensor else photo)

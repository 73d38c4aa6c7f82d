"""Sharpness: portraits at full quality against the same ones degraded, and what is left as it is because of it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gpen.faces.align import crop_matrix
from gpen.faces.detection.detector import FaceDetector, make_detector
from gpen.faces.face import Face
from gpen.faces.selection.close_up import SIZE, close_up
from gpen.faces.selection.measure import measure_faces
from gpen.faces.selection.select import FaceChoice, select_faces, select_tracked
from gpen.faces.selection.sharpness import sharpness
from gpen.faces.selection.traits import FaceTraits
from gpen.faces.source import GivenFaces
from gpen.faces.tracking.tracks import track_faces
from gpen.images import read_picture
from gpen.images.picture import FloatImage
from gpen.images.tensors import DevicePhoto
from tests import pretended

CROP = 512
"""The side of the crop that networks of the commonest size take: degradations are relative to it."""

Portrait = tuple[FloatImage, Face]


@pytest.fixture(scope="module")
def yunet(detector_weights: Path) -> FaceDetector:
    return make_detector("yunet", [detector_weights])


@pytest.fixture(scope="module")
def portraits(photos: Path, yunet: FaceDetector) -> list[Portrait]:
    """Portraits at full quality, whose crops are no larger than 512 pixels of the photo."""
    paths = [photos / name for name in ("ffhq_00000_hq.png", "ffhq_00001_hq.png", "gray_106000.png")]
    for package, name in (
        ("skimage", "data/astronaut.png"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        paths.append(Path(spec.origin).parent / name)
    found = []
    for path in paths:
        photo = read_picture(path, 100).photo
        (face,) = yunet.detect(photo, 0.7)
        found.append(reduced(photo, face, max(1.0, pixels_of_crop(face) / CROP)))
    return found


def pixels_of_crop(face: Face) -> float:
    """The side of the face's crop, in pixels of its photo."""
    return CROP / float(np.hypot(*crop_matrix(face, CROP, "gpen")[:, 0]))


def rounded(photo: FloatImage) -> FloatImage:
    return (np.rint(np.clip(photo, 0, 1) * 255) / 255).astype(np.float32)


def reduced(photo: FloatImage, face: Face, factor: float) -> Portrait:
    height, width = photo.shape[:2]
    size = round(width / factor), round(height / factor)
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return rounded(np.asarray(small)), face.scaled(size[0] / width, size[1] / height)


def blurred(photo: FloatImage, face: Face, deviation: float) -> Portrait:
    """deviation: in pixels of the crop at 512."""
    return rounded(cv2.GaussianBlur(photo, (0, 0), deviation * pixels_of_crop(face) / CROP)), face


def enlarged_again(photo: FloatImage, face: Face, factor: float) -> Portrait:
    small, _ = reduced(photo, face, factor)
    size = photo.shape[1], photo.shape[0]
    return rounded(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)), face


def compressed(photo: FloatImage, face: Face, quality: int) -> Portrait:
    samples = np.rint(photo * 255).astype(np.uint8)
    written = cv2.imencode(".jpg", samples, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return (cv2.imdecode(written, cv2.IMREAD_COLOR) / 255).astype(np.float32), face


def noisy(photo: FloatImage, face: Face, deviation: float) -> Portrait:
    return rounded(photo + np.random.default_rng(1).normal(0, deviation, photo.shape)), face


DEGRADATIONS: dict[str, tuple[Callable[[FloatImage, Face, float], Portrait], tuple[float, ...]]] = {
    "blur": (blurred, (2.5, 4, 8)),
    "smaller": (reduced, (4, 8, 16)),
    "smaller, then enlarged": (enlarged_again, (4, 8, 16)),
    "JPEG": (compressed, (5, 10, 20)),
    "noise": (noisy, (0.04, 0.08, 0.15)),
}


def of_kind(kind: str, portraits: list[Portrait]) -> Iterator[Portrait]:
    function, amounts = DEGRADATIONS[kind]
    return (function(photo, face, amount) for photo, face in portraits for amount in amounts)


def degraded_twice(portraits: list[Portrait]) -> Iterator[Portrait]:
    for portrait in portraits:
        yield compressed(*noisy(*blurred(*portrait, 2), 0.05), 30)
        yield noisy(*reduced(*portrait, 4), 0.08)
        yield compressed(*noisy(*reduced(*portrait, 4), 0.05), 30)


def measured(portraits: list[Portrait] | Iterator[Portrait]) -> np.ndarray:
    values = [measure_faces(photo, [face], is_sharpness_wanted=True)[0].sharpness for photo, face in portraits]
    return np.array(values, np.float64)


def area_under_curve(above: np.ndarray, below: np.ndarray) -> float:
    """The area under the ROC curve: how often a value of the first is above one of the second."""
    return float((above[:, None] > below).mean() + (above[:, None] == below).mean() / 2)


def test_portraits_are_told_from_degraded_ones(portraits: list[Portrait], photos: Path, yunet: FaceDetector) -> None:
    """The area under the ROC curve is 1.0 on these pictures, and on 22 portraits, most of them from the web, 0.97."""
    originals = measured(portraits)
    values = {kind: measured(of_kind(kind, portraits)) for kind in DEGRADATIONS}
    values["twice"] = measured(degraded_twice(portraits))
    published = []
    for name in ("ffhq_00000_lq.png", "ffhq_00001_lq.png", "Solvay_conference_1927.png"):
        photo = read_picture(photos / name, 100).photo
        published += [(photo, face) for face in yunet.detect(photo, 0.7)]
    values["published"] = measured(published)
    assert len(published) == 31
    areas = {kind: area_under_curve(originals, of_this_kind) for kind, of_this_kind in values.items()}
    everything = area_under_curve(originals, np.concatenate(list(values.values())))
    assert everything >= 0.95, areas
    assert min(areas.values()) >= 0.95, areas
    # What the help of option "skip_sharp" says.
    assert originals.min() > 0.7
    assert np.mean(np.concatenate(list(values.values())) < 0.5) > 0.9


@pytest.mark.parametrize("kind", ["blur", "smaller", "noise"])
def test_more_of_it_is_less_sharp(portraits: list[Portrait], kind: str) -> None:
    original, by_amount = measured(portraits), measured(of_kind(kind, portraits)).reshape(len(portraits), -1)
    assert (by_amount[:, 0] < original - 0.1).all()
    assert (np.diff(by_amount, axis=1) < 1e-5).all()


def test_it_is_about_the_face_not_the_photo(portraits: list[Portrait]) -> None:
    """A mirrored, darker or grey picture is as sharp."""
    photo, face = portraits[0]
    sharp = measured(portraits[:1])[0]
    grey = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2).astype(np.float32)
    blurred_around = cv2.GaussianBlur(photo, (0, 0), 8)
    x0, y0, x1, y1 = (round(value) for value in face.box)
    blurred_around[y0:y1, x0:x1] = photo[y0:y1, x0:x1]
    for other in (photo * np.float32(0.7), grey, blurred_around):
        assert abs(measured([(other, face)])[0] - sharp) < 0.12


def test_pictures_without_detail_are_not_sharp() -> None:
    assert (sharpness(torch.full((1, SIZE, SIZE), 0.5)) < 0.1).all()
    assert (sharpness(torch.zeros(2, SIZE, SIZE)) < 0.1).all()
    assert (sharpness(torch.rand(2, SIZE, SIZE, generator=torch.manual_seed(1))) < 0.1).all()


def test_colours_count_as_they_are_seen(portraits: list[Portrait]) -> None:
    """As sharp as the same in grey, even where one channel shows nothing."""
    photo, face = portraits[0]
    without_red = photo * np.float32((0, 1, 1)) + np.float32((0.5, 0, 0))
    grey = np.repeat((without_red @ np.float32((0.299, 0.587, 0.114)))[..., None], 3, axis=2)
    colored, plain = measured([(without_red, face), (grey, face)])
    assert colored == pytest.approx(plain, abs=0.005)


def test_several_at_once_are_measured_as_one(portraits: list[Portrait]) -> None:
    crops = [
        close_up(DevicePhoto(photo, torch.device("cpu")), face, is_luma=True)[..., 0] for photo, face in portraits[:3]
    ]
    assert sharpness(torch.stack(crops)).tolist() == pytest.approx([float(sharpness(crop[None])) for crop in crops])


def test_it_is_the_same_on_other_devices(portraits: list[Portrait], each_implementation: str) -> None:
    assert measured(portraits[3:4])[0] == pytest.approx(0.93, abs=0.01)


def test_nothing_waits_for_the_device() -> None:
    with pretended.cuda(), pretended.stays_on_the_device():
        assert sharpness(torch.zeros(2, SIZE, SIZE, device="cuda")).shape == (2,)


def test_it_takes_less_than_10_milliseconds_on_one_core(portraits: list[Portrait]) -> None:
    photo, face = portraits[0]
    crop = close_up(DevicePhoto(photo, torch.device("cpu")), face, is_luma=True)[None, ..., 0]
    threads, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(20):
            start = time.thread_time()
            sharpness(crop)
            seconds.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert min(seconds) < 0.010


def test_a_face_that_cannot_be_aligned() -> None:
    degenerate = Face((0, 0, 10, 10), 1.0, np.zeros((5, 2)))
    photo = np.zeros((50, 50, 3), np.float32)
    assert measure_faces(photo, [degenerate], is_sharpness_wanted=True) == [FaceTraits()]
    (found,) = GivenFaces([degenerate], FaceChoice(max_sharpness=0.5)).find(photo)
    assert found.skip_reason == ""


def square(x: float, side: float = 40.0) -> Face:
    return Face((x, 0, x + side, side), 0.9, np.zeros((5, 2)))


def test_sharp_faces_are_skipped_before_the_largest_is_chosen() -> None:
    faces = [square(0), square(100, 50), square(200, 60)]
    values = {0: FaceTraits(0.2), 1: FaceTraits(0.6), 2: FaceTraits(0.7)}
    asked = []

    def measure(positions):
        asked.append(list(positions))
        return {position: values[position] for position in positions}

    choice = FaceChoice(max_sharpness=0.65, select="largest", max_size=60)
    assert select_faces(faces, choice, (300, 60), None, measure) == {
        0: "not the largest face",
        2: "sharp enough: its sharpness is 0.70, above 0.65",
    }
    # Only what is not skipped anyway is measured, and nothing where nothing depends on it.
    select_faces(faces, FaceChoice(max_sharpness=0.65, max_size=45), (300, 60), None, measure)
    select_faces(faces, FaceChoice(), (300, 60), None, measure)
    assert asked == [[0, 1, 2], [0]]


def test_one_decision_for_a_track() -> None:
    """A face that is sharp in most frames is skipped in all of them, also where it was not detected."""
    frames = [[square(float(x), 40)] for x in range(6)]
    values = [0.9, 0.2, 0.9, 0.8, 0.9, 0.1]
    traits = [[FaceTraits(value)] for value in values]
    frames[1], traits[1] = [], []
    choice = FaceChoice(max_sharpness=0.5)
    for tracked in track_faces(frames, (), traits):
        assert select_tracked(tracked, choice, (300, 60)) == {0: "sharp enough: its sharpness is 0.90, above 0.5"}
    traits[2:] = [[FaceTraits(0.4)]] * 4
    assert all(not select_tracked(tracked, choice, (300, 60)) for tracked in track_faces(frames, (), traits))

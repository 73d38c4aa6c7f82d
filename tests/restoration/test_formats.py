"""The whole command on many file formats: each photo comes out in its own format, with its faces passed through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from gpen.cli import main
from gpen.faces.align import TEMPLATES
from gpen.faces.detection.detector import FaceDetector
from gpen.images import Picture, read_picture
from gpen.images.picture import FloatImage
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.restoration.api import restore
from gpen.restoration.result import Restoration
from gpen.weights.checkpoint import Model
from tests.restoration import checks

ORIENTATION = 0x0112
QUARTER_TURN = 6
"""EXIF: rotate by a quarter turn clockwise to display."""
JPEG_ERROR = 7
"""Bound on the error of JPEG at quality 95, in 255ths; encoding this photo a second time adds up to 4."""

Samples = NDArray[np.uint8] | NDArray[np.uint16]
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def pixels(photos: Path) -> NDArray[np.uint8]:
    """The samples of the photo's file: (568, 1328, 3), RGB."""
    with Image.open(photos / "Solvay_conference_1927.png") as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("networks") / "passthrough.pth"
    torch.save(synthetic_weights(Spec(256, 256, 2, 1 / 16)), path)
    return path


@pytest.fixture
def run(network: Path, detector_weights: Path, tmp_path: Path) -> Run:
    """Restores one file into another with the command; returns its entry in the report."""

    def command(source: Path, target: Path, *more: object) -> dict[str, Any]:
        report = tmp_path / "report.json"
        words = ["restore", source, "-o", target, "--model", network, "--models-path", detector_weights]
        assert main([str(word) for word in [*words, "--report", report, *more]]) == 0
        (entry,) = json.loads(report.read_text(encoding="utf-8"))
        assert isinstance(entry, dict)
        return entry

    return command


def sixteen_bits(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The photo with detail between the steps of 8 bits."""
    fine = np.random.default_rng(0).integers(-100, 101, pixels.shape)
    return np.clip(pixels.astype(int) * 257 + fine, 0, 65535).astype(np.uint16)


def samples_of(path: Path) -> NDArray[np.uint8]:
    """The samples of a file as they are stored. Pillow would rotate those of a TIFF file."""
    if path.suffix == ".tif":
        return np.asarray(tifffile.imread(path), np.uint8)
    with Image.open(path) as image:
        return np.asarray(image)


def as_photo(samples: Samples) -> FloatImage:
    """Samples (H, W) or (H, W, 3) as a photo."""
    photo = (samples / np.float32(np.iinfo(samples.dtype).max)).astype(np.float32)
    return photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=2)


def passed_through(
    entry: dict[str, Any], before: Samples, after: Samples, model: Model, detector: FaceDetector, coding: float = 0
) -> None:
    """29 faces, almost unchanged inside the masks, and outside every sample within ``coding`` 255ths.

    The masks come from the pipeline on the same photo, without any file.
    """
    assert len(entry["faces"]) == 29
    assert entry["skipped"] == []
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    expected = restore(as_photo(before), model, detector)
    found = Restoration(as_photo(after), expected.mask, expected.faces)
    if not coding:
        checks.passed_through(found, as_photo(before))
        assert np.array_equal(after[expected.mask == 0], before[expected.mask == 0])
        # Not a copy of the input: the network leaves its trace in the last digits.
        assert not np.array_equal(after, before)
        return
    inside = expected.mask > 0
    error = np.abs(found.photo - as_photo(before)) * 255
    assert error[inside].max() <= 6 + coding
    assert error[~inside].max() <= coding
    assert error[inside].mean() <= 0.5 + error[~inside].mean()


def test_a_sixteen_bit_png(
    pixels: NDArray[np.uint8], run: Run, passthrough: Model, yunet: FaceDetector, tmp_path: Path
) -> None:
    before = sixteen_bits(pixels)
    cv2.imwrite(str(tmp_path / "photo.png"), before[..., ::-1])
    entry = run(tmp_path / "photo.png", tmp_path / "out.png")
    after = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert after is not None
    passed_through(entry, before, np.asarray(after[..., ::-1], np.uint16), passthrough, yunet)
    assert after.dtype == np.uint16


def test_a_sixteen_bit_tiff(
    pixels: NDArray[np.uint8], run: Run, passthrough: Model, yunet: FaceDetector, tmp_path: Path
) -> None:
    before = sixteen_bits(pixels)
    tifffile.imwrite(tmp_path / "photo.tif", before, photometric="rgb")
    entry = run(tmp_path / "photo.tif", tmp_path / "out.tif")
    passed_through(entry, before, tifffile.imread(tmp_path / "out.tif"), passthrough, yunet)


def test_a_grey_png(
    pixels: NDArray[np.uint8], run: Run, passthrough: Model, yunet: FaceDetector, tmp_path: Path
) -> None:
    grey = Image.fromarray(pixels).convert("L")
    grey.save(tmp_path / "photo.png")
    entry = run(tmp_path / "photo.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "L"
        passed_through(entry, np.asarray(grey), np.asarray(image), passthrough, yunet)


def test_a_png_with_alpha(
    pixels: NDArray[np.uint8], run: Run, passthrough: Model, yunet: FaceDetector, tmp_path: Path
) -> None:
    """The alpha is a gradient, under faces too; colours under full transparency are unchanged."""
    height, width = pixels.shape[:2]
    alpha = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width))
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "photo.png")
    entry = run(tmp_path / "photo.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGBA"
        after = np.asarray(image)
    assert np.array_equal(after[..., 3], alpha)
    passed_through(entry, pixels, after[..., :3], passthrough, yunet)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_rotated_photo(
    pixels: NDArray[np.uint8], run: Run, passthrough: Model, yunet: FaceDetector, tmp_path: Path, suffix: str
) -> None:
    """Stored a quarter turn counterclockwise, with EXIF that says so; comes out upright, with EXIF that says so."""
    source, target = tmp_path / f"photo{suffix}", tmp_path / f"out{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    lossy = suffix == ".jpg"
    stored = Image.fromarray(np.rot90(pixels))
    if lossy:
        stored.save(source, exif=exif, quality=95, subsampling=0)
    else:
        stored.save(source, exif=exif)
    with Image.open(source) as image:
        assert image.getexif()[ORIENTATION] == QUARTER_TURN
    before = np.rot90(samples_of(source), -1)
    assert lossy or np.array_equal(before, pixels)
    entry = run(source, target)
    with Image.open(target) as image:
        assert image.mode == "RGB"
        assert image.getexif().get(ORIENTATION, 1) == 1
    passed_through(entry, before, samples_of(target), passthrough, yunet, JPEG_ERROR if lossy else 0)


def test_a_huge_face_in_a_faces_file_is_skipped(run: Run, solvay: Picture, photos: Path, tmp_path: Path) -> None:
    """Its crop would hold gigabytes of mirror images of the photo; the other face is restored."""
    around_middle = TEMPLATES["gpen"] - TEMPLATES["gpen"].mean(axis=0)
    # The second face's crop is 4.9 times as wide as the photo, and its landmarks are just near enough to be read.
    faces = [{"landmarks": (around_middle * size + (664, 284)).tolist()} for size in (120, 6500)]
    content = {"path": "Solvay_conference_1927.png", "width": solvay.width, "height": solvay.height, "faces": faces}
    file = tmp_path / "faces.json"
    file.write_text(json.dumps({"format": "gpen-faces", "version": 1, "photos": [content]}), encoding="utf-8")
    entry = run(photos / "Solvay_conference_1927.png", tmp_path / "out.png", "--faces", file)
    assert len(entry["faces"]) == 1
    (skipped,) = entry["skipped"]
    assert "Correct or remove it in the faces file" in skipped["why"]
    after = read_picture(tmp_path / "out.png", 1).photo
    assert np.array_equal(after[:, :500], solvay.photo[:, :500])
    assert np.abs(after - solvay.photo).max() * 255 <= 6

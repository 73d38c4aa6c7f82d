"""PNG files are written fast, and nearly as small as by an encoder that tries everything."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from gpen.images import read_picture, write_picture
from gpen.images.picture import from_samples

SIDE = 640  # more than a megabyte, so that rows are filtered and compressed in several blocks


def noisy(rng: np.random.Generator) -> np.ndarray:
    soft = cv2.resize(rng.uniform(60, 200, (8, 8, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(soft + rng.normal(0, 5, soft.shape), 0, 255).astype(np.uint8)


def grey_as_rgb(rng: np.random.Generator) -> np.ndarray:
    return noisy(rng)[..., :1].repeat(3, axis=2)


def enlarged(rng: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(noisy(rng)[: SIDE // 4, : SIDE // 4].repeat(4, axis=0).repeat(4, axis=1))


def drawn(rng: np.random.Generator) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for color in ((200, 30, 30), (30, 200, 30), (30, 30, 200)):
        x, y = (int(v) for v in rng.integers(100, SIDE - 100, 2))
        cv2.circle(picture, (x, y), 90, color, -1)
    return picture


# What is drawn takes kilobytes either way.
@pytest.mark.parametrize(("make", "most"), [(noisy, 1.05), (grey_as_rgb, 1.05), (enlarged, 1.1), (drawn, 3)])
def test_files_are_nearly_as_small_as_pillows(tmp_path: Path, make, most: float) -> None:
    samples = make(np.random.default_rng(0))
    path = tmp_path / "a.png"
    write_picture(path, from_samples(samples))
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), samples)
    theirs = io.BytesIO()
    Image.fromarray(samples).save(theirs, "PNG")
    assert path.stat().st_size <= most * len(theirs.getvalue())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_each_block_of_rows_continues_the_one_before(tmp_path: Path, channels: int, kind: type) -> None:
    height = 3 * (1 << 20) // (SIDE * channels * np.dtype(kind).itemsize)
    samples = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (height, SIDE, channels), kind, endpoint=True)
    write_picture(tmp_path / "a.png", from_samples(samples))
    found, made = read_picture(tmp_path / "a.png", max_megapixels=10), from_samples(samples)
    np.testing.assert_array_equal(found.photo, made.photo)
    if made.alpha is not None:
        np.testing.assert_array_equal(found.alpha, made.alpha)

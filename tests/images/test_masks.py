"""Which file of a folder is the mask of a photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpen.errors import PhotoError
from gpen.images import Picture, write_picture
from gpen.images.masks import PhotoMasks, read_mask


def masks(folder: Path, **levels: float) -> PhotoMasks:
    """A folder of masks, each of one level of grey."""
    for name, level in levels.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, Picture(np.full((2, 3, 3), level, np.float32)))
    return PhotoMasks(folder, "damage mask", 1)


def level(found: PhotoMasks, name: str) -> float:
    return round(float(found.of(name).mean()), 1)


def test_case_and_composition_do_not_matter(tmp_path: Path) -> None:
    found = masks(tmp_path / "m", **{"IMG_1.PNG": 0.2, "Mu\u0308ller/e\u0301.png": 0.4, "stra\u00dfe.tif": 0.6})
    assert level(found, "img_1.jpg") == 0.2
    assert level(found, "M\u00fcller/\u00e9.JPG") == 0.4
    assert level(found, "STRASSE.jpg") == 0.6
    with pytest.raises(PhotoError, match="There is no damage mask for this photo"):
        found.of("IMG_2.jpg")
    with pytest.raises(PhotoError, match="There is no damage mask for this photo"):
        found.of("deep/IMG_1.png")


def test_the_very_name_wins(tmp_path: Path) -> None:
    found = masks(tmp_path / "m", **{"A.png": 0.2, "a.png": 0.4, "a.tif": 0.6})
    if len(list((tmp_path / "m").iterdir())) < 3:
        pytest.skip("such names are the same here")
    assert [level(found, name) for name in ("a.jpg", "A.jpg", "a.tif")] == [0.4, 0.2, 0.6]


def test_of_several_suffixes_the_first_wins(tmp_path: Path) -> None:
    found = masks(tmp_path / "m", **{"a.webp": 0.8, "a.tif": 0.6, "a.png": 0.4, "a.jpg": 0.2})
    assert level(found, "a.bmp") == 0.2


def test_other_files_and_folders_are_no_masks(tmp_path: Path) -> None:
    found = masks(tmp_path / "m", **{"A.png/deeper.png": 0.2})
    (tmp_path / "m" / "B.txt").write_text("Notes about the photo B.jpg")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(PhotoError, match="There is no damage mask for this photo"):
            found.of(name)


def test_white_that_is_transparent_marks_nothing(tmp_path: Path) -> None:
    """As editors leave it behind an eraser; of a region as of damage."""
    alpha = np.array([(0, 0.5, 1), (0, 0, 1)], np.float32)
    path = tmp_path / "mask.png"
    write_picture(path, Picture(np.ones((2, 3, 3), np.float32), alpha))
    for mask in (read_mask(path, 1), PhotoMasks(path, "damage mask", 1).of("a.jpg")):
        assert mask.dtype == np.float32
        np.testing.assert_allclose(mask, alpha, atol=0.5 / 255)

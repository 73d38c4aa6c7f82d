"""Photos that are cut short, with --salvage."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_cut_photo(restore, album, tmp_path, name):
    photo = album.add(name)
    cut = photo.read_bytes()[:-2000]
    photo.write_bytes(cut)
    out, report = tmp_path / "out", tmp_path / "report.json"
    run = restore(photo, "-o", out)
    assert run.code == 1
    assert "is damaged or incomplete" in run.err
    assert "--salvage" in run.err
    run = restore(photo, "-o", out, "--salvage", "--report", report)
    assert run.code == 0
    assert (run.out + run.err).count("The file is damaged") == 1
    (entry,) = json.loads(report.read_text())
    assert re.search(r"The file is damaged: \d+ of its \d+ rows of pixels are missing", " ".join(entry["left_out"]))
    with Image.open(out / name) as image:
        image.load()
    assert photo.read_bytes() == cut


def test_a_cut_photo_without_faces_is_not_copied(restore, album, tmp_path):
    photo = album.add("a.png")
    with Image.open(photo) as image:
        whole = np.asarray(image)
    photo.write_bytes(photo.read_bytes()[:-1500])
    assert restore(photo, "-o", tmp_path / "out", "--salvage", "--min-face-size", "4096").code == 0
    with Image.open(tmp_path / "out" / "a.png") as image:
        found = np.asarray(image)
    assert (found[:20] == whole[:20]).all()
    assert (found[-2:] == 128).all()


def test_faces_of_a_cut_photo_are_detected(gpen, album, detector_weights):
    photo = album.add("a.png")
    photo.write_bytes(photo.read_bytes()[:-2000])
    run = gpen("detect", photo, "--models-path", detector_weights)
    assert run.code == 1
    assert run.err.count("--salvage") == 1
    run = gpen("detect", photo, "--salvage", "--models-path", detector_weights)
    assert run.code == 0
    assert run.err.count("rows of pixels are missing") == 1


def test_a_mask_that_is_cut_is_not_said_to_be_salvageable(restore, album, tmp_path):
    """The flag is for photos."""
    photo, mask = album.add("a.png"), tmp_path / "mask.png"
    mask.write_bytes(photo.read_bytes()[:-2000])
    run = restore(photo, "-o", tmp_path / "out", "--protect", mask)
    assert run.code == 1
    assert "is damaged or incomplete" in run.err
    assert "--salvage" not in run.err

"""`gpen restore --occlusion`: what covers a face stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from demo.demo import HERE
from gpen.images import Picture, read_picture, write_picture
from tests.made_occluder import COVER, write_occluder

data = pytest.importorskip("skimage.data")


def test_a_bar_across_a_face(gpen, networks, tmp_path):
    photo = np.minimum(data.astronaut().astype(np.float32) / 255, 0.9)
    photo[130:150, 150:300] = COVER
    write_picture(tmp_path / "astronaut.png", Picture(photo))
    arguments = [
        *("restore", tmp_path / "astronaut.png", "--models-path", networks, "--models-path", tmp_path / "models"),
        *("--model", "negative", "--faces", HERE / "astronaut_faces.json", "--mask", "ellipse", "--overwrite"),
        *("-o", tmp_path / "out.png"),
    ]
    (tmp_path / "models").mkdir()

    run = gpen(*arguments, "--occlusion", "auto")
    assert run.code == 1
    assert "Occlusion needs a model that tells what covers a face, and none was found" in run.err
    assert "gpen download xseg_3" in run.err
    assert not (tmp_path / "out.png").exists()

    write_occluder(tmp_path / "models" / "xseg_1.onnx")
    covered = np.zeros(photo.shape[:2], bool)
    covered[130:150, 150:300] = True
    before = read_picture(tmp_path / "astronaut.png", 10).photo
    for name, kept in (("none", False), ("auto", True), ("xseg_1", True)):
        assert gpen(*arguments, "--occlusion", name).code == 0
        after = read_picture(tmp_path / "out.png", 10).photo
        assert np.array_equal(before[covered], after[covered]) == kept
        assert np.abs(before[~covered] - after[~covered]).max() > 0.3

    run = gpen(*arguments, "--occlusion", "xseg_2")
    assert run.code == 1
    assert "xseg_2 (xseg_2.onnx) is not on this computer" in run.err

"""Occlusion models: networks of XSeg's form, made so that the answer is known."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import torch

from gpen.errors import FaceError, FilesError
from gpen.faces.masks.occlusion import OcclusionModel, find_occluder
from gpen.weights.onnx.constants import Node
from tests import pretended
from tests.made_occluder import COVER, write_occluder


@pytest.fixture(params=["onnxruntime", "opencv"])
def occluder(request, tmp_path, monkeypatch) -> OcclusionModel:
    if request.param == "opencv":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    else:
        pytest.importorskip("onnxruntime")
    return OcclusionModel(write_occluder(tmp_path / "xseg_1.onnx"))


def with_bars(size: int) -> tuple[torch.Tensor, np.ndarray]:
    """A crop across which bars lie, one of them askew, and where they are."""
    crop = np.random.default_rng(0).uniform(0.4, 0.6, (size, size, 3)).astype(np.float32)
    bars = np.zeros((size, size), np.uint8)
    cv2.line(bars, (0, size // 3), (size, size // 2), 1, size // 12)
    cv2.line(bars, (size * 3 // 4, 0), (size * 3 // 4, size), 1, size // 20)
    crop[bars > 0] = COVER
    return torch.from_numpy(crop), bars > 0


@pytest.mark.parametrize("size", [128, 256, 300, 512, 2048])
def test_what_covers_the_face_is_zero_and_the_rest_of_it_one(occluder, size):
    crop, bars = with_bars(size)
    mask = occluder.visible(crop)
    assert mask.shape == (512, 512)
    assert mask.dtype == torch.float32
    # Each of the crop's pixels is looked for at its centre; the smaller ones lie several on one of the mask.
    there = ((np.arange(512) + 0.5) * size / 512).astype(int)
    covered = bars[np.ix_(there, there)]
    assert mask.numpy()[covered].max() == 0
    distance = cv2.distanceTransform((~covered).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert mask.numpy()[distance > 20].min() > 0.999
    edge = mask.numpy()[(distance > 0) & (distance < 12)]
    assert ((edge > 0.1) & (edge < 0.9)).mean() > 0.2  # soft


def test_an_uncovered_face_is_one_everywhere(occluder):
    assert occluder.visible(torch.full((512, 512, 3), 0.5)).min() > 0.999


def test_the_mask_is_on_the_crops_device(tmp_path, monkeypatch):
    """On a pretended device the crop is made smaller there, so that little is copied."""
    model = OcclusionModel(write_occluder(tmp_path / "xseg_1.onnx"))
    copied = []
    monkeypatch.setattr(
        "gpen.faces.masks.occlusion.as_array",
        lambda picture: copied.append((picture.device.type, tuple(picture.shape))) or np.zeros(picture.shape, "f4"),
    )
    with pretended.cuda():
        mask = model.visible(torch.empty(1024, 1024, 3, device="cuda"))
    assert mask.device.type == "cuda"
    assert copied == [("cuda", (256, 256, 3))]


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([Node("Loop", ("in_face",), ("out_mask",), {})], "the operation Loop"),
        ([Node("Expand", ("in_face", "weight"), ("out_mask",), {})], "the operation Expand"),
        ([Node("Transpose", ("in_face",), ("out_mask",), {"perm": [0, 3, 1, 2]})], "it returns an array of"),
        ([Node("Conv", ("in_face", "nothing"), ("out_mask",), {})], "is not an occlusion model"),
    ],
)
def test_another_network_is_refused(tmp_path, nodes, why):
    with pytest.raises(FaceError, match=why) as caught:
        OcclusionModel(write_occluder(tmp_path / "xseg_1.onnx", nodes=nodes))
    assert "xseg_1.onnx is not an occlusion model" in str(caught.value)


def test_a_network_for_other_pictures_is_refused(tmp_path):
    with pytest.raises(FaceError, match=r"is not an occlusion model"):
        OcclusionModel(write_occluder(tmp_path / "xseg_1.onnx", size=(128, 128, 3)))


def test_broken_files_are_refused(tmp_path):
    path = write_occluder(tmp_path / "xseg_1.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FaceError, match="is not an occlusion model"):
        OcclusionModel(path)
    with pytest.raises(FilesError, match=r"none\.onnx cannot be read"):
        OcclusionModel(tmp_path / "none.onnx")


def test_nan_is_refused(tmp_path):
    with pytest.raises(FaceError, match="returned NaN or Inf"):
        OcclusionModel(write_occluder(tmp_path / "xseg_1.onnx", weight=float("nan")))


def test_the_newest_that_is_there_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("GPEN_MODELS_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    with pytest.raises(FilesError, match=r"(?s)none was found.*gpen download xseg_3"):
        find_occluder("auto", [tmp_path])
    for number in (1, 2):
        write_occluder(tmp_path / f"xseg_{number}.onnx")
        assert find_occluder("auto", [tmp_path]).name == f"xseg_{number}.onnx"
    assert find_occluder("xseg_1", [tmp_path]).name == "xseg_1.onnx"
    with pytest.raises(FilesError, match=r"xseg_3 \(xseg_3\.onnx\) is not on this computer"):
        find_occluder("xseg_3", [tmp_path])

"""YuNet in PyTorch: as OpenCV runs it, on any device, from either published file, and from no other."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import cv2
import numpy as np
import pytest
import torch

from gpen.errors import FaceError
from gpen.faces.detection.detector import find_detector
from gpen.faces.detection.yunet import YuNet

FIXED = "face_detection_yunet_2023mar.onnx"
DYNAMIC = "face_detection_yunet_2026may.onnx"


@pytest.fixture(scope="module", params=["pytorch", "onnxruntime"])
def yunet(request: pytest.FixtureRequest, detector_weights: Path) -> YuNet:
    if request.param == "onnxruntime":
        pytest.importorskip("onnxruntime")
        network = YuNet(detector_weights / FIXED)
        assert network._maps is not network.network
        return network
    return in_pytorch(detector_weights / FIXED)


def in_pytorch(weights: Path) -> YuNet:
    with mock.patch("gpen.faces.detection.yunet.in_onnx_runtime", return_value=None):
        network = YuNet(weights)
    assert network._maps is network.network
    return network


def picture(path: Path) -> np.ndarray:
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)


def as_photos(*bgr: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(image[:, :, ::-1] / np.float32(255)) for image in bgr])


def by_opencv(weights: Path, image: np.ndarray, threshold: float) -> np.ndarray:
    net = cv2.FaceDetectorYN.create(str(weights), "", image.shape[1::-1], threshold, 0.3, 5000)
    found = net.detect(image)[1]
    faces = np.zeros((0, 15)) if found is None else np.asarray(found, np.float64)
    return np.concatenate([faces[:, 0:2], faces[:, 0:2] + faces[:, 2:4], faces[:, 14:15], faces[:, 4:14]], 1)


@pytest.mark.parametrize("threshold", [0.2, 0.7])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Solvay_conference_1927", None),
        ("Solvay_conference_1927", (901, 333)),
        ("ffhq_00000_hq", (320, 320)),
        ("ffhq_00001_lq", (150, 211)),
        ("gray_106000", (257, 256)),
    ],
)
def test_the_faces_are_those_of_opencv(yunet, detector_weights, photos, name, size, threshold):
    image = picture(photos / f"{name}.png")
    if size is not None:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    expected = by_opencv(detector_weights / FIXED, image, threshold)
    (found,) = yunet.find(as_photos(image), threshold)
    assert len(found) == len(expected) > 0
    assert np.abs(found[:, 4] - expected[:, 4]).max() < 1e-3
    assert np.abs(found - expected).max() < 0.01


def test_a_picture_without_faces(yunet):
    assert [rows.shape for rows in yunet.find(torch.zeros(2, 50, 60, 3), 0.3)] == [(0, 15)] * 2


def test_each_picture_of_a_batch_is_found_as_alone(yunet, photos):
    image = cv2.resize(picture(photos / "ffhq_00000_hq.png"), (160, 160), interpolation=cv2.INTER_AREA)
    views = as_photos(*(np.ascontiguousarray(np.rot90(image, k)) for k in range(4)), *[image] * 40)
    together = yunet.find(views, 0.3)
    assert len(together) == 44
    for view, rows in zip(views, together, strict=True):
        (alone,) = yunet.find(view[None], 0.3)
        assert len(rows) == len(alone)
        assert np.allclose(rows, alone, atol=1e-3)


@pytest.mark.parametrize("size", [(32, 64), (160, 96)])
def test_onnx_runtime_computes_the_network_itself(detector_weights, size):
    pytest.importorskip("onnxruntime")
    network = YuNet(detector_weights / FIXED)
    batch = torch.rand(3, 3, *size, generator=torch.manual_seed(0))
    for ours, theirs in zip(network.network(batch), network._maps(batch), strict=True):
        assert theirs.shape == ours.shape
        assert (theirs - ours).abs().max() < 1e-4
        assert theirs.is_contiguous(memory_format=torch.channels_last)  # as PyTorch's, for cells without a copy


@pytest.mark.parametrize("installed", [None, ModuleType("onnxruntime")])
def test_without_a_working_onnx_runtime_pytorch_is_used(monkeypatch, caplog, detector_weights, installed):
    monkeypatch.setitem(sys.modules, "onnxruntime", installed)
    with caplog.at_level(logging.INFO):
        network = YuNet(detector_weights / FIXED)
    assert network._maps is network.network
    assert "YuNet runs in PyTorch, not in ONNX Runtime (" in caplog.text


@pytest.fixture(scope="module")
def dynamic(detector_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights for pictures of any size, as OpenCV's zoo derived its newer file."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(detector_weights / FIXED)
    for name, dim in zip(("height", "width"), model.graph.input[0].type.tensor_type.shape.dim[2:], strict=True):
        dim.ClearField("dim_value")
        dim.dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].ClearField("dim_value")
    for number, tensor in enumerate(model.graph.initializer):
        new = f"renamed {number}"
        for node in model.graph.node:
            node.input[:] = [new if name == tensor.name else name for name in node.input]
        tensor.name = new
    for node in model.graph.node:
        node.name = ""
    path = tmp_path_factory.mktemp("dynamic") / DYNAMIC
    onnx.save(model, path)
    return path


def test_the_file_for_pictures_of_any_size(detector_weights, dynamic, photos):
    views = as_photos(picture(photos / "Solvay_conference_1927.png"))
    (found,), (expected,) = YuNet(dynamic).find(views, 0.7), YuNet(detector_weights / FIXED).find(views, 0.7)
    assert len(found) == 29
    assert np.array_equal(found, expected)
    assert find_detector("auto", [dynamic.parent]) == ("yunet", dynamic)
    assert find_detector("yunet", [dynamic.parent]) == ("yunet", dynamic)


# Files that are not YuNet


def changed(detector_weights: Path, tmp_path: Path, change) -> Path:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(detector_weights / FIXED)
    change(model, onnx)
    path = tmp_path / FIXED
    onnx.save(model, path)
    return path


def tensor_of(model, name: str):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def declare_more(model, onnx) -> None:
    tensor_of(model, "bbox_head.multi_level_obj.2.conv2.bias").dims[0] = 1 << 20


def declare_negative(model, onnx) -> None:
    tensor_of(model, "420").dims[0] = -16


def other_shape(model, onnx) -> None:
    tensor_of(model, "420").dims[:] = [3, 16, 3, 3]


def other_output(model, onnx) -> None:
    tensor = tensor_of(model, "bbox_head.multi_level_cls.0.conv1.weight")
    tensor.dims[:] = [2, 32, 1, 1]


def not_finite(model, onnx) -> None:
    tensor = tensor_of(model, "421")
    tensor.raw_data = np.full(16, np.nan, np.float32).tobytes()


def without_weights(model, onnx) -> None:
    model.graph.initializer.remove(tensor_of(model, "420"))


def outside(model, onnx) -> None:
    """Values in another file, which is not read."""
    tensor = tensor_of(model, "420")
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL


def a_cycle(model, onnx) -> None:
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.input[0] = relu.output[0]


def other_operation(model, onnx) -> None:
    next(node for node in model.graph.node if node.op_type == "Conv").op_type = "MatMul"


def other_maps(model, onnx) -> None:
    """The neck takes the finer map of the backbone twice."""
    adds = [node for node in model.graph.node if node.op_type == "Add"]
    adds[0].input[0] = adds[1].input[0]


def swapped_heads(model, onnx) -> None:
    node = next(node for node in model.graph.node if "bbox_head.multi_level_obj.0.conv1.weight" in node.input)
    other = next(node for node in model.graph.node if "bbox_head.multi_level_obj.1.conv1.weight" in node.input)
    node.input[0] = other.input[0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (declare_more, "do not fit its shape"),
        (declare_negative, "do not fit its shape"),
        (other_shape, "stem.weight has the shape"),
        (other_output, "have other shapes"),
        (not_finite, "stem.bias contains NaN or Inf"),
        (without_weights, "no stored weights"),
        (outside, "lie outside the file"),
        (a_cycle, "does not compute"),
        (other_operation, "contains MatMul where YuNet has a convolution"),
        (other_maps, "other maps of its backbone"),
        (swapped_heads, "come from different maps"),
    ],
)
def test_a_changed_file_is_refused_with_the_reason(detector_weights, tmp_path, change, why):
    with pytest.raises(FaceError, match=why):
        YuNet(changed(detector_weights, tmp_path, change))


def test_attributes_that_crash_other_programs_do_not_matter(detector_weights, tmp_path, photos):
    """The graph is not run: its strides are those of the network, whatever the file says."""

    def zero_strides(model, onnx) -> None:
        node = next(node for node in model.graph.node if node.op_type == "Conv")
        strides = next(attribute for attribute in node.attribute if attribute.name == "strides")
        strides.ints[:] = [0, 0]

    views = as_photos(picture(photos / "Solvay_conference_1927.png"))
    found = YuNet(changed(detector_weights, tmp_path, zero_strides)).find(views, 0.7)
    assert np.array_equal(found[0], YuNet(detector_weights / FIXED).find(views, 0.7)[0])


def test_any_damage_is_either_harmless_or_refused(detector_weights, tmp_path):
    good = (detector_weights / FIXED).read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / FIXED
    refused = 0
    for number in range(60):
        data = bytearray(good)
        if number % 2:
            del data[random.integers(len(data)) :]
        else:
            for position in random.integers(0, 12000 if number % 4 else len(data), 5):
                data[position] = random.integers(256)
        path.write_bytes(data)
        try:
            YuNet(path)
        except FaceError:
            refused += 1
    assert refused > 30


def test_a_large_file_is_not_read_whole(detector_weights, tmp_path):
    path = tmp_path / FIXED
    shutil.copy(detector_weights / FIXED, path)
    with path.open("ab") as file:
        file.truncate(1 << 32)
    with pytest.raises(FaceError, match="larger than 4 MB"):
        YuNet(path)

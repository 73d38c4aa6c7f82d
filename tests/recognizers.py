"""Face recognisers for tests: SFace's input and output around a small network with known embeddings."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gpen.faces.recognition import sface
from gpen.weights.catalog import find_published

FILE = "face_recognition_sface_2021dec.onnx"
_GRID = 8
"""Cells along each side of the input, whose mean colours are all that the network sees."""


def projection() -> NDArray[np.float32]:
    """(192, 128): to the embedding, from the cells' colours; their mean over the face does not matter."""
    weights = np.random.default_rng(0).normal(0, 1, (3, _GRID * _GRID, 128))
    return (weights - weights.mean(axis=1, keepdims=True)).reshape(-1, 128).astype(np.float32)


def embedding(face: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network makes of an aligned face (112, 112, 3), RGB, 0 to 255: (128,), of length 1."""
    side = face.shape[0] // _GRID
    cells = face.astype(np.float32).reshape(_GRID, side, _GRID, side, 3).mean(axis=(1, 3))
    vector = cells.transpose(2, 0, 1).ravel() @ projection()
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def write_sface(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an ONNX file with SFace's input and output, which passes for the published one; returns its path."""
    onnx = pytest.importorskip("onnx")
    make, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [
            make.make_node("AveragePool", ["data"], ["cells"], kernel_shape=[14, 14], strides=[14, 14]),
            make.make_node("Flatten", ["cells"], ["flat"]),
            make.make_node("MatMul", ["flat", "weights"], ["fc1"]),
        ],
        "sface",
        [make.make_tensor_value_info("data", floats, [1, 3, 112, 112])],
        [make.make_tensor_value_info("fc1", floats, [1, 128])],
        [onnx.numpy_helper.from_array(projection(), "weights")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 11)])
    model.ir_version = 8
    content = model.SerializeToString()
    published = dataclasses.replace(
        find_published("sface"), sha256=hashlib.sha256(content).hexdigest(), size=len(content)
    )
    monkeypatch.setattr(sface, "find_published", lambda name: published)
    path = folder / FILE
    path.write_bytes(content)
    return path

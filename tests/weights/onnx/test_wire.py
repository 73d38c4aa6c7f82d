"""ONNX files read and written without the package onnx."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.weights.onnx.constants import Node
from gpen.weights.onnx.wire import WireError, read_graph
from gpen.weights.onnx.writer import write_model

NODES = [
    Node("Conv", ("x", "w"), ("y",), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "group": 1}),
    Node("Resize", ("y", "", "scales"), ("z",), {"mode": "nearest"}),
]
TENSORS = {
    "w": np.random.default_rng(0).random((200, 3, 3, 3)).astype(np.float32),  # sizes of more than one byte
    "scales": np.array([1, 1, 2, 2], np.float32),
}


def written() -> bytes:
    return write_model(NODES, TENSORS, {"x": ("n", 3, "height", "width")}, {"z": ("n", 200, "h", "w")})


def test_what_is_written_is_read() -> None:
    graph = read_graph(written())
    assert [(node.op, node.inputs, node.outputs) for node in graph.nodes] == [
        (node.op, node.inputs, node.outputs) for node in NODES
    ]
    assert graph.tensors.keys() == TENSORS.keys()
    assert all(np.array_equal(graph.tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_package_onnx_reads_the_same() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(written())
    onnx.checker.check_model(model, full_check=True)
    assert [onnx.helper.get_attribute_value(a) for a in model.graph.node[0].attribute] == [[3, 3], [1, 1, 1, 1], 1]
    assert onnx.helper.get_attribute_value(model.graph.node[1].attribute[0]) == b"nearest"
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["n", 3, "height", "width"]


def test_what_the_package_onnx_writes_is_read() -> None:
    """Values as a list of numbers, packed sizes, and tensors of other types."""
    onnx = pytest.importorskip("onnx")
    values = onnx.helper.make_tensor("a", onnx.TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    other = onnx.helper.make_tensor("b", onnx.TensorProto.INT64, [1], [7])
    node = onnx.helper.make_node("Add", ["x", "a"], ["y"], alpha=0.5)
    shape = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 2])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [shape], [shape], [values, other]))
    graph = read_graph(model.SerializeToString())
    assert graph.tensors.keys() == {"a"}
    assert graph.tensors["a"].tolist() == [[1, 2], [3, 4]]
    assert graph.nodes[0].inputs == ("x", "a")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "0 graphs"),
        (written() * 2, "2 graphs"),
        (written()[:-1], "ends in the middle"),
        (b"\x00\x01", "a field without a number"),
        (b"\x0b", "unknown kind 3"),
        (b"\x3a\xff\xff\xff\xff\x7f", "ends in the middle of a field"),
        (b"\x08" + b"\xff" * 10, "more than 64 bits"),
        (b"\x38\x01", "a number where a message belongs"),
        (b"\x3a\x06\x0a\x04\x22\x02\xff\xff", "not text"),
    ],
)
def test_other_bytes_are_refused(content: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        read_graph(content)


def test_every_cut_is_refused() -> None:
    content = written()
    for end in [*range(200), *range(200, len(content), 97)]:
        with pytest.raises(WireError):
            read_graph(content[:end])

"""ONNX files to begin with, and changes to their graphs."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import onnx
from onnx import AttributeProto, ModelProto, TensorProto

from gpen.network.spec import Spec
from tests.fuzz.mutators import NUMBERS, changed_bytes
from tests.made_occluder import write_occluder
from tests.weights.onnx.exports import export, network, random_state

_SPEC = Spec(16, 16, 2, 1 / 64, style_dim=8, n_mlp=1)
_OPS = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sum", "Mul", "Div", "Reciprocal", "Pow", "Sqrt", "Concat"),
    *("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Tile", "Pad", "Slice", "Gather", "Cast"),
    *("CastLike", "Dropout", "LeakyRelu", "Constant", "Shape", "ReduceSum", "FusedConv", "FusedGemm", "Loop", "If"),
    *("ConstantOfShape", "Range", "Einsum", "Resize", "Identity", "NonZero", "RandomNormal", "StringConcat"),
)
_ATTRIBUTES = ("alpha", "axis", "axes", "perm", "to", "strides", "pads", "group", "kernel_shape", "value", "value_int")
_ATTRIBUTES += ("activation", "activation_params", "shape", "body", "output_shape", "dilations", "transB")
_SIZES = tuple(number for number in NUMBERS if -(1 << 63) <= number < 1 << 63)


@lru_cache(maxsize=1)
def exported() -> list[ModelProto]:
    """GPEN as exporters write it, with constants as nodes and as tensors."""
    with tempfile.TemporaryDirectory() as folder:
        module, path = network(random_state(_SPEC), _SPEC), Path(folder) / "gpen.onnx"
        files = [
            export(module, path, _SPEC.in_size, opset_version=13),
            export(module, path.with_name("more.onnx"), _SPEC.in_size, opset_version=17, do_constant_folding=False),
        ]
        return [onnx.load(file) for file in files]


@lru_cache(maxsize=1)
def occluder() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_occluder(Path(folder) / "occluder.onnx").read_bytes()


def changed_graph(rng: Random, model: ModelProto) -> bytes:
    """One to three changes to a graph."""
    out = ModelProto()
    out.CopyFrom(model)
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            rng.choice(_CHANGES)(rng, out.graph)
        except (ValueError, TypeError, IndexError):  # what protobuf itself does not let through
            continue
    content: bytes = out.SerializeToString()
    return changed_bytes(rng, content) if rng.random() < 0.1 else content


def _tensor(rng: Random) -> TensorProto:
    tensor = TensorProto()
    tensor.name = rng.choice(("w", "", "x" * 400, "input", "\x1b[2J"))
    tensor.data_type = rng.choice((0, 1, 1, 1, 2, 3, 6, 7, 7, 8, 9, 10, 11, 16, 22, 25, 99, -1))
    tensor.dims.extend(rng.choice((*_SIZES, 1, 1, 2, 3)) for _ in range(rng.randrange(5)))
    kind = rng.randrange(5)
    if kind == 0:
        tensor.raw_data = rng.randbytes(rng.randrange(65))
    elif kind == 1:
        tensor.float_data.extend([1.0] * rng.randrange(9))
    elif kind == 2:
        tensor.string_data.append(rng.choice((b"a", b"\xff")))
    elif kind == 3:
        tensor.int64_data.append(rng.choice(_SIZES))
    else:
        _put_outside(rng, tensor, 16)
    return tensor


def _put_outside(rng: Random, tensor: TensorProto, size: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    given = {
        "location": ("w.data", "w.data", "a" * 300, "../x", "/etc/passwd", "", ".", "\0", "pipe"),
        "offset": ("0", "-1", "abc", "9" * 5000, ""),
        "length": (str(size), str(size), "abc", "-1", "1e3"),
    }
    for key, values in given.items():
        if rng.random() < 0.7:
            tensor.external_data.add(key=key, value=rng.choice(values))


def _attribute(rng: Random) -> AttributeProto:
    attribute = AttributeProto(name=rng.choice(_ATTRIBUTES))
    kind = rng.randrange(10)
    if kind == 0:
        attribute.type, attribute.i = AttributeProto.INT, rng.choice(_SIZES)
    elif kind == 1:
        attribute.type, attribute.f = AttributeProto.FLOAT, rng.choice((0.0, 0.2, float("nan"), float("inf"), -1.0))
    elif kind == 2:
        attribute.type, attribute.s = AttributeProto.STRING, rng.choice((b"LeakyRelu", b"\xff\xfe", b"", b"x" * 1000))
    elif kind == 3:
        attribute.type = AttributeProto.INTS
        attribute.ints.extend(rng.choice(_SIZES) for _ in range(rng.randrange(6)))
    elif kind == 4:
        attribute.type = AttributeProto.FLOATS
        attribute.floats.extend([0.2] * rng.randrange(4))
    elif kind == 5:
        attribute.type = AttributeProto.TENSOR
        attribute.t.CopyFrom(_tensor(rng))
    elif kind == 6:
        attribute.type, attribute.ref_attr_name = AttributeProto.INT, "x"
    elif kind == 7:
        attribute.type, attribute.g.name = AttributeProto.GRAPH, "g"
    elif kind == 8:
        attribute.type = AttributeProto.SPARSE_TENSOR
    return attribute


def _names(graph: Any) -> list[str]:
    return [name for node in graph.node for name in (*node.input, *node.output) if name]


def _cut_inputs(rng: Random, graph: Any) -> None:
    node = rng.choice(graph.node)
    del node.input[rng.randrange(len(node.input)) :]


def _cut_outputs(rng: Random, graph: Any) -> None:
    del rng.choice(graph.node).output[0:]


def _other_op(rng: Random, graph: Any) -> None:
    rng.choice(graph.node).op_type = rng.choice(_OPS)


def _other_input(rng: Random, graph: Any) -> None:
    node = rng.choice(graph.node)
    node.input[rng.randrange(len(node.input))] = rng.choice((*_names(graph), "", "nowhere"))


def _more_attributes(rng: Random, graph: Any) -> None:
    rng.choice(graph.node).attribute.append(_attribute(rng))


def _other_attribute(rng: Random, graph: Any) -> None:
    node = rng.choice([node for node in graph.node if node.attribute])
    attribute, new = rng.choice(node.attribute), _attribute(rng)
    new.name = attribute.name
    attribute.CopyFrom(new)


def _dead_node(rng: Random, graph: Any) -> None:
    names = _names(graph)
    node = graph.node.add(op_type=rng.choice(_OPS), domain=rng.choice(("", "", "com.microsoft", "ai.onnx", "x")))
    node.input.extend(rng.choice(names) for _ in range(rng.randrange(4)))
    node.output.append(f"dead{rng.randrange(99)}")


def _node_between(rng: Random, graph: Any) -> None:
    node = rng.choice(graph.node)
    at = rng.randrange(len(node.input))
    new = graph.node.add(op_type=rng.choice(_OPS))
    new.input.append(node.input[at])
    if rng.random() < 0.7 and graph.initializer:
        new.input.append(rng.choice(graph.initializer).name)
    name = f"between{rng.randrange(10**6)}"
    new.output.append(name)
    node.input[at] = name


def _expanded(rng: Random, graph: Any) -> None:
    """A value of any size, dead or on the way."""
    sizes = onnx.helper.make_tensor("sizes", TensorProto.INT64, [2], [rng.choice((1, 1 << 16, 1 << 31)), 1 << 16])
    graph.initializer.append(sizes)
    made = graph.node.add(op_type="ConstantOfShape")
    made.input.append("sizes")
    made.output.append("large")
    if rng.random() < 0.5:
        node = rng.choice(graph.node)
        node.input[rng.randrange(len(node.input))] = "large"


def _other_tensor(rng: Random, graph: Any) -> None:
    tensor = rng.choice(graph.initializer)
    name = tensor.name
    tensor.CopyFrom(_tensor(rng))
    tensor.name = name


def _other_shape(rng: Random, graph: Any) -> None:
    tensor = rng.choice(graph.initializer)
    tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_SIZES)


def _outside(rng: Random, graph: Any) -> None:
    tensor = rng.choice(graph.initializer)
    _put_outside(rng, tensor, len(tensor.raw_data))


def _other_ends(rng: Random, graph: Any) -> None:
    graph.output.add().name = rng.choice((*_names(graph), "zz", "\x1b[2J"))
    if rng.random() < 0.5:
        graph.output[0].name = rng.choice(_names(graph))
    dims = graph.input[0].type.tensor_type.shape.dim
    dims[rng.randrange(len(dims))].dim_value = rng.choice(_SIZES)


_CHANGES = (
    *(_cut_inputs, _cut_outputs, _other_op, _other_input, _more_attributes, _other_attribute, _dead_node),
    *(_node_between, _expanded, _other_tensor, _other_shape, _outside, _other_ends),
)

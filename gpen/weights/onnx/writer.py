"""Writes a small ONNX model without the package onnx: what :mod:`.wire` reads, and attributes and shapes besides.

The numbers of the fields are those of ONNX's onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .constants import Node

OPSET = 13
"""The version of ONNX's operations."""
_IR_VERSION = 7  # the first with that opset
_FLOAT32 = 1
_STRING, _INTS, _INT = 3, 7, 2  # types of attributes

Shape = Sequence[int | str]
"""A number for each dimension, or a name where it may be any number."""


def write_model(
    nodes: Sequence[Node],
    tensors: Mapping[str, NDArray[np.float32]],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
) -> bytes:
    """The bytes of a model. Attributes of nodes: integers, lists of integers, and strings; float32 everywhere."""
    graph = b"".join(
        [
            *(_field(1, _node(node)) for node in nodes),
            _field(2, b"graph"),
            *(_field(5, _tensor(name, array)) for name, array in tensors.items()),
            *(_field(11, _value(name, shape)) for name, shape in inputs.items()),
            *(_field(12, _value(name, shape)) for name, shape in outputs.items()),
        ]
    )
    return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, _field(2, OPSET))


def _node(node: Node) -> bytes:
    return b"".join(
        [
            *(_field(1, name.encode()) for name in node.inputs),
            *(_field(2, name.encode()) for name in node.outputs),
            _field(4, node.op.encode()),
            *(_field(5, _attribute(name, value)) for name, value in node.attributes.items()),
        ]
    )


def _attribute(name: str, value: int | str | Sequence[int]) -> bytes:
    if isinstance(value, str):
        content, kind = _field(4, value.encode()), _STRING
    elif isinstance(value, int):
        content, kind = _field(3, value), _INT
    else:
        content, kind = b"".join(_field(8, number) for number in value), _INTS
    return _field(1, name.encode()) + content + _field(20, kind)


def _tensor(name: str, array: NDArray[np.float32]) -> bytes:
    dims = b"".join(_field(1, size) for size in array.shape)
    return dims + _field(2, _FLOAT32) + _field(8, name.encode()) + _field(9, array.astype("<f4").tobytes())


def _value(name: str, shape: Shape) -> bytes:
    dims = [_field(1, size) if isinstance(size, int) else _field(2, size.encode()) for size in shape]
    kind = _field(1, _FLOAT32) + _field(2, b"".join(_field(1, dim) for dim in dims))
    return _field(1, name.encode()) + _field(2, _field(1, kind))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

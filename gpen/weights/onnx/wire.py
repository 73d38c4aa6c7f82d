"""Reads the nodes and the float32 tensors of a small ONNX file without the package onnx.

Only what a network needs that is written down elsewhere: operations with the names of their inputs and outputs, and
stored weights. The format is protocol buffers (https://protobuf.dev/programming-guides/encoding/), the numbers of the
fields are those of ONNX's onnx.proto. Nothing that the file declares is believed: a length, a count or a shape that
does not fit the bytes is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .constants import Node

_GRAPH_OF_MODEL = 7
_TRAINING, _FUNCTIONS = 20, 25
_NODE, _INITIALIZER, _GRAPH_INPUT, _SPARSE_INITIALIZER = 1, 5, 11, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_VALUE_NAME = 1
_ATTRIBUTE_TENSOR = 5
_UNREAD_ATTRIBUTES = {6: "a graph", 10: "a list of tensors", 11: "a list of graphs", 22: "a sparse tensor"}
_DIMS, _DTYPE, _FLOATS, _NAME, _RAW, _LOCATION = 1, 2, 4, 8, 9, 14
_OWN_DOMAINS = ("", "ai.onnx")
_FLOAT32 = 1
_MOST_DIMENSIONS = 8
_MOST_FIELDS = 1_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not an ONNX model; the text says why, without a subject."""


@dataclass(frozen=True, eq=False)
class StoredGraph:
    """What an ONNX file says about its graph."""

    nodes: list[Node]
    """The operations, in the order of the file, without their attributes."""
    tensors: Mapping[str, NDArray[np.float32]]
    """The stored float32 tensors by name; those of other types are left out."""
    inputs: frozenset[str] = frozenset()
    """Names of what it takes; no stored tensors are among them."""


def read_graph(content: bytes) -> StoredGraph:
    """The nodes and tensors of an ONNX model; WireError if the bytes are not one, or contain more than such a graph.

    Refused are operations that are not ONNX's own, graphs within graphs, functions, and values outside the file.
    """
    return _Reader().model(memoryview(content))


class _Reader:
    """Reads messages, and no more fields in total than any real file has."""

    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def model(self, data: memoryview) -> StoredGraph:
        graphs = []
        for number, value in self._fields(data):
            if number == _GRAPH_OF_MODEL:
                graphs.append(value)
            elif number in (_TRAINING, _FUNCTIONS):
                raise WireError("it contains functions of its own")
        if len(graphs) != 1:
            raise WireError(f"it contains {len(graphs)} graphs")
        return self._graph(_block(graphs[0]))

    def _graph(self, data: memoryview) -> StoredGraph:
        nodes: list[Node] = []
        tensors: dict[str, NDArray[np.float32]] = {}
        inputs, stored = set[str](), set[str]()
        for number, value in self._fields(data):
            if number == _NODE:
                nodes.append(self._node(_block(value)))
            elif number == _INITIALIZER:
                name, array = self._tensor(_block(value))
                stored.add(name)
                if array is not None:
                    tensors[name] = array
            elif number == _GRAPH_INPUT:
                inputs.update(_text(name) for field, name in self._fields(_block(value)) if field == _VALUE_NAME)
            elif number == _SPARSE_INITIALIZER:
                raise WireError("it contains a sparse tensor")
        return StoredGraph(nodes, tensors, frozenset(inputs - stored))

    def _node(self, data: memoryview) -> Node:
        inputs, outputs, op = [], [], ""
        for number, value in self._fields(data):
            if number == _NODE_INPUT:
                inputs.append(_text(value))
            elif number == _NODE_OUTPUT:
                outputs.append(_text(value))
            elif number == _NODE_OP:
                op = _text(value)
            elif number == _NODE_DOMAIN and _text(value) not in _OWN_DOMAINS:
                raise WireError("it contains an operation that is not ONNX's own")
            elif number == _NODE_ATTRIBUTE:
                self._check_attribute(_block(value))
        return Node(op, tuple(inputs), tuple(outputs), {})

    def _check_attribute(self, data: memoryview) -> None:
        for number, value in self._fields(data):
            if number in _UNREAD_ATTRIBUTES:
                raise WireError(f"one of its operations has {_UNREAD_ATTRIBUTES[number]} as an argument")
            if number == _ATTRIBUTE_TENSOR:
                self._tensor(_block(value))

    def _tensor(self, data: memoryview) -> tuple[str, NDArray[np.float32] | None]:
        """Name and values; None for another type than float32."""
        name, dtype, shape, parts = "", 0, list[int](), list[memoryview]()
        for number, value in self._fields(data):
            if number == _NAME:
                name = _text(value)
            elif number == _DTYPE and isinstance(value, int):
                dtype = value
            elif number == _DIMS:
                shape += [value] if isinstance(value, int) else list(_varints(value))
            elif number in (_FLOATS, _RAW):
                parts.append(_block(value))
            elif number == _LOCATION and value:
                raise WireError(f"the values of the tensor {name[:60]} lie outside the file")
        if dtype != _FLOAT32:
            return name, None
        content = b"".join(parts)
        if len(shape) > _MOST_DIMENSIONS or 4 * math.prod(shape) != len(content):
            raise WireError(f"the {len(content)} bytes of the tensor {name[:60]} do not fit its shape")
        return name, np.frombuffer(content, "<f4").astype(np.float32).reshape(shape)

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Number and value of each field of a message: an integer, or bytes."""
        position = 0
        while position < len(data):
            self._left -= 1
            if self._left < 0:
                raise WireError(f"it has more than {_MOST_FIELDS:,} fields")
            key, position = _varint(data, position)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise WireError("it contains a field without a number")
            if kind == _VARINT:
                value, position = _varint(data, position)
                yield number, value
                continue
            if kind == _BYTES:
                length, position = _varint(data, position)
            elif kind in (_FIXED32, _FIXED64):
                length = 4 if kind == _FIXED32 else 8
            else:
                raise WireError(f"it contains a field of the unknown kind {kind}")
            if length > len(data) - position:
                raise WireError("it ends in the middle of a field")
            yield number, data[position : position + length]
            position += length


def _varints(data: memoryview) -> Iterator[int]:
    position = 0
    for _ in range(_MOST_DIMENSIONS + 1):
        if position == len(data):
            return
        value, position = _varint(data, position)
        yield value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise WireError("it ends in the middle of a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise WireError("it contains a number of more than 64 bits")


def _block(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise WireError("it contains a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return bytes(_block(value)).decode()
    except UnicodeDecodeError as error:
        raise WireError("it contains a name that is not text") from error

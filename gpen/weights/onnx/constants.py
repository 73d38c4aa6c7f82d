"""Values of an ONNX graph that do not depend on the picture.

A weight that is multiplied by a number is kept apart from that number: if the exporter left the learning rate
equalisation in the graph, the weight is then recovered bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MAX_NUMBERS = 1 << 25
"""Largest constant: seven times the largest tensor of a published network."""
_MAX_DEPTH = 100
"""Longest chain of operations."""
_MOST_COPIES = 8
"""How often all stored numbers may be computed with."""
_SPARE_NUMBERS = 1 << 22
"""That may be computed, however few are stored."""
_MOST_INTEGERS = 64
"""Of an argument that says a shape: NumPy's arrays have as many dimensions at most."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation."""

    op: str
    """Its type, such as "Conv"."""
    inputs: tuple[str, ...]
    """Names of values; "" for an optional input that is left out."""
    outputs: tuple[str, ...]
    """Names of values."""
    attributes: Mapping[str, Any]
    """Numbers, strings, lists of them, and arrays, by name."""


@dataclass(frozen=True, eq=False)
class Constant:
    """The numbers ``factor * array``."""

    array: Array
    """As stored or computed."""
    factor: float = 1.0
    """A factor that the graph multiplies it by."""

    def value(self) -> Array:
        """The numbers, in the array's dtype."""
        if self.factor == 1:
            return self.array
        with np.errstate(over="ignore", invalid="ignore"):
            return (self.array.astype(np.float64) * self.factor).astype(self.array.dtype)

    def inverse(self) -> Constant:
        """One divided by the numbers."""
        with np.errstate(all="ignore"):
            return Constant((1 / self.array.astype(np.float64)).astype(self.array.dtype), 1 / self.factor)


class TooMuchError(Exception):
    """Constants take far more numbers than are stored; the text says so, as the end of a sentence about the graph."""


class Constants:
    """Computes constants on demand and caches them, up to a limit that depends on what is stored."""

    def __init__(self, initializers: Mapping[str, Array], producers: Mapping[str, Node]) -> None:
        self._known: dict[str, Constant | None] = {name: Constant(array) for name, array in initializers.items()}
        self._producers = producers
        self._depth = 0
        self._left = _SPARE_NUMBERS + _MOST_COPIES * sum(array.size for array in initializers.values())

    def of(self, name: str) -> Constant | None:
        """The value, or None if it depends on the picture or on an operation that is not supported here."""
        if name not in self._known:
            node = self._producers.get(name)
            if self._depth >= _MAX_DEPTH:
                return None
            self._depth += 1
            try:
                self._known[name] = self._compute(node) if node is not None else None
            finally:
                self._depth -= 1
        return self._known[name]

    def _compute(self, node: Node) -> Constant | None:
        if node.op == "Constant":
            return _stored(node)
        operation = _OPERATIONS.get(node.op)
        if operation is None or not node.inputs:
            return None
        first = self.of(node.inputs[0])
        if first is None:
            return None
        # Broadcasting does the same as expanding and repeating along the batch.
        if node.op in ("Expand", "Tile", "CastLike"):
            return first
        arguments = [self.of(name) if name else None for name in node.inputs]
        if any(name and argument is None for name, argument in zip(node.inputs, arguments, strict=True)):
            return None
        try:
            # Overflow and sizes that do not fit occur only in damaged graphs.
            with np.errstate(all="ignore"):
                result = operation(node, arguments)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError):
            return None
        if result is None or result.array.size > _MAX_NUMBERS:
            return None
        if not np.may_share_memory(result.array, first.array):
            self._left -= result.array.size
            if self._left < 0:
                raise TooMuchError("its constants are computed with again and again")
        return result


def _stored(node: Node) -> Constant | None:
    for key, value in node.attributes.items():
        if key == "value" and isinstance(value, np.ndarray):
            return Constant(value)
        if key in ("value_float", "value_floats"):
            return Constant(np.asarray(value, np.float32))
        if key in ("value_int", "value_ints"):
            return Constant(np.asarray(value, np.int64))
    return None


_Arguments = list["Constant | None"]
_Operation = Callable[[Node, _Arguments], "Constant | None"]


def _rearranging(change: Callable[[Array, Node, list[Array | None]], Array]) -> _Operation:
    def operation(node: Node, arguments: _Arguments) -> Constant | None:
        first, *others = arguments
        assert first is not None
        return Constant(change(first.array, node, [None if x is None else x.value() for x in others]), first.factor)

    return operation


def _computing(function: Callable[..., Array]) -> _Operation:
    def operation(node: Node, arguments: _Arguments) -> Constant | None:
        arrays = [x.value() for x in arguments if x is not None]
        if np.prod(np.broadcast_shapes(*(x.shape for x in arrays)), dtype=np.float64) > _MAX_NUMBERS:
            return None
        return Constant(np.asarray(function(*arrays)))

    return operation


def _multiply(node: Node, arguments: _Arguments) -> Constant | None:
    a, b = arguments
    assert a is not None
    assert b is not None
    if a.array.dtype.kind == b.array.dtype.kind == "f":
        for number, other in ((a, b), (b, a)):
            if number.array.size == 1 and number.array.ndim <= other.array.ndim and np.isfinite(number.array).all():
                return Constant(other.array, other.factor * number.factor * float(number.array.flat[0]))
    return _computing(np.multiply)(node, arguments)


def _divide(node: Node, arguments: _Arguments) -> Constant | None:
    a, b = arguments
    assert a is not None
    assert b is not None
    if a.array.dtype.kind == b.array.dtype.kind == "f":
        return _multiply(node, [a, b.inverse()])
    return _computing(np.floor_divide)(node, arguments)


def _concatenate(node: Node, arguments: _Arguments) -> Constant | None:
    arrays = [x.value() for x in arguments if x is not None]
    if sum(x.size for x in arrays) > _MAX_NUMBERS:
        return None
    return Constant(np.concatenate(arrays, axis=int(node.attributes["axis"])))


def _cast(node: Node, arguments: _Arguments) -> Constant | None:
    first = arguments[0]
    assert first is not None
    # To one of ONNX's FLOAT, FLOAT16, DOUBLE and BFLOAT16: floating-point numbers stay as they are.
    if node.attributes.get("to") in (1, 10, 11, 16):
        return first if first.array.dtype.kind == "f" else Constant(first.value().astype(np.float32))
    return Constant(first.value().astype(np.int64))


def _reshape(x: Array, node: Node, others: list[Array | None]) -> Array:
    wanted = _integers(node, others, "shape")
    shape = [x.shape[i] if n == 0 and not node.attributes.get("allowzero") else n for i, n in enumerate(wanted)]
    return x.reshape(shape)


def _squeeze(x: Array, node: Node, others: list[Array | None]) -> Array:
    if not others and "axes" not in node.attributes:
        return x.squeeze()
    return x.squeeze(tuple(_integers(node, others, "axes")))


def _unsqueeze(x: Array, node: Node, others: list[Array | None]) -> Array:
    return np.expand_dims(x, tuple(_integers(node, others, "axes")))


def _flatten(x: Array, node: Node, others: list[Array | None]) -> Array:
    axis = int(node.attributes.get("axis", 1))
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _transpose(x: Array, node: Node, others: list[Array | None]) -> Array:
    return np.transpose(x, node.attributes.get("perm"))


def _slice(x: Array, node: Node, others: list[Array | None]) -> Array:
    given = [*others, None, None, None, None][:4]
    starts, ends, axes, steps = (
        array.tolist() if array is not None else list(node.attributes.get(name, ()))
        for name, array in zip(("starts", "ends", "axes", "steps"), given, strict=True)
    )
    index = [slice(None)] * x.ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[i] if axes else i, steps[i] if steps else 1
        # An end before the first element includes the first.
        index[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(index)]


def _gather(x: Array, node: Node, others: list[Array | None]) -> Array:
    indices, axis = others[0], int(node.attributes.get("axis", 0))
    assert indices is not None
    if x.size / max(x.shape[axis], 1) * indices.size > _MAX_NUMBERS:
        raise ValueError("too many numbers")
    return x.take(indices, axis=axis)


def _shape(node: Node, arguments: _Arguments) -> Constant | None:
    first = arguments[0]
    assert first is not None
    return Constant(np.asarray(first.array.shape, np.int64))


def _integers(node: Node, others: list[Array | None], attribute: str) -> list[int]:
    """An argument that is an input in newer versions of an operation and an attribute in older ones."""
    if others and others[0] is not None:
        if others[0].size > _MOST_INTEGERS:
            raise ValueError("too many dimensions")
        return [int(n) for n in others[0].reshape(-1)]
    return [int(n) for n in node.attributes[attribute]]


def _unchanged(x: Array, node: Node, others: list[Array | None]) -> Array:
    return x


_OPERATIONS: dict[str, _Operation] = {
    "Identity": _rearranging(_unchanged),
    "Dropout": _rearranging(_unchanged),
    "Expand": _rearranging(_unchanged),
    "Tile": _rearranging(_unchanged),
    "CastLike": _rearranging(_unchanged),
    "Cast": _cast,
    "Reshape": _rearranging(_reshape),
    "Squeeze": _rearranging(_squeeze),
    "Unsqueeze": _rearranging(_unsqueeze),
    "Flatten": _rearranging(_flatten),
    "Transpose": _rearranging(_transpose),
    "Slice": _rearranging(_slice),
    "Gather": _rearranging(_gather),
    "Shape": _shape,
    "Concat": _concatenate,
    "Mul": _multiply,
    "Div": _divide,
    "Add": _computing(np.add),
    "Sub": _computing(np.subtract),
    "Pow": _computing(np.power),
    "Sqrt": _computing(np.sqrt),
    "Neg": _computing(np.negative),
    "Reciprocal": _computing(np.reciprocal),
}

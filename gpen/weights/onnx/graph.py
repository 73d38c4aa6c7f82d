"""An ONNX graph in plain types, and steps backwards through it that do not depend on the exporter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .constants import Constant, Constants, Node, TooMuchError

_SHAPING = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Tile", "Pad", "Slice", "Gather"}
_PASSED = _SHAPING | {"Identity", "Cast", "CastLike", "Dropout"}
"""Operations that move numbers without changing them: exporters add them, and optimisers remove them, at will."""

_MAX_TERMS = 64
"""Limit of the terms in a sum or product: a graph that doubles its terms again and again must not exhaust memory."""


class NotGpenError(Exception):
    """The graph differs from GPEN's. The text continues "… is not a GPEN network: "."""


@dataclass(frozen=True)
class Product:
    """A value decomposed into factors."""

    constants: tuple[Constant, ...]
    """Factors that do not depend on the picture."""
    above: tuple[str, ...]
    """Names of the other factors."""
    below: tuple[str, ...]
    """Names of the other divisors."""


@dataclass
class Graph:
    """A graph without cycles."""

    inputs: Mapping[str, tuple[int | None, ...]]
    """Shapes by name; None for a dimension that is not fixed."""
    outputs: Mapping[str, tuple[int | None, ...]]
    """Likewise."""
    nodes: list[Node]
    """The operations, in any order."""
    initializers: Mapping[str, NDArray[Any]]
    """The stored tensors by name; 16-bit floating-point numbers as float32."""
    half: bool = False
    """Whether weights are stored with 16 bits."""
    names: frozenset[str] = frozenset()
    """Names of tensors and operations, with dots between modules, as far as the exporter kept them."""
    _producers: dict[str, Node] = field(init=False, repr=False)
    _constants: Constants = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._producers = {name: node for node in self.nodes for name in node.outputs}
        self._constants = Constants(self.initializers, self._producers)

    @property
    def tolerance(self) -> float:
        """Largest relative error of a factor that was rounded to the precision of the weights."""
        return 1e-3 if self.half else 1e-6

    def constant(self, name: str) -> Constant | None:
        """The value, or None if it depends on the picture."""
        try:
            return self._constants.of(name)
        except TooMuchError as error:
            raise NotGpenError(str(error)) from error

    def origin(self, name: str) -> str:
        """The value that this one rearranges."""
        while (node := self._producers.get(name)) is not None and node.op in _PASSED and self.constant(name) is None:
            name = node.inputs[0]
        return name

    def producer(self, name: str) -> Node | None:
        """The node that computes the value, skipping rearrangements; None for an input or a constant."""
        name = self.origin(name)
        return None if self.constant(name) is not None else self._producers.get(name)

    def product(self, name: str) -> Product:
        """Decompose a value that products, quotients and reciprocals compute."""
        constants: list[Constant] = []
        sides: dict[bool, list[str]] = {True: [], False: []}
        waiting = [(name, True)]
        while waiting:
            name, above = waiting.pop()
            constant = self.constant(name)
            node = self.producer(name)
            if constant is not None:
                constants.append(constant if above else constant.inverse())
            elif node is not None and node.op == "Mul":
                waiting += [(factor, above) for factor in node.inputs]
            elif node is not None and node.op == "Div":
                waiting += [(node.inputs[0], above), (node.inputs[1], not above)]
            elif node is not None and node.op == "Reciprocal":
                waiting.append((node.inputs[0], not above))
            else:
                sides[above].append(self.origin(name))
            self._limit(len(waiting) + len(constants) + len(sides[True]) + len(sides[False]))
        return Product(tuple(constants), tuple(sides[True]), tuple(sides[False]))

    def sum(self, name: str) -> tuple[list[Constant], list[str]]:
        """Decompose a value that sums compute into constants and terms that depend on the picture."""
        constants: list[Constant] = []
        terms: list[str] = []
        waiting = [name]
        while waiting:
            name = waiting.pop()
            constant = self.constant(name)
            node = self.producer(name)
            if constant is not None:
                constants.append(constant)
            elif node is not None and node.op in ("Add", "Sum"):
                waiting += node.inputs
            else:
                terms.append(self.origin(name))
            self._limit(len(waiting) + len(constants) + len(terms))
        return constants, terms

    def describe(self, name: str) -> str:
        """A description of a value for a message."""
        name = self.origin(name)
        if self.constant(name) is not None:
            return "a constant"
        if name in self.inputs:
            return f"the input {name[:60]}"
        node = self._producers.get(name)
        return f"the operation {node.op}" if node else "nothing"

    @staticmethod
    def _limit(terms: int) -> None:
        if terms > _MAX_TERMS:
            raise NotGpenError(f"a sum or product has more than {_MAX_TERMS} terms")


def scale_of(constants: Iterable[Constant]) -> float:
    """The product of constants that each consist of one number, possibly repeated; NotGpenError for others."""
    product = 1.0
    for constant in constants:
        array = constant.array
        if not array.size or not np.all(array == array.flat[0]):
            raise NotGpenError(f"constants of shape {array.shape} are factors where GPEN has a single number")
        product *= float(array.flat[0]) * constant.factor
    if not math.isfinite(product):
        raise NotGpenError("a factor is not a finite number")
    return product

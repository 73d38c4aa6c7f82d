"""A limit for what a network of a stranger takes while another package builds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_LEAST_CHARGE = 1024  # numbers, for what a tensor takes besides them


class TooMuchError(Exception):
    """What is being built takes more numbers than are allowed."""


class AllocationLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is active, tensors of at most ``numbers`` elements in total are made; TooMuchError before another.

    Architectures count layers and channels by the shapes and names in a file: a few hundred bytes stand for any size.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left = numbers

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        makes = any(value.alias_info is None for value in func._schema.returns)
        if makes and _estimate(func, args, given) > self._left:
            raise TooMuchError
        returned = func(*args, **given)
        if makes:
            self._left -= sum(max(tensor.numel(), _LEAST_CHARGE) for tensor in _tensors(returned))
            if self._left < 0:
                raise TooMuchError
        return returned


def _estimate(func: Callable[..., Any], args: Sequence[Any], given: Mapping[str, Any]) -> int:
    """Numbers that the result may have, at most: by a size that is stated, or by broadcasting."""
    every = [*args, *given.values()]
    sizes = [value for value in every if isinstance(value, list | tuple) and value and _are_integers(value)]
    shapes = [tensor.shape for tensor in _tensors(every)]
    stated = max((math.prod(max(size, 1) for size in sizes_) for sizes_ in sizes), default=1)
    numbers = sum(value for value in every if isinstance(value, int) and not isinstance(value, bool) and value > 0)
    try:
        together = math.prod(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
    except RuntimeError:
        together = 0
    if "repeat" in str(func):
        return stated * together
    # arange and eye state their sizes as numbers; a matrix product has a row and a column for each of its factors'.
    rows = math.prod(math.prod(shape[:-1]) for shape in shapes) if "mm" in str(func) else 0
    counted = numbers * numbers if "eye" in str(func) else numbers if not shapes else 0
    return max(stated, together, rows, counted)


def _are_integers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int) for value in values)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)

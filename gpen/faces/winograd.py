"""3 x 3 convolutions on the CPU by Winograd's minimal filtering, in tiles of 4 x 4 outputs.

There are three kinds: plain, after nearest-neighbour enlargement to twice the size, and of stride 2. Per output and
pair of channels they take 2.25, 1.5625 and 5.0625 multiplications instead of 9. Source: Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", CVPR 2016. The transforms of both axes are one matrix: a tile is a matrix
product for the inputs, one for each point with the weights, and one for the outputs. In float32 the error is up to ten
times that of a direct convolution.

Maps are float32, channels last, with a border of one pixel on every side: (H + 2, W + 2, C).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TILE = 4
"""Outputs of a tile along each axis."""
_TILES_AT_A_TIME = 128
"""Their transformed inputs and outputs are a few megabytes."""

_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Besides infinity. With 2 and -2 the largest error of a plain convolution is more than twice as large."""
_SYMMETRIC_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)
"""For inputs that count twice: then -1 has no part in the result."""

_Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some points of one axis: of the inputs first, first + every, …, and of the weights."""

    inputs: _Matrix | None
    """(points, inputs); None for the identity."""
    weights: _Matrix
    """(points, 3)."""
    outputs: _Matrix
    """(TILE, points)."""
    first: int = 0
    every: int = 1

    @property
    def points(self) -> int:
        return len(self.weights)

    @property
    def reach(self) -> int:
        """How many inputs there are."""
        return self.points if self.inputs is None else self.inputs.shape[1]


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of convolution, the same along both axes.

    The outputs of a tile are the sum over the parts of outputs @ ((weights @ w) * (inputs @ x)).
    """

    parts: tuple[_Part, ...]
    """The second point of the first is 1: its column of ``outputs`` holds ones."""
    step: int
    """From one tile to the next, in pixels of the input."""
    border: int
    """The border holds the pixels so many steps farther in: 2 reflects, 1 repeats."""

    @property
    def pairs(self) -> list[tuple[_Part, _Part]]:
        """Of rows and columns."""
        return [(rows, columns) for rows in self.parts for columns in self.parts]


@functools.cache
def plain() -> Kind:
    """3 x 3, as many outputs as inputs."""
    return Kind((_Part(*_minimal_filter(TILE, 3, _POINTS)),), TILE, border=2)


@functools.cache
def enlarged() -> Kind:
    """3 x 3 of inputs of which each counts as 2 x 2."""
    inputs, weights, outputs = _minimal_filter(TILE, 3, _SYMMETRIC_POINTS)
    kept = [0, 1, 3, 4, 5]
    twice = np.repeat(np.eye(4), (1, 2, 2, 1), axis=0)
    return Kind((_Part(inputs[kept] @ twice, weights[kept], outputs[:, kept]),), TILE // 2, border=1)


@functools.cache
def stride_2() -> Kind:
    """3 x 3, stride 2: the outer weights are a filter of every other input, the middle one multiplies the others."""
    inputs, weights, outputs = _minimal_filter(TILE, 2, _POINTS[:4])
    outer = _Part(inputs, weights @ np.eye(3)[::2], outputs, every=2)
    middle = _Part(None, np.tile(np.eye(3)[1], (TILE, 1)), np.eye(TILE), first=1, every=2)
    return Kind((outer, middle), 2 * TILE, border=2)


def _minimal_filter(outputs: int, taps: int, points: tuple[float, ...]) -> tuple[_Matrix, _Matrix, _Matrix]:
    """Toom and Cook's transforms of inputs, weights and outputs; infinity is a point besides those given."""
    count = outputs + taps - 1
    inputs, weights, sums = np.zeros((count, count)), np.zeros((count, taps)), np.zeros((outputs, count))
    for row, point in enumerate(points):
        others = [other for other in points if other != point]
        inputs[row, :-1] = np.poly(others)[::-1]
        weights[row] = np.power(point, np.arange(taps)) / np.prod([point - other for other in others])
        sums[:, row] = np.power(point, np.arange(outputs))
    inputs[-1] = np.poly(points)[::-1]
    weights[-1, -1] = sums[-1, -1] = 1
    return inputs, weights, sums


class TiledConv:
    """A convolution with a bias, computed for some rows of tiles at a time, on the calling thread's tensors.

    weight: (out, in, 3, 3). bias: (out,). width: of the outputs, a multiple of ``TILE``.
    """

    def __init__(self, kind: Kind, weight: Tensor, bias: Tensor, width: int) -> None:
        self.kind, self.width, self.channels = kind, width, len(weight)
        self._tiles = width // TILE
        # At least two calls, which threads can share.
        self.rows_at_a_time = max(1, min(_TILES_AT_A_TIME // self._tiles, self._tiles // 2))
        """The rows of tiles in a call."""
        self._bias = bias
        taps = weight.detach().double().permute(2, 3, 1, 0)
        transforms = [
            np.einsum("ik,jl->ijkl", rows.weights, columns.weights).reshape(-1, 3, 3) for rows, columns in kind.pairs
        ]
        self._weight = torch.einsum("pkl,klio->pio", torch.from_numpy(np.concatenate(transforms)), taps).float()
        outputs = [np.kron(rows.outputs, columns.outputs) for rows, columns in kind.pairs]
        self._outputs = torch.from_numpy(np.hstack(outputs)).float()
        self._inputs = [_kron(rows, columns) for rows, columns in kind.pairs]
        self._one = 1 + kind.parts[0].points

    def __call__(self, x: Tensor, start: int, stop: int) -> Tensor:
        """The outputs of rows of tiles from ``start`` up to ``stop``: (rows, TILE, width / TILE, TILE, out), a view.

        x: a map with its border, (H + 2, W + 2, in).
        """
        products = torch.bmm(self._transformed(x, start, stop), self._weight)
        products[self._one] += self._bias
        out = torch.mm(self._outputs, products.flatten(1))
        return out.view(TILE, TILE, stop - start, self._tiles, -1).permute(2, 0, 3, 1, 4)

    def _transformed(self, x: Tensor, start: int, stop: int) -> Tensor:
        """(points, tiles, in)."""
        across, along = x.stride(0), x.stride(1)
        step = self.kind.step
        shape = (stop - start, self._tiles, x.shape[2])
        out = x.new_empty((len(self._weight), shape[0] * shape[1], shape[2]))
        done = 0
        for (rows, columns), transform in zip(self.kind.pairs, self._inputs, strict=True):
            tiles = x.as_strided(
                (rows.reach, columns.reach, *shape),
                (across * rows.every, along * columns.every, across * step, along * step, 1),
                x.storage_offset() + (start * step + rows.first) * across + columns.first * along,
            )
            part = out[done : done + rows.points * columns.points]
            done += len(part)
            if transform is None:
                part.view(tiles.shape).copy_(tiles)
            else:
                torch.mm(transform, tiles.reshape(transform.shape[1], -1), out=part.flatten(1))
        return out


def fill_border(x: Tensor, kind: Kind) -> None:
    """Fill the border of a map (H + 2, W + 2, C) as a kind of convolution takes it."""
    for side in (x, x.transpose(0, 1)):
        side[0] = side[kind.border]
        side[-1] = side[-1 - kind.border]


def _kron(rows: _Part, columns: _Part) -> Tensor | None:
    """The transform of the inputs along both axes; None for the identity."""
    if rows.inputs is None and columns.inputs is None:
        return None
    both = (np.eye(part.points) if part.inputs is None else part.inputs for part in (rows, columns))
    return torch.from_numpy(np.kron(*both)).float()

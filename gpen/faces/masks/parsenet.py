"""ParseNet's scores of the labels, from facexlib's network; on the CPU with its convolutions in tiles.

The picture that facexlib's network returns besides them is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..winograd import TILE, Kind, TiledConv, enlarged, fill_border, plain, stride_2
from ..workers import shared_workers

_SLOPE = 0.2
_ROWS_AT_A_TIME = 16
"""Of the convolutions that are not computed in tiles: those of the picture and of the scores have few channels."""

_Put = Callable[[Tensor, Tensor], object]
"""Called with a part of a map, and with what was computed for it."""


def parsenet_scores(network: Any, pictures: Tensor) -> Tensor:
    """The scores (N, 19, S, S) by facexlib's ``ParseNet``, for pictures (N, 3, S, S), RGB, -1 to 1."""
    features = network.encoder(pictures)
    result: Tensor = network.out_mask_conv(network.decoder(features + network.body(features)))
    return result


class TiledParseNet:
    """The same function, of a network on the CPU whose batch norm has been folded into its convolutions.

    size: of the pictures, in pixels. A block's shortcut is computed together with the convolution that has the same
    input, or whose result it is added to.
    """

    def __init__(self, network: Any, size: int) -> None:
        first, *down = network.encoder
        # With channels last in their weights, too, these convolutions read and write maps as they are.
        self._first: nn.Conv2d = first.conv2d.to(memory_format=torch.channels_last)
        self._down: list[tuple[TiledConv, TiledConv]] = []
        for block in down:
            inner = _tiled(plain(), size, block.conv1)
            size //= 2
            self._down.append((inner, _tiled(stride_2(), size, block.shortcut_func, block.conv2, add=True)))
        self._body = [
            (_tiled(plain(), size, block.conv1), _tiled(plain(), size, block.conv2)) for block in network.body
        ]
        self._up: list[tuple[TiledConv, TiledConv]] = []
        for block in network.decoder:
            size *= 2
            inner = _tiled(enlarged(), size, block.conv1, block.shortcut_func)
            self._up.append((inner, _tiled(plain(), size, block.conv2)))
        self._last: nn.Conv2d = network.out_mask_conv.conv2d.to(memory_format=torch.channels_last)

    def __call__(self, pictures: Tensor) -> Tensor:
        """See :func:`parsenet_scores`."""
        scores = pictures.new_empty((len(pictures), self._last.out_channels, *pictures.shape[2:]))
        for picture, out in zip(pictures, scores, strict=True):
            memory = _Memory()
            encoded = self._encode(picture, memory)
            features, hidden = encoded.clone(), torch.empty_like(encoded)
            for inner, outer in self._body:
                _convolve(inner, encoded, (hidden, _put_activated))
                _convolve(outer, hidden, (encoded, Tensor.add_))
            self._score(self._decode(encoded.add_(features), memory), out)
        return scores

    def _encode(self, picture: Tensor, memory: _Memory) -> Tensor:
        channels = self._first.out_channels
        x = memory.take(picture.shape[1], channels + self._down[0][0].channels)
        self._convolve_picture(picture, x[..., :channels])
        following = [inner.channels for inner, _ in self._down[1:]] + [0]
        for (inner, outer), more in zip(self._down, following, strict=True):
            # Beside the block's input lies what its first convolution makes of it.
            _convolve(inner, x[..., :channels], (x[..., channels:], _put_activated))
            channels = outer.channels
            result = memory.take(outer.width, channels + more)
            _convolve(outer, x, (result[..., :channels], Tensor.copy_))
            memory.give(x)
            x = result
        return x

    def _decode(self, x: Tensor, memory: _Memory) -> Tensor:
        for inner, outer in self._up:
            hidden, result = (memory.take(outer.width, outer.channels) for _ in range(2))
            _convolve(inner, x, (hidden, _put_activated), (result, Tensor.copy_))
            _convolve(outer, hidden, (result, Tensor.add_))
            memory.give(hidden)
            x = result
        return x

    def _convolve_picture(self, picture: Tensor, into: Tensor) -> None:
        def work(start: int) -> None:
            stop = start + _ROWS_AT_A_TIME
            rows = F.conv2d(padded[:, :, start : stop + 2], self._first.weight, self._first.bias)
            into[1 + start : 1 + stop, 1:-1] = rows[0].permute(1, 2, 0)

        padded = F.pad(picture[None], (1, 1, 1, 1), mode="reflect")
        shared_workers().run(work, range(0, picture.shape[1], _ROWS_AT_A_TIME))

    def _score(self, x: Tensor, scores: Tensor) -> None:
        def work(start: int) -> None:
            stop = start + _ROWS_AT_A_TIME
            rows = x[start : stop + 2].permute(2, 0, 1)
            scores[:, start:stop] = F.conv2d(rows[None], self._last.weight, self._last.bias)[0]

        shared_workers().run(functools.partial(fill_border, x), [plain()])
        shared_workers().run(work, range(0, scores.shape[1], _ROWS_AT_A_TIME))


class _Memory:
    """Memory of maps, which is used again: new memory has to be mapped page by page."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def take(self, size: int, channels: int) -> Tensor:
        """An uninitialised map with its border, (size + 2, size + 2, channels)."""
        shape = (size + 2, size + 2, channels)
        needed = shape[0] * shape[1] * shape[2]
        for number, free in enumerate(self._free):
            if len(free) >= needed:
                self._free[number] = free[needed:]
                return free[:needed].view(shape)
        return torch.empty(shape, dtype=torch.float32, device="cpu")

    def give(self, x: Tensor) -> None:
        """Take back a map that is not needed any more."""
        self._free.append(x.view(-1))


def _convolve(convolution: TiledConv, x: Tensor, *targets: tuple[Tensor, _Put]) -> None:
    """Put the results of a convolution into maps, the first channels into the first; fills the border of ``x``."""

    def work(start: int) -> None:
        stop = min(start + convolution.rows_at_a_time, tiles)
        results = torch.split(convolution(x, start, stop), [into.shape[-1] for into, _ in targets], dim=-1)
        for result, (into, put) in zip(results, targets, strict=True):
            rows = into[1 + TILE * start : 1 + TILE * stop, 1:-1]
            put(torch.unflatten(torch.unflatten(rows, 1, (-1, TILE)), 0, (-1, TILE)), result)

    tiles = convolution.width // TILE
    shared_workers().run(functools.partial(fill_border, x), [convolution.kind])
    shared_workers().run(work, range(0, tiles, convolution.rows_at_a_time))


def _put_activated(part: Tensor, values: Tensor) -> None:
    part.copy_(F.leaky_relu_(values, _SLOPE))


def _tiled(kind: Kind, size: int, *layers: Any, add: bool = False) -> TiledConv:
    """The convolutions of several layers as one: their results side by side, or, of inputs side by side, added.

    size: of the results.
    """
    weight = torch.cat([layer.conv2d.weight for layer in layers], dim=1 if add else 0)
    biases = [layer.conv2d.bias for layer in layers]
    return TiledConv(kind, weight, torch.stack(biases).sum(dim=0) if add else torch.cat(biases), size)

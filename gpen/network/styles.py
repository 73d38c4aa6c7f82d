"""What a style does to the generator's convolutions: modulation and demodulation of all layers at once.

Always in float32: float16 cannot hold the squares that are summed. What depends on the weights alone is derived from
them once (:class:`StyleWeights`); a call then takes few operations, however many layers there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from .layers import EPSILON, LEAKY_GAIN, EqualizedLinear, LaidOut, parameter

KERNEL_SIZE = 3


class ModulatedWeight(LaidOut):
    """Parameters of a convolution whose input channels are scaled by the style: (1, out, in, size, size).

    transposed: whether the convolution is a transposed one.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, style_dim: int, *, transposed: bool = False
    ) -> None:
        super().__init__((0, 2, 3, 4, 1) if transposed else (0, 1, 3, 4, 2))
        self.weight = parameter(1, out_channels, in_channels, kernel_size, kernel_size)
        self.modulation = EqualizedLinear(style_dim, in_channels)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)

    @property
    def in_channels(self) -> int:
        return self.weight.shape[2]

    @property
    def out_channels(self) -> int:
        return self.weight.shape[1]


@dataclass(frozen=True, eq=False)
class Modulated:
    """The weights of a 3 x 3 modulated convolution for one style, or for the styles of a batch.

    Demodulation and the leaky ReLU's gain are included.
    """

    weight: Tensor
    """(out, in, 3, 3), or (4, out, in, 3, 3) where it is joined with a filter."""
    factors: Tensor | None = None
    """Factors of the weight (out, in), float32; None if they are part of it, or in the other two."""
    before: Tensor | None = None
    """Factors of the input channels (N, in, 1, 1); None if they are part of the weight."""
    after: Tensor | None = None
    """Factors of the output channels (N, out, 1, 1); None if they are part of the weight."""

    def scaled(self, dtype: torch.dtype) -> Modulated:
        """The same in the dtype of the maps, and with the factors in the weight.

        It is made when it is needed, so that one level's exist at a time.
        """
        if self.factors is None:
            return replace(self, weight=self.weight.to(dtype))
        return Modulated(_product(self.weight, self.factors, dtype))


class StyleWeights(NamedTuple):
    """What is derived from the layers' weights, in float32: first the 3 x 3 convolutions, then the layers to RGB.

    A row is an input channel of a layer. A column is an output channel of a convolution; after those of each
    convolution comes one for its norm.
    """

    modulation: Tensor | None
    """(rows, style_dim), the linear layers' weights, scaled; None on a CPU, where a copy of them would cost more memory
    than one product instead of many saves time."""
    bias: Tensor
    """(rows,), the linear layers' biases, scaled."""
    energies: list[Tensor]
    """(convolutions, out + 1, in) for each run of convolutions of one shape: a kernel's sum of squares by the leaky
    ReLU's squared gain. The last is that of a kernel of ones, without the gain."""
    norm_of_row: Tensor
    """(rows of the convolutions,), the column of the convolution's norm."""
    norm_of_column: Tensor
    """(columns,), the column of the convolution's norm."""
    to_rgb: Tensor
    """(3, rows of the layers to RGB)."""


def derive_style_weights(convs: Sequence[ModulatedWeight], to_rgbs: Sequence[ModulatedWeight]) -> StyleWeights:
    """What :func:`modulate` needs of the layers' weights."""
    layers = (*convs, *to_rgbs)
    device = layers[0].weight.device
    modulation = None
    if device.type != "cpu":
        modulation = torch.cat([one.modulation.weight.float() * (one.modulation.scale * one.scale) for one in layers])
    columns = [one.out_channels + 1 for one in convs]
    norms = [end - 1 for end in itertools.accumulate(columns)]

    def norm_of(each: list[int]) -> Tensor:
        # Filled on the device: copying from the host would wait for it.
        return torch.cat([torch.full((n,), norm, device=device) for n, norm in zip(each, norms, strict=True)])

    return StyleWeights(
        modulation=modulation,
        bias=torch.cat([one.modulation.bias.float() * one.scale for one in layers]),
        energies=[_energies(list(run)) for _, run in itertools.groupby(convs, key=lambda one: one.weight.shape)],
        norm_of_row=norm_of([one.in_channels for one in convs]),
        norm_of_column=norm_of(columns),
        to_rgb=torch.cat([one.weight[0, :, :, 0, 0].float() for one in to_rgbs], dim=1),
    )


def _energies(convs: Sequence[ModulatedWeight]) -> Tensor:
    shape = (len(convs), convs[0].out_channels + 1, convs[0].in_channels)
    energies = torch.full(shape, float(KERNEL_SIZE**2), dtype=torch.float32, device=convs[0].weight.device)
    for energy, conv in zip(energies, convs, strict=True):
        norm = torch.linalg.vector_norm(conv.weight[0], dim=(2, 3), dtype=torch.float32)
        energy[:-1] = norm.square_().div_(LEAKY_GAIN**2)
    return energies


def modulate(
    convs: Sequence[ModulatedWeight],
    to_rgbs: Sequence[ModulatedWeight],
    weights: StyleWeights,
    style: Tensor,
    pixels: Sequence[int],
) -> tuple[list[Modulated], list[Tensor]]:
    """All layers' weights for these styles, float32 (N, style_dim), in the dtype of the layers.

    pixels: of the input of each convolution, in ascending order. Returns the weights of the convolutions, and
    (N, 3, in) of each layer to RGB.
    """
    modulation = _modulation((*convs, *to_rgbs), weights, style)
    rows, columns = [one.in_channels for one in convs], [one.out_channels + 1 for one in convs]
    inverse = _inverse_norms(modulation[:, : sum(rows)], weights.energies)
    # Scaling the input channels by the style and the output channels by the demodulation equals scaling the weight.
    # It costs less for small maps, and one weight serves a batch of styles.
    small = sum(
        len(style) > 1 or number <= KERNEL_SIZE**2 * conv.out_channels
        for conv, number in zip(convs, pixels, strict=True)
    )
    modulated = _around(convs[:small], modulation, inverse, weights)
    *by_row, for_rgb = torch.split(modulation, [*rows, weights.to_rgb.shape[1]], dim=1)
    by_column = torch.split(inverse, columns, dim=1)
    for conv, factors, demodulation in zip(convs[small:], by_row[small:], by_column[small:], strict=True):
        modulated.append(Modulated(conv.weight[0], demodulation[:, :-1].T * factors))
    to_rgb = (weights.to_rgb * for_rgb[:, None]).to(to_rgbs[0].weight.dtype)
    return modulated, list(torch.split(to_rgb, [one.in_channels for one in to_rgbs], dim=2))


def _modulation(layers: Sequence[ModulatedWeight], weights: StyleWeights, style: Tensor) -> Tensor:
    """The factors (N, rows) of all layers' input channels, by which the published code scales the weights."""
    if weights.modulation is not None:
        return torch.addmm(weights.bias, style, weights.modulation.T)
    rows = [layer.in_channels for layer in layers]
    out = style.new_empty((len(style), sum(rows)))
    for layer, bias, part in zip(layers, torch.split(weights.bias, rows), torch.split(out, rows, dim=1), strict=True):
        scale = layer.modulation.scale * layer.scale
        torch.addmm(bias, style, layer.modulation.weight.float().T, alpha=scale, out=part)
    return out


def _inverse_norms(modulation: Tensor, energies: Sequence[Tensor]) -> Tensor:
    """The inverse norms (N, columns) of the modulated kernels, times the leaky ReLU's gain; a kernel of ones lacks it.

    modulation: (N, rows of the convolutions).
    """
    batch, squares = len(modulation), modulation.square()
    sums = modulation.new_empty((batch, sum(one.shape[0] * one.shape[1] for one in energies)))
    row = column = 0
    for energy in energies:
        layers, columns, rows = energy.shape
        x = squares[:, row : row + layers * rows].view(batch, layers, rows).transpose(0, 1)
        out = sums[:, column : column + layers * columns].view(batch, layers, columns)
        torch.bmm(x, energy.mT, out=out.transpose(0, 1))
        row, column = row + layers * rows, column + layers * columns
    return sums.add_(EPSILON / LEAKY_GAIN**2).rsqrt_()


def _around(
    convs: Sequence[ModulatedWeight], modulation: Tensor, inverse: Tensor, weights: StyleWeights
) -> list[Modulated]:
    """Factors for the inputs and outputs of the first convolutions, whose weights stay as they are.

    The factors of the inputs are such that a kernel of ones would have unit norm. The raw weights are of magnitude 1,
    so the sums are about as large as the demodulated ones, and fit into float16.
    """
    if not convs:
        return []
    dtype = convs[0].weight.dtype
    rows, columns = [one.in_channels for one in convs], [one.out_channels + 1 for one in convs]
    of_row, of_column = weights.norm_of_row[: sum(rows)], weights.norm_of_column[: sum(columns)]
    before = (modulation[:, : sum(rows)] * inverse[:, of_row]).to(dtype)[:, :, None, None]
    after = (inverse[:, : sum(columns)] / inverse[:, of_column]).to(dtype)[:, :, None, None]
    return [
        Modulated(conv.weight[0], None, by_row, by_column[:, :-1])
        for conv, by_row, by_column in zip(
            convs, torch.split(before, rows, dim=1), torch.split(after, columns, dim=1), strict=True
        )
    ]


def _product(weight: Tensor, factors: Tensor, dtype: torch.dtype) -> Tensor:
    """weight (..., out, in, 3, 3) times float32 factors (out, in), rounded once."""
    if weight.device.type in ("cpu", "cuda"):
        # Written in that dtype by the operation that multiplies. Other backends may not convert.
        return torch.mul(weight, factors[:, :, None, None], out=torch.empty_like(weight, dtype=dtype))
    return (weight * factors[:, :, None, None]).to(dtype)

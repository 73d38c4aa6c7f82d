"""Synthetic weights with a known output: the network does its full work, and the result can be predicted.

They are not a trained model. Tests use them to turn every mistake into a number; the demonstration uses the sharpening
ones, and says so.

How it works: the 1 x 1 convolution ``ecd0`` puts +R, -R, +G, -G, +B, -B into its first six channels. They reach the
last ToRGB through the concatenation at the largest level, after two leaky ReLUs with gain sqrt(2): x becomes 2x where
it is positive and 0.08x where it is negative, so the difference of a pair's two channels is 2.08x. The last ToRGB adds
these differences through a 3 x 3 colour matrix; everything else that reaches the picture is multiplied by zero.

With a filter, the last styled convolution reads the six channels instead, and the last ToRGB reads its output: one more
leaky ReLU, after which the difference of a pair is sqrt(2) x 1.2 times the filtered value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import CheckpointError
from .gpen import GPEN
from .layers import LEAKY_GAIN, LEAKY_SLOPE
from .spec import Spec

PAIR_GAIN = LEAKY_GAIN**2 * (1 + LEAKY_SLOPE**2)
"""The factor of a pair's difference after two scaled leaky ReLUs: 2.08."""

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

SHARPEN = ((-0.25, -0.5, -0.25), (-0.5, 4.0, -0.5), (-0.25, -0.5, -0.25))
"""A 3 x 3 filter of sum 1 that visibly sharpens."""


def synthetic_weights(
    spec: Spec,
    *,
    color_matrix: Sequence[Sequence[float]] = IDENTITY,
    color_bias: Sequence[float] = (0.0, 0.0, 0.0),
    kernel: Sequence[Sequence[float]] | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """State dict of a network that returns ``color_matrix @ filtered(x) + color_bias``.

    x: the network's input, RGB. kernel: 3 x 3 filter of each channel, a correlation with zeros beyond the border; None
    for no filter. With the defaults the network is the identity (passthrough weights). All tensors that do not affect
    the result are random.

    CheckpointError unless in_size == out_size and that size has at least six channels.
    """
    channels = spec.channels(spec.out_size)
    if spec.in_size != spec.out_size or channels < 6:
        raise CheckpointError(
            f"Synthetic weights need equal input and output sizes and six channels at the largest level; {spec.title} "
            f"has {channels}. Choose another spec."
        )
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: tensor if name.endswith(".kernel") else torch.randn(tensor.shape, generator=generator)
        for name, tensor in GPEN(spec).state_dict().items()
    }
    for name in weights:
        if name.endswith("noise.weight"):
            weights[name] = torch.ones(1)
        elif name.endswith("modulation.bias"):
            weights[name] = 1 + 0.1 * weights[name]
    _read_rgb(weights)
    last = (spec.out_size // 4).bit_length() - 2
    convolution = f"generator.convs.{2 * last + 1}"
    if kernel is None:
        weights[f"{convolution}.activate.bias"][channels : channels + 6] = 0
        _write_rgb(weights, last, channels, PAIR_GAIN, color_matrix, color_bias)
    else:
        weights[f"generator.convs.{2 * last}.activate.bias"][channels : channels + 6] = 0
        gain = _filter(weights, convolution, channels, torch.tensor(kernel, dtype=torch.float32))
        _write_rgb(weights, last, 0, gain, color_matrix, color_bias)
    return weights


def _read_rgb(weights: dict[str, Tensor]) -> None:
    """Put +R, -R, +G, -G, +B, -B into the first six channels of the encoder's largest map."""
    weight = torch.zeros_like(weights["ecd0.0.0.weight"])
    for color in range(3):
        weight[2 * color, color] = math.sqrt(3)
        weight[2 * color + 1, color] = -math.sqrt(3)
    weights["ecd0.0.0.weight"] = weight
    weights["ecd0.0.1.bias"] = torch.zeros_like(weights["ecd0.0.1.bias"])


def _filter(weights: dict[str, Tensor], layer: str, first: int, kernel: Tensor) -> float:
    """Make styled convolution ``layer`` filter the pairs that begin at channel ``first`` of its input.

    Returns the factor between a pair's difference in its output and the filtered picture.
    """
    weight = torch.zeros_like(weights[f"{layer}.conv.weight"])
    for color in range(3):
        for sign, out in ((1.0, 2 * color), (-1.0, 2 * color + 1)):
            weight[0, out, first + 2 * color] = sign * kernel
            weight[0, out, first + 2 * color + 1] = -sign * kernel
    weights[f"{layer}.conv.weight"] = weight
    _switch_modulation_off(weights, layer)
    weights[f"{layer}.activate.bias"][:6] = 0
    # Demodulation scales each filter, here the kernel twice, to unit norm.
    norm = math.sqrt(2) * float(kernel.norm())
    return PAIR_GAIN / norm * LEAKY_GAIN * (1 + LEAKY_SLOPE)


def _write_rgb(
    weights: dict[str, Tensor],
    last: int,
    first: int,
    gain: float,
    matrix: Sequence[Sequence[float]],
    bias: Sequence[float],
) -> None:
    """Let ToRGB ``last`` compute the picture from the pairs that begin at channel ``first``; zero the others."""
    for name in list(weights):
        if ".to_rgb" in name and name.endswith(("conv.weight", ".bias")) and "modulation" not in name:
            weights[name] = torch.zeros_like(weights[name])
    layer = f"generator.to_rgbs.{last}"
    _switch_modulation_off(weights, layer)
    weight = weights[f"{layer}.conv.weight"]
    scale = math.sqrt(weight.shape[2]) / gain
    for row in range(3):
        for color in range(3):
            weight[0, row, first + 2 * color] = matrix[row][color] * scale
            weight[0, row, first + 2 * color + 1] = -matrix[row][color] * scale
    weights[f"{layer}.bias"] = torch.tensor(bias, dtype=torch.float32).view(1, 3, 1, 1)


def _switch_modulation_off(weights: dict[str, Tensor], layer: str) -> None:
    weights[f"{layer}.conv.modulation.weight"] = torch.zeros_like(weights[f"{layer}.conv.modulation.weight"])
    weights[f"{layer}.conv.modulation.bias"] = torch.ones_like(weights[f"{layer}.conv.modulation.bias"])

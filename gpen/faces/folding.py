"""Batch norm folded into the convolutions before it: the same function of the input, in fewer passes over the maps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import torch
from torch import nn

_PAIRS = (
    ("conv2d", "norm.norm"),
    ("conv", "bn"),
    ("conv1", "bn1"),
    ("conv2", "bn2"),
    ("conv3", "bn3"),
    ("conv_atten", "bn_atten"),
)
"""Attributes of facexlib's modules, of which the second is called with the result of the first."""


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch norm of a network of facexlib that directly follows a convolution or a linear layer.

    The network has to be in evaluation mode. Its new weights are computed in float64 and rounded once.
    """
    for parent in list(network.modules()):
        for first, second in list(_pairs(parent)):
            layer, norm = attrgetter(first)(parent), attrgetter(second)(parent)
            if _belong_together(layer, norm):
                _fold(layer, norm)
                owner, _, name = second.rpartition(".")
                setattr(parent.get_submodule(owner), name, nn.Identity())


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    if isinstance(parent, nn.Sequential):
        yield from itertools.pairwise(name for name, _ in parent.named_children())
        return
    children = {name for name, _ in parent.named_children()}
    for first, second in _PAIRS:
        if {first, second.partition(".")[0]} <= children:
            yield first, second


def _belong_together(layer: object, norm: object) -> bool:
    return (isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)) or (
        isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d)
    )


def _fold(layer: Any, norm: Any) -> None:
    mean, variance, gain, offset = (
        tensor.detach().double() for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    weight = layer.weight.detach().double()
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.detach().double()
    scale = gain / torch.sqrt(variance + norm.eps)
    weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    bias = (bias - mean) * scale + offset
    layer.weight, layer.bias = (nn.Parameter(tensor.float(), requires_grad=False) for tensor in (weight, bias))

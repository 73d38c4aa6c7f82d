"""YuNet's network for CUDA, with half as many kernels per call.

Between a pointwise and a depthwise convolution there is no activation, and after every activation comes a pointwise
convolution, at most past a maximum or a sum. So the bias b of a depthwise convolution need not be added:
relu(y + b) = max(y, -b) + b, and what is missing is the same for every pixel, which the bias of the next pointwise
convolution makes up for. A pointwise convolution is a matrix product of the pixels, to which cuBLAS adds the bias;
unlike cuDNN, it does not round to TensorFloat-32 unless the host asks for that, which changes scores by up to 0.003.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .yunet_network import HALVED_BEFORE, NECK_UNITS, Separable, YuNetNetwork


@dataclass(frozen=True)
class _Unit:
    """A pointwise and a depthwise convolution, of maps (N, H, W, C)."""

    matrix: Tensor
    """(C, C')."""
    bias: Tensor
    """(C',), of the matrix."""
    kernel: Tensor
    """(C', 1, 3, 3)."""
    floor: Tensor
    """(C',): less the bias of the depthwise convolution, which is missing in the result."""

    @classmethod
    def of(cls, unit: Separable, missing: Tensor) -> _Unit:
        """missing: (C,), float64, what is missing in the unit's input."""
        matrix = unit.pointwise.weight[:, :, 0, 0].double()
        bias = matrix @ missing + _bias(unit.pointwise)
        kernel = unit.depthwise.weight.contiguous(memory_format=torch.channels_last)
        return cls(matrix.t().float().contiguous(), bias.float(), kernel, -_bias(unit.depthwise).float())

    def convolved(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to (N, H, W, C')."""
        between = torch.addmm(self.bias, x.reshape(-1, x.shape[3]), self.matrix).view(*x.shape[:3], -1)
        planes = F.conv2d(between.permute(0, 3, 1, 2), self.kernel, padding=1, groups=len(self.kernel))
        return planes.permute(0, 2, 3, 1)

    def activated(self, x: Tensor) -> Tensor:
        """The same, then ReLU."""
        return self.convolved(x).clamp_(min=self.floor)


class FoldedYuNet:
    """Computes the same as a network, from its weights as they are now, on its device, in float32."""

    def __init__(self, network: YuNetNetwork) -> None:
        self._stem = network.stem.weight.contiguous(memory_format=torch.channels_last)
        missing = [_bias(network.stem)]
        self._stem_floor = -missing[0].float()
        self._backbone = []
        for unit in network.backbone:
            self._backbone.append(_Unit.of(_separable(unit), missing[-1]))
            missing.append(_bias(_separable(unit).depthwise))
        # The coarsest level first, as they are computed.
        self._levels = []
        above = torch.zeros_like(missing[-1])
        pairs = zip(NECK_UNITS, network.laterals, network.heads, strict=True)
        for number, lateral, head in reversed(list(pairs)):
            level = _Unit.of(_separable(lateral), missing[number + 1] + above)
            above = _bias(_separable(lateral).depthwise)
            self._levels.append((level, _Unit.of(_separable(head), above)))

    def __call__(self, batch: Tensor) -> list[Tensor]:
        """As :class:`gpen.faces.detection.yunet_network.YuNetNetwork`."""
        x = F.conv2d(batch, self._stem, stride=2, padding=1).permute(0, 2, 3, 1).clamp_(min=self._stem_floor)
        kept = []
        for number, unit in enumerate(self._backbone):
            if number in HALVED_BEFORE:
                x = F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
            x = unit.activated(x)
            if number in NECK_UNITS:
                kept.append(x)
        maps: list[Tensor] = []
        for own, (lateral, head) in zip(reversed(kept), self._levels, strict=True):
            x = lateral.activated(_plus_enlarged(own, x) if maps else own)
            maps.append(head.convolved(x).sub_(head.floor).permute(0, 3, 1, 2))
        return maps[::-1]


def _plus_enlarged(own: Tensor, coarser: Tensor) -> Tensor:
    """A map (N, 2H, 2W, C) plus one (N, H, W, C), each pixel of which is repeated."""
    batch, height, width, channels = coarser.shape
    blocks = own.reshape(batch, height, 2, width, 2, channels) + coarser[:, :, None, :, None]
    return blocks.reshape(own.shape)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias.double()


def _separable(module: nn.Module) -> Separable:
    assert isinstance(module, Separable)
    return module

"""YuNet's network: a small backbone of depthwise separable convolutions, three levels, one head for each.

W. Wu, H. Peng, S. Yu: YuNet: a tiny millisecond-level face detector. Machine Intelligence Research 20, 2023,
doi:10.1007/s11633-023-1423-y; the structure is that of the files that OpenCV's zoo publishes, with the batch norm
folded into the convolutions and the four outputs of a level computed as one.
"""

from __future__ import annotations

from torch import Tensor, nn

STRIDES = (8, 16, 32)
"""Pixels of the picture per cell of each level."""
HEAD_PARTS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
"""The outputs for each cell, in the order of the channels, with the number of channels."""

HEAD_CHANNELS = sum(channels for _, channels in HEAD_PARTS)
NECK_UNITS = (6, 8, 10)
"""The units of the backbone whose outputs the neck takes, for each stride."""

_BACKBONE = ((16, 16), (16, 16), (16, 32), (32, 32), (32, 64), *[(64, 64)] * 6)
"""Channels into and out of each unit."""
HALVED_BEFORE = (1, 5, 7, 9)
"""The units whose input is reduced to half its height and width."""
_WIDTH = 64


class Separable(nn.Module):
    """A pointwise and a depthwise convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)
        self.depthwise = nn.Conv2d(channels_out, channels_out, 3, padding=1, groups=channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        return self.depthwise(self.pointwise(x))  # type: ignore[no-any-return]


class YuNetNetwork(nn.Module):
    """Takes (N, 3, H, W), BGR, 0 to 255, height and width multiples of 32.

    Returns for each of :data:`STRIDES` a map (N, 16, H / stride, W / stride), whose channels are :data:`HEAD_PARTS`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _BACKBONE[0][0], 3, stride=2, padding=1)
        self.backbone = nn.ModuleList(Separable(*channels) for channels in _BACKBONE)
        self.laterals = nn.ModuleList(Separable(_WIDTH, _WIDTH) for _ in STRIDES)
        self.heads = nn.ModuleList(Separable(_WIDTH, HEAD_CHANNELS) for _ in STRIDES)
        self.relu, self.halve, self.upsample = nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Upsample(scale_factor=2.0)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        x = self.relu(self.stem(x))
        kept = []
        for number, unit in enumerate(self.backbone):
            if number in HALVED_BEFORE:
                x = self.halve(x)
            x = self.relu(unit(x))
            if number in NECK_UNITS:
                kept.append(x)
        levels: list[Tensor] = []
        for own, lateral in zip(reversed(kept), reversed(self.laterals), strict=True):
            x = own if not levels else own + self.upsample(levels[-1])
            levels.append(self.relu(lateral(x)))
        return [head(level) for head, level in zip(self.heads, reversed(levels), strict=True)]

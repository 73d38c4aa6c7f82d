"""Steady texture: what a network adds to a face is averaged along motion over the frames of a video.

A network makes up pores and hair anew in each frame, wherever the face's crop may lie. What it adds to the source, its
answer less the source's low frequencies, is therefore brought from the frames before to where motion has taken it, and
averaged. The low frequencies are always the present frame's: light and shade change without delay.

A frame before counts, pixel by pixel, as far as the motion from there is known: the flow forth and back has to end
where it began (Sundaram et al., "Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow", 2010),
and the source has to look the same at both ends, as far as its noise lets one tell. That goes for each step between
neighbouring frames, so nothing reaches past a frame in which something covered it.

The average is over a window of frames, each brought to the present one by a single interpolation, and not recursive. A
result depends on no frame before the window, so a film can be begun anywhere, and detail is not blurred repeatedly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...images.tensors import luma
from ..color import blurred
from ..resampling.resample import reduced
from .flow import displaced, flow_both_ways

LOOK_BACK = 5
"""How many frames before a frame its texture depends on."""

_GRID = 256
"""The most pixels, along one axis, of the grid that motion is found on."""
_LEVELS = 5
"""Of the blur that makes the source's low frequencies, a standard deviation of 13 pixels of the grid. With less, noise
of a small face's crop, which is as coarse as the crop is enlarged, would come back into the result."""
_WINDOW = 5
"""Side of the window, in pixels of the grid, that the source is compared in."""
_UNLIKE = 5.0
"""A squared difference that halves a frame's weight, in multiples of its median over the crop."""
_LEAST_NOISE, _MOST_NOISE = 0.004, 0.03
"""Limits of that median's root: of 8 bits without noise, and of what can be noise rather than another view."""
_ASTRAY = 0.5
"""Pixels of the grid that the flow forth and back may be off for half the weight, more where the motion is long."""
_PER_LENGTH = 0.05
"""How many pixels more for each pixel of motion."""
_SOFTENING = 0.4
"""What bicubic interpolation takes of the finest detail where four pixels meet, and is given back: a share of what a
blur of 3 x 3 pixels takes."""


@dataclass(frozen=True, eq=False)
class _Past:
    """What is kept of a frame before."""

    frame: int
    source: Tensor
    """(1, 3, G, G), the source's crop on the grid."""
    detail: Tensor
    """(1, 3, S, S), float16: what the network added."""
    flow: Tensor
    """(1, 2, G, G): from the newest frame to this one, in pixels of the grid."""
    trust: Tensor
    """(1, 1, G, G): how far this frame counts there, [0, 1]."""


class SteadyTexture:
    """Averages what a network adds to the faces of one video, which it is given in the order of the frames.

    strength: 0 to 1, how much the frames before count, each compared to the present one.

    A track begins anew after :data:`LOOK_BACK` frames without it, and where the size of its crops changes. Tracks end
    at cuts, so nothing is carried across them. Where a film is begun in the middle, results are the same as if all of
    it had been given, once the :data:`LOOK_BACK` frames before were given.
    """

    def __init__(self, strength: float = 1.0) -> None:
        self._strength = strength
        self._tracks: dict[int, deque[_Past]] = {}

    def clear(self) -> None:
        """Forget all frames."""
        self._tracks.clear()

    def steadied(self, track: int, frame: int, before: Tensor, after: Tensor) -> Tensor:
        """The network's answer with steady texture, [0, 1]; ``after`` itself where there is no frame to average with.

        track: the number of the face's track. frame: counts the video's frames; where it does not increase, what was
        given is forgotten. before: (T, T, 3), [0, 1], the crop of the source. after: (S, S, 3), [0, 1], on the same
        device.
        """
        self._forget(track, frame)
        size, grid = len(after), min(_GRID, len(before), len(after))
        source = _on_grid(before, grid)
        low = F.interpolate(blurred(source[0], _LEVELS)[None], (size, size), mode="bilinear", align_corners=False)
        detail = after.permute(2, 0, 1)[None] - low
        pasts = self._tracks.setdefault(track, deque(maxlen=LOOK_BACK))
        if pasts and (pasts[-1].source.shape != source.shape or pasts[-1].detail.shape != detail.shape):
            pasts.clear()
        if pasts:
            self._tracks[track] = pasts = deque(_seen_from(source, pasts), maxlen=LOOK_BACK)
        averaged = _averaged(detail, pasts, self._strength) if pasts else None
        still = source.new_zeros(1, 2, grid, grid), source.new_ones(1, 1, grid, grid)
        pasts.append(_Past(frame, source, detail.half(), *still))
        return after if averaged is None else (averaged + low)[0].permute(1, 2, 0).clamp(0, 1)

    def _forget(self, track: int, frame: int) -> None:
        """Drop what is not among the frames just before this one of a track."""
        for number, pasts in list(self._tracks.items()):
            # Other tracks may have been given the same frame already.
            if pasts[-1].frame > frame or (number == track and pasts[-1].frame == frame):
                pasts.clear()
            while pasts and pasts[0].frame < frame - LOOK_BACK:
                pasts.popleft()
            if not pasts:
                del self._tracks[number]


@dataclass(frozen=True, eq=False)
class FrameTexture:
    """The steady texture of one frame."""

    video: SteadyTexture
    """Of all frames."""
    frame: int
    """The number of this one."""

    def steadied(self, track: int, before: Tensor, after: Tensor) -> Tensor:
        """As :meth:`SteadyTexture.steadied`."""
        return self.video.steadied(track, self.frame, before, after)


def _on_grid(crop: Tensor, grid: int) -> Tensor:
    channels = crop.permute(2, 0, 1)
    return (channels if grid == len(crop) else reduced(channels, grid, grid))[None]


def _seen_from(source: Tensor, pasts: Iterable[_Past]) -> list[_Past]:
    """The frames before, with the flow to them from a new frame, whose source is on the grid."""
    *_, last = pasts
    flows = flow_both_ways(*(luma(crop[0].permute(1, 2, 0)) for crop in (source, last.source)))
    forth, back = flows[:1], flows[1:]
    trust = _agreement(forth, back)
    moved = []
    for past in pasts:
        further = displaced(torch.cat([past.flow, past.trust], dim=1), forth)
        flow = forth + further[:, :2]
        alike = _likeness(source, displaced(past.source, flow))
        moved.append(replace(past, flow=flow, trust=trust * further[:, 2:] * alike))
    return moved


def _averaged(detail: Tensor, pasts: Iterable[_Past], strength: float) -> Tensor:
    """The weighted mean of the present detail (1, 3, S, S), whose weight is 1, and of those before."""
    size = detail.shape[3]
    total, weights = detail.clone(), torch.ones_like(detail[:, :1])
    softened = torch.zeros_like(detail)
    for past in pasts:
        flow_and_trust = torch.cat([past.flow * (size / past.flow.shape[3]), past.trust * strength], dim=1)
        large = F.interpolate(flow_and_trust, (size, size), mode="bilinear", align_corners=False)
        flow, weight = large[:, :2], large[:, 2:]
        moved = displaced(past.detail.float(), flow, "bicubic")
        total.addcmul_(moved, weight)
        softened.addcmul_(moved, weight * _between_pixels(flow))
        weights += weight
    total.add_(softened - blurred(softened[0], 1), alpha=_SOFTENING)
    return total / weights


def _between_pixels(flow: Tensor) -> Tensor:
    """How far places lie between pixels: 0 on a pixel, 1 where four meet, (1, 1, S, S)."""
    fraction = flow - flow.floor()
    return (fraction * (1 - fraction)).sum(dim=1, keepdim=True) * 2


def _agreement(forth: Tensor, back: Tensor) -> Tensor:
    """How far the flow back ends where the flow forth began, (1, 1, G, G), [0, 1]."""
    astray = forth + displaced(back, forth)
    allowed = _ASTRAY + _PER_LENGTH * forth.square().sum(dim=1, keepdim=True).sqrt()
    return 1 / (1 + (astray.square().sum(dim=1, keepdim=True) / allowed.square()).square())


def _likeness(source: Tensor, other: Tensor) -> Tensor:
    """How far two sources (1, 3, G, G) look the same around each pixel, given their noise: (1, 1, G, G), [0, 1]."""
    squared = (source - other).square().mean(dim=1, keepdim=True)
    squared = F.avg_pool2d(squared, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)
    noise = squared.median().clamp(_LEAST_NOISE**2, _MOST_NOISE**2)
    return 1 / (1 + (squared / (_UNLIKE * noise)).square())

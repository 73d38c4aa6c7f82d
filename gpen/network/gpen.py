"""The GPEN network.

An encoder of strided convolutions whose feature maps are concatenated into a StyleGAN2 generator in place of its noise
(Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild", CVPR 2021; Karras et al., "Analyzing
and Improving the Image Quality of StyleGAN", CVPR 2020). The state dict has the names and shapes of the published
checkpoints.

At the large levels a feature map is hundreds of megabytes, more than any cache, and writing and reading such maps takes
longer than the arithmetic. So every level is computed in strips of rows, from the map of the level below to its own,
and the intermediate maps never exist as a whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cuda_graph import Call, CudaGraph, RepeatedCalls, can_record
from .derived import Deriving, weights_state
from .fusion import Encoded, kernels_for
from .layers import (
    ActivatedLinear,
    EncoderDown,
    EncoderInput,
    LaidOut,
    PixelNorm,
    Rows,
    empty_map,
    parameter,
)
from .memory import largest_map_bytes, memory_estimate, strip_bytes_on
from .spec import BOTTOM_SIZE, Spec
from .styled import AddToRGB, StyledConv, ToRGB
from .styles import Modulated, derive_style_weights, modulate

MAPPING_LR_MULTIPLIER = 0.01


class _LevelWeights(NamedTuple):
    """The modulated weights of one level of the generator."""

    first: Modulated
    second: Modulated
    to_rgb: Tensor


class _ConstantInput(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = parameter(1, channels, BOTTOM_SIZE, BOTTOM_SIZE)


class _Generator(Deriving):
    """StyleGAN2's generator with the encoder's maps in place of noise.

    encoder_gains: what the encoder's maps lack, for each size that has one.
    """

    def __init__(self, spec: Spec, encoder_gains: Mapping[int, float]) -> None:
        super().__init__()
        dim = spec.style_dim
        bottom, *sizes = spec.generator_sizes
        channels = spec.channels(bottom)
        mapping = (ActivatedLinear(dim, dim, MAPPING_LR_MULTIPLIER) for _ in range(spec.n_mlp))
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = _ConstantInput(channels)
        self.conv1 = StyledConv(channels, channels, dim, encoder_gains[bottom])
        self.to_rgb1 = ToRGB(2 * channels, dim, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for size in sizes:
            below, channels, gain = channels, spec.channels(size), encoder_gains.get(size, 1.0)
            self.convs.append(StyledConv(2 * below, channels, dim, gain, upsample=True))
            self.convs.append(StyledConv(2 * channels, channels, dim, gain))
            self.to_rgbs.append(ToRGB(2 * channels, dim))

    def forward(self, code: Tensor, encoded: list[Rows], strip_bytes: int) -> Tensor:
        """The picture (N, 3, out_size, out_size) for the style ``code``, float32 (N, style_dim).

        encoded: the encoder's maps, largest first; emptied from the end. strip_bytes: size of the largest strip.
        """
        for_convs, for_rgbs = self._modulate(self.style(code))
        x = F.pad(self.input.input.expand(len(code), -1, -1, -1), (0, 0, 1, 1))
        out = empty_map(x, 2 * self.conv1.out_channels, BOTTOM_SIZE, BOTTOM_SIZE)
        self.conv1.convolve(x, self.conv1.conv.scaled(for_convs[0]), encoded.pop()(0, BOTTOM_SIZE), out)
        x, rgb = out, self.to_rgb1(out, for_rgbs[0])
        for i, for_rgb in enumerate(for_rgbs[1:]):
            level = encoded.pop() if encoded else None
            first, second = (self._scaled(j, for_convs[j + 1]) for j in (2 * i, 2 * i + 1))
            weights = _LevelWeights(first, second, for_rgb)
            above, rgb = self._level(i, x, rgb, weights, level, strip_bytes)
            x = x if above is None else above
        return cast("Tensor", rgb)

    def _scaled(self, i: int, modulated: Modulated) -> Modulated:
        return cast("StyledConv", self.convs[i]).conv.scaled(modulated)

    def _modulate(self, style: Tensor) -> tuple[list[Modulated], list[Tensor]]:
        """The weights of all convolutions and layers to RGB for these styles, smallest level first."""
        styled = cast("list[StyledConv]", [self.conv1, *self.convs])
        convs = [one.conv for one in styled]
        to_rgbs = [one.conv for one in cast("list[ToRGB]", [self.to_rgb1, *self.to_rgbs])]
        sources = tuple(tensor for layer in (*convs, *to_rgbs) for tensor in layer.parameters())
        weights = self.derive("styles", sources, lambda: derive_style_weights(convs, to_rgbs))
        # An upsampling convolution's input is as large as that of the convolution before it.
        pixels = [(BOTTOM_SIZE << i // 2) ** 2 for i in range(len(convs))]
        return modulate(convs, to_rgbs, weights, style, pixels)

    def _level(
        self, i: int, below: Tensor, rgb: Tensor, weights: _LevelWeights, encoded: Rows | None, strip_bytes: int
    ) -> tuple[Tensor | None, Tensor]:
        """The map and picture of twice the height and width; no map of the last level."""
        first, second = cast("tuple[StyledConv, StyledConv]", (self.convs[2 * i], self.convs[2 * i + 1]))
        to_rgb = cast("ToRGB", self.to_rgbs[i])
        size, channels = 2 * below.shape[2], 2 * first.out_channels
        step = rows_at_once(len(below) * channels * size * below.element_size(), size, strip_bytes)
        smaller, rgb = rgb, to_rgb.enlarge(rgb)
        out = None if i == len(self.to_rgbs) - 1 else empty_map(below, channels, size, size)
        # The first convolution's output for a strip, with one more row above and below for the second convolution.
        window = empty_map(below, channels, step + 2, size)
        # There are zeros above the first strip; and below it, if it is the only one.
        window[:, :, :: step + 1] = 0
        for top in range(0, size, step):
            bottom = min(size, top + step)
            start, stop = (top + 1 if top else 0), min(size, bottom + 1)
            if top:
                # The two rows that this strip shares with the previous one.
                window[:, :, :2] = window[:, :, step : step + 2].clone()
            fresh = window[:, :, start - top + 1 : stop - top + 1]
            first.upsample(below, weights.first, _rows(encoded, start, stop), fresh, start)
            if top and bottom == size:
                window[:, :, bottom - top + 1] = 0
            strip = None if out is None else out[:, :, top:bottom]
            target = AddToRGB(to_rgb, weights.to_rgb, rgb[:, :, top:bottom], smaller, top)
            x = window[:, :, : bottom - top + 2]
            second.convolve_to_rgb(x, weights.second, _rows(encoded, top, bottom), target, strip)
        return out, rgb


def _rows(encoded: Rows | None, start: int, stop: int) -> Encoded | None:
    return None if encoded is None else encoded(start, stop)


def rows_at_once(row_bytes: int, height: int, strip_bytes: int) -> int:
    """The height of a strip of at most ``strip_bytes``: an even number, at least 2, at most ``height``."""
    return min(height, max(2, strip_bytes // row_bytes // 2 * 2))


class GPEN(nn.Module):
    """A GPEN network of any published shape, including in_size < out_size.

    Maps pictures (N, 3, in_size, in_size) to (N, 3, out_size, out_size), in the parameters' dtype and the value range
    of the task. Above in_size, where the encoder has no map, zeros replace it (the published code draws random noise
    there).
    """

    spec: Spec
    """Its shape."""
    strip_bytes: int | None
    """Size of the largest strips in which feature maps are computed; None: a size that suits the device. The result
    does not depend on it beyond rounding; smaller strips take less memory, and much smaller ones more time."""
    repeated_calls: RepeatedCalls
    """The CUDA graph of the calls, if they repeat."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.strip_bytes = None
        self.repeated_calls = RepeatedCalls()
        downs, gains = [], {spec.in_size: 1.0}
        for above, below in itertools.pairwise(spec.encoder_sizes):
            downs.append(EncoderDown(spec.channels(above), spec.channels(below), gains[above]))
            gains[below] = downs[-1].gain
        self.generator = _Generator(spec, gains)
        self.ecd0 = nn.Sequential(EncoderInput(spec.channels(spec.in_size)))
        for i, down in enumerate(downs, start=1):
            self.add_module(f"ecd{i}", nn.Sequential(down))
        features = spec.channels(BOTTOM_SIZE) * BOTTOM_SIZE**2
        self.final_linear = nn.Sequential(ActivatedLinear(features, spec.style_dim, input_gain=gains[BOTTOM_SIZE]))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and len(x) > 1:
            # One picture keeps all cores busy: a batch would take more memory and as much time.
            return torch.cat([self.forward_together(picture[None]) for picture in x])
        if x.device.type == "cuda":
            out = self.repeated_calls.replayed(x, self._state())
            if out is None:
                self.lay_out()
                out = self.repeated_calls.run(self.forward_together, x, self._state(), self._record)
            return out
        return self.forward_together(x)

    @torch.no_grad()
    def forward_together(self, x: Tensor) -> Tensor:
        """The same as :meth:`forward`, but always computes a batch as a batch and never records."""
        self.lay_out()
        strip_bytes = self._strip_bytes_on(x.device)
        batch, itemsize = len(x), x.element_size()
        encoded = [self._largest(x, strip_bytes)]
        for i, size in enumerate(self.spec.encoder_sizes[:-1], start=1):
            (down,) = cast("tuple[EncoderDown]", tuple(cast("nn.Sequential", self.get_submodule(f"ecd{i}"))))
            row_bytes = batch * 2 * self.spec.channels(size) * size * itemsize
            x = down(encoded[-1], size, rows_at_once(row_bytes, size // 2, strip_bytes))
            encoded.append(_rows_of(x))
        code = self.final_linear(x.float().flatten(1))
        del x
        out: Tensor = self.generator(code, encoded, strip_bytes)
        return out

    def derived(self) -> list[Tensor]:
        """Tensors that were computed from the weights and are cached for the next call."""
        return [tensor for module in self.modules() if isinstance(module, Deriving) for tensor in module.derived()]

    def _largest(self, picture: Tensor, strip_bytes: int) -> Rows:
        """The encoder's largest map."""
        if kernels_for(picture) is not None:
            layer = cast("EncoderInput", self.ecd0[0])
            return lambda start, stop: layer.of_picture(picture[:, :, start:stop])
        if largest_map_bytes(self.spec, picture.dtype, len(picture)) <= strip_bytes:
            return _rows_of(self.ecd0(picture))
        # Strips are recomputed when needed: in caches, that is faster than writing and reading the map.
        return lambda start, stop: cast("Tensor", self.ecd0(picture[:, :, start:stop]))

    def lay_out(self, *, in_place: bool = False) -> None:
        """Bring the weights into the memory layout that convolutions read. Every call does, before anything else.

        in_place: within the memory that they have, which nothing else may read then.
        """
        for module in self.modules():
            if isinstance(module, LaidOut):
                module.lay_out(in_place=in_place)

    def _strip_bytes_on(self, device: torch.device) -> int:
        return strip_bytes_on(device) if self.strip_bytes is None else self.strip_bytes

    def _state(self) -> Hashable:
        return self.strip_bytes, weights_state(self)

    def _record(self, call: Call, x: Tensor) -> Call | None:
        strip_bytes = self._strip_bytes_on(x.device)
        if not can_record(x.device, memory_estimate(self.spec, x.dtype, len(x), strip_bytes)):
            return None
        return CudaGraph(call, x, self.derived)

    def _apply(self, *args: Any, **kwargs: Any) -> GPEN:
        # Called when the network is moved or converted, and by hosts before every picture without any effect.
        before = weights_state(self)
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        if weights_state(self) != before:
            self.repeated_calls.forget()
        return self


def _rows_of(x: Tensor) -> Rows:
    return lambda start, stop: x[:, :, start:stop]

"""The bare convolutions of a GPEN network, which the network is measured against.

`python -m bench.convolutions [SIZE] [float32|bfloat16]` prints the time of each, on the CPU.

Filters, biases, activations, concatenations and styles are left out. Each convolution is timed in every memory layout
that PyTorch has for it, and the fastest counts. Values are random; time does not depend on them.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpen.network.spec import BOTTOM_SIZE, Spec

from .measure import keep_freed_memory, page_faults, published_spec, seconds, threads

KERNEL = 3
CHOOSING_CALLS = 2
TIMED_CALLS = {"cpu": 2, "cuda": 20}
"""On a GPU calls are queued, so that launch time does not count."""


@dataclass(frozen=True)
class Convolution:
    """One convolution as it is called."""

    name: str
    """Name of its weight in the published state dict."""
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: int
    in_size: int
    """Height and width of its input, with the row and column that a blur before it adds."""
    transposed: bool = False

    @property
    def out_size(self) -> int:
        """Height and width of its output."""
        if self.transposed:
            return (self.in_size - 1) * self.stride - 2 * self.padding + self.kernel
        return (self.in_size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight that PyTorch's function takes."""
        inner, outer = self.in_channels, self.out_channels
        return (inner, outer, self.kernel, self.kernel) if self.transposed else (outer, inner, self.kernel, self.kernel)

    @property
    def flop(self) -> int:
        """Number of multiplications and additions."""
        pixels = self.in_size**2 if self.transposed else self.out_size**2
        return 2 * self.in_channels * self.out_channels * self.kernel**2 * pixels


def convolutions(spec: Spec) -> Iterator[Convolution]:
    """Every convolution of the network for one picture, in the order in which they run."""
    channels = spec.channels
    yield Convolution("ecd0.0.0.weight", 3, channels(spec.in_size), 1, 1, 0, spec.in_size)
    for i, (above, below) in enumerate(itertools.pairwise(spec.encoder_sizes), start=1):
        # The blur before it pads by two pixels on each side and removes three.
        yield Convolution(f"ecd{i}.0.1.weight", channels(above), channels(below), KERNEL, 2, 0, above + 1)
    bottom = channels(BOTTOM_SIZE)
    yield Convolution("generator.conv1.conv.weight", bottom, bottom, KERNEL, 1, 1, BOTTOM_SIZE)
    yield Convolution("generator.to_rgb1.conv.weight", 2 * bottom, 3, 1, 1, 0, BOTTOM_SIZE)
    for i, (below, size) in enumerate(itertools.pairwise(spec.generator_sizes)):
        # Each styled convolution's output is concatenated with a map of the encoder that has as many channels.
        wide, out = 2 * channels(below), channels(size)
        first, second = f"generator.convs.{2 * i}.conv.weight", f"generator.convs.{2 * i + 1}.conv.weight"
        yield Convolution(first, wide, out, KERNEL, 2, 0, below, transposed=True)
        yield Convolution(second, 2 * out, out, KERNEL, 1, 1, size)
        yield Convolution(f"generator.to_rgbs.{i}.conv.weight", 2 * out, 3, 1, 1, 0, size)


def layouts(convolution: Convolution, dtype: torch.dtype, device: str = "cpu") -> dict[str, Callable[[], Tensor]]:
    """The convolution in each layout, ready to be called."""
    c = convolution
    function = F.conv_transpose2d if c.transposed else F.conv2d
    x = (torch.rand(1, c.in_channels, c.in_size, c.in_size, device=device) - 0.5).to(dtype)
    weight = (torch.rand(c.weight_shape, device=device) - 0.5).to(dtype)
    last, last_weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    calls: dict[str, Callable[[], Tensor]] = {
        "contiguous": lambda: function(x, weight, stride=c.stride, padding=c.padding),
        "channels last": lambda: function(last, last_weight, stride=c.stride, padding=c.padding),
    }
    if device == "cpu":
        calls["packed weight"] = _packed(c, last, weight)
    return calls


def _packed(c: Convolution, x: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    """With the weight in oneDNN's own blocked layout, as torch.compile uses it for weights that do not change."""
    ops = torch.ops.mkldnn
    padding, stride, dilation, none = [c.padding] * 2, [c.stride] * 2, [1, 1], [0, 0]
    if c.transposed:
        packed = ops._reorder_convolution_transpose_weight(weight, padding, none, stride, dilation, 1, list(x.shape))
        return lambda: ops._convolution_transpose_pointwise(
            x, packed, None, padding, none, stride, dilation, 1, "none", [], ""
        )
    packed = torch._C._nn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), padding, stride, dilation, 1, list(x.shape))
    return lambda: ops._convolution_pointwise(x, packed, None, padding, stride, dilation, 1, "none", [], "")


class BareConvolutions:
    """All convolutions of a network, each in the layout in which it was fastest when this was made."""

    def __init__(self, spec: Spec, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        self.device = device
        self._chosen = [(one, *self._fastest(one, dtype)) for one in convolutions(spec)]

    def _fastest(self, convolution: Convolution, dtype: torch.dtype) -> tuple[str, Callable[[], Tensor]]:
        calls = layouts(convolution, dtype, self.device)
        for call in calls.values():
            call()
        # In turns, so that a drift in speed does not decide.
        times: dict[str, list[float]] = {layout: [] for layout in calls}
        for _ in range(CHOOSING_CALLS):
            for layout, call in calls.items():
                times[layout].append(seconds(call, self.device))
        fastest = min(times, key=lambda layout: min(times[layout]))
        return fastest, calls[fastest]

    def time(self) -> list[Timed]:
        """Time each once, after a call that is not timed."""
        return [self._time(*chosen) for chosen in self._chosen]

    def _time(self, convolution: Convolution, layout: str, call: Callable[[], Tensor]) -> Timed:
        call()
        faults = page_faults()
        calls = TIMED_CALLS[self.device]
        taken = seconds(lambda: _repeat(call, calls), self.device) / calls
        return Timed(convolution, layout, taken, page_faults() - faults)


def _repeat(call: Callable[[], Tensor], times: int) -> None:
    for _ in range(times):
        call()


@dataclass(frozen=True)
class Timed:
    """Mean seconds of one convolution in one layout, and the page faults meanwhile."""

    convolution: Convolution
    layout: str
    seconds: float
    faults: int


def main(size: int, dtype: str) -> None:
    """Print the time of each convolution, and their sum."""
    torch.set_num_threads(threads())
    with torch.inference_mode():
        timed = BareConvolutions(published_spec(size), getattr(torch, dtype)).time()
    for one in timed:
        c = one.convolution
        shape = f"{c.in_channels:4} -> {c.out_channels:3}, {c.kernel} x {c.kernel}, {c.in_size:4} -> {c.out_size:4}"
        speed = c.flop / one.seconds / 1e9
        print(f"{c.name:34} {shape}  {one.seconds * 1e3:8.2f} ms  {speed:5.0f} GFLOP/s  {one.layout}")
    total, flop = sum(one.seconds for one in timed), sum(one.convolution.flop for one in timed)
    faults = sum(one.faults for one in timed)
    print(f"{total:.3f} s for {flop / 1e9:.1f} GFLOP ({flop / total / 1e9:.0f} GFLOP/s), {faults} page faults")


if __name__ == "__main__":
    keep_freed_memory()
    main(int((sys.argv[1:] or ["2048"])[0]), (sys.argv[2:] or ["float32"])[0])

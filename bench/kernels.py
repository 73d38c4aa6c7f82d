"""Kernels, bytes and FLOPs of a call, counted exactly on a pretended device; no GPU is needed.

`python -m bench.kernels` prints them for every published network in float32 and float16, with the time they bound.

A call runs under PyTorch's FakeTensorMode: shapes, dtypes, strides and devices are real, nothing is computed, and
mixing devices raises. A dispatch mode sees every operation of ATen:

- kernels: the operations, without views, allocations and questions about tensors. A convolution is one, although cuDNN
  may take several: PyTorch adds a bias in another, and copies a weight whose layout does not suit.
- bytes: every tensor that an operation touches, once, whether it reads, writes or updates it. A dimension that is only
  expanded exists once. Caches, and the workspaces of libraries, do not count.
- moved: the same, but what is updated in place counts twice, as read and as written.
- FLOPs: multiplications and additions of convolutions and matrix products. Other operations are bound by their bytes.

Targets are in bytes. So counted, the network of commit 95c222e takes 616 kernels and 2.25 GB at 512, 744 and 8.2 GB at
2048, in float16.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from gpen.network.fusion import using_fused
from gpen.network.gpen import GPEN

from .measure import PUBLISHED_SIZES, published_spec

DTYPES = (torch.float32, torch.float16)
_ALLOCATIONS = ("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::new_empty_strided")
# Views in all but name, and updates that do not read what was there.
_VIEWS = ("aten::_unsafe_view", "aten::lift_fresh")
_OVERWRITES = ("aten::copy_", "aten::fill_", "aten::zero_")


@dataclass(frozen=True)
class Operation:
    """One kernel."""

    name: str
    """Such as "aten::convolution"."""
    bytes: int
    """Of the tensors that it touches."""
    moved: int
    """Bytes read and written."""
    flop: int
    """Multiplications and additions of products."""
    dtype: torch.dtype
    """Of its largest tensor."""


@dataclass(frozen=True)
class Limits:
    """What a device can do."""

    bandwidth: float = 3e12
    """Bytes per second."""
    half_peak: float = 400e12
    """FLOP per second in 16 bits."""
    float32_peak: float = 60e12
    """FLOP per second in float32."""
    launch: float = 4e-6
    """Seconds for each kernel that Python starts."""


@dataclass(frozen=True)
class Count:
    """What a call costs."""

    operations: tuple[Operation, ...]
    """In order."""

    @property
    def kernels(self) -> int:
        return len(self.operations)

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.operations)

    @property
    def moved(self) -> int:
        return sum(one.moved for one in self.operations)

    @property
    def flop(self) -> int:
        return sum(one.flop for one in self.operations)

    def roofline(self, limits: Limits = Limits()) -> float:
        """The least seconds on a device: for each kernel its bytes or its products, whichever takes longer."""
        return sum(max(one.bytes / limits.bandwidth, one.flop / _peak(one.dtype, limits)) for one in self.operations)

    def launches(self, limits: Limits = Limits()) -> float:
        """The seconds that Python takes to start the kernels, unless a CUDA graph does."""
        return self.kernels * limits.launch


def _peak(dtype: torch.dtype, limits: Limits) -> float:
    return limits.half_peak if dtype.itemsize == 2 else limits.float32_peak


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func.name().split(".")[0]
        if not (func.is_view or name in _ALLOCATIONS or name in _VIEWS or name.startswith("prim::")):
            self.operations.append(_operation(func, name, args, kwargs, out))
        return out


def _operation(func: Any, name: str, args: Any, kwargs: Any, out: Any) -> Operation:
    read: dict[int, Tensor] = {}
    written = {id(tensor): tensor for tensor in _tensors(out)}
    for index, argument in enumerate(func._schema.arguments):
        given = _tensors(args[index] if index < len(args) else kwargs.get(argument.name))
        changed = argument.alias_info is not None and argument.alias_info.is_write
        if changed:
            written |= {id(tensor): tensor for tensor in given}
        if not (changed and (argument.is_out or argument.name == "out" or name in _OVERWRITES)):
            read |= {id(tensor): tensor for tensor in given}
    touched = read | written
    formula = flop_registry.get(getattr(torch.ops.aten, name.removeprefix("aten::").rstrip("_"), None))
    return Operation(
        name,
        sum(map(_bytes, touched.values())),
        sum(map(_bytes, read.values())) + sum(map(_bytes, written.values())),
        formula(*args, **kwargs, out_val=out) if formula else 0,
        max(touched.values(), key=_bytes).dtype,
    )


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride or not size else 1
    return elements * tensor.element_size()


@contextlib.contextmanager
def pretended_device() -> Iterator[None]:
    """Within it, tensors can be on any device, and have no values; make networks and inputs there, and call them."""
    with warnings.catch_warnings():
        # Caches compare the addresses of weights, which are all 0 here.
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        with FakeTensorMode():
            yield


def count(call: Callable[[], Any]) -> Count:
    """Count a call within :func:`pretended_device`. What it caches for later calls, let it cache in one before."""
    with torch.no_grad(), _Counter() as counter:
        call()
    return Count(tuple(counter.operations))


def pretended_network(size: int, dtype: torch.dtype, device: str = "cuda") -> GPEN:
    """A published network within :func:`pretended_device`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return GPEN(published_spec(size)).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(before)


def network_count(size: int, dtype: torch.dtype, batch: int = 1, device: str = "cuda") -> Count:
    """Count one call of a published network that was called before, without a CUDA graph."""
    with pretended_device():
        network = pretended_network(size, dtype, device)
        x = torch.empty((batch, 3, size, size), dtype=dtype, device=device)
        network.forward_together(x)
        return count(lambda: network.forward_together(x))


def _table(batch: int, limits: Limits) -> Iterator[str]:
    yield f"batch {batch}        kernels       GB    moved     GFLOP   roofline   launches"
    for dtype in DTYPES:
        for size in PUBLISHED_SIZES:
            c = network_count(size, dtype, batch)
            title = f"{size:4} {str(dtype).removeprefix('torch.')}"
            yield (
                f"{title:14} {c.kernels:8} {c.bytes / 1e9:8.2f} {c.moved / 1e9:8.2f} {c.flop / 1e9:9.1f} "
                f"{1e3 * c.roofline(limits):7.2f} ms {1e3 * c.launches(limits):7.2f} ms"
            )


def _by_name(count: Count) -> Iterator[str]:
    names = collections.Counter(one.name for one in count.operations)
    for name, number in names.most_common():
        mine = [one for one in count.operations if one.name == name]
        yield f"{name:32} {number:5} {sum(one.bytes for one in mine) / 1e6:9.1f} MB"


def main(arguments: list[str]) -> None:
    """Print the table, or the operations of one network."""
    parser = argparse.ArgumentParser(prog="python -m bench.kernels", description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1, help="faces in the call")
    parser.add_argument("--bandwidth", type=float, default=3, help="TB/s (default: %(default)s)")
    parser.add_argument("--half-peak", type=float, default=400, help="TFLOP/s in 16 bits (default: %(default)s)")
    parser.add_argument("--float32-peak", type=float, default=60, help="TFLOP/s in float32 (default: %(default)s)")
    parser.add_argument("--launch", type=float, default=4, help="µs for each kernel (default: %(default)s)")
    parser.add_argument("--fused", action="store_true", help="with the optional fused kernels; needs Triton")
    parser.add_argument("--operations", type=int, metavar="SIZE", help="list the operations of one network in float16")
    given = parser.parse_args(arguments)
    limits = Limits(given.bandwidth * 1e12, given.half_peak * 1e12, given.float32_peak * 1e12, given.launch * 1e-6)
    with using_fused(given.fused):
        if given.operations:
            lines = _by_name(network_count(given.operations, torch.float16, given.batch))
        else:
            lines = _table(given.batch, limits)
        print(*lines, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

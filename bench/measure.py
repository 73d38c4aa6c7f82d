"""Clock, memory and networks for measurements; PyTorch is imported only where it is used."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpen.network.spec import Spec

KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
"""Environment variables of glibc's malloc; others ignore them."""

PUBLISHED_SIZES = (256, 512, 1024, 2048)


def published_spec(size: int) -> Spec:
    """The network of the file GPEN-BFR-``size``."""
    return Spec(size, size, 1, 0.5) if size == 256 else Spec(size, size)


def keep_freed_memory() -> None:
    """Restart this program with a malloc that keeps freed memory, unless it runs that way already.

    PyTorch's CPU allocator is malloc, which returns large blocks to the system at once: each call of a large
    convolution would be timed together with the zeroing of new pages for its result.
    """
    if KEEP_FREED_MEMORY.items() <= os.environ.items():
        return
    arguments = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, arguments, os.environ | KEEP_FREED_MEMORY)


def threads() -> int:
    """Number of CPUs this process may use; every measurement runs on that many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(call: Callable[[], Any], device: str = "cpu") -> float:
    """How long a call takes; on CUDA including the work on the device."""
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def page_faults() -> int:
    """Minor page faults of this process so far: pages it was given without reading a file."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


class PeakMemory:
    """Peak of this process's resident memory above what it held when this was created, in bytes."""

    def __init__(self) -> None:
        self._status = Path("/proc/self/status")
        if self._status.exists():
            # 5 resets the peak to what is resident now.
            Path("/proc/self/clear_refs").write_text("5")
            self._before = self._read("VmRSS")
        else:
            self._before = self._largest()

    def above(self) -> int:
        """The peak so far."""
        return (self._read("VmHWM") if self._status.exists() else self._largest()) - self._before

    def _read(self, field: str) -> int:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024

    @staticmethod
    def _largest() -> int:
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024


@dataclass(frozen=True)
class Figure:
    """Median of several rounds, with the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        return cls(statistics.median(values), min(values), max(values))


def random_weights(spec: Spec) -> dict[str, Any]:
    """Random state dict of a network, small enough for every precision; FIR kernels as published."""
    import torch

    from .textbook import Textbook

    generator = torch.Generator().manual_seed(0)
    weights = Textbook(spec).state_dict()
    for name, tensor in weights.items():
        if name.endswith(".kernel"):
            continue
        random = torch.randn(tensor.shape, generator=generator)
        if name.endswith("modulation.bias"):
            random = 1 + 0.1 * random
        elif name.endswith("bias"):
            random = 0.1 * random
        elif name.startswith("generator.style"):
            # Compensates for the mapping network's small learning rate, as training does.
            random = 100 * random
        weights[name] = random
    return weights


def picture(size: int) -> NDArray[np.float32]:
    """The input that every network of this size is measured with: (1, 3, size, size), -1 to 1."""
    return np.random.default_rng(0).uniform(-1, 1, (1, 3, size, size)).astype(np.float32)

"""What differs between a GPU and the CPU on which these measurements are tested; nothing else here asks for CUDA."""

from __future__ import annotations

import contextlib
import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..measure import seconds

SYNCHRONIZES = "called a synchronizing CUDA operation"
"""In PyTorch's warning about one."""


def gpu_name() -> str:
    """The name of the CUDA device; empty if there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


@dataclass(frozen=True)
class Device:
    """The device that is measured: "cuda", or "cpu" in tests."""

    name: str

    @property
    def is_cuda(self) -> bool:
        return self.name == "cuda"

    def milliseconds(self, call: Callable[[], Any], calls: int, *, warm: int = 2) -> float:
        """The median time of a call, the device's work included, after ``warm`` calls that do not count."""
        for _ in range(warm):
            call()
        return 1e3 * statistics.median(seconds(call, self.name) for _ in range(calls))

    def allocated(self) -> int:
        """The bytes that tensors take on the GPU now; 0 on the CPU."""
        import torch

        return torch.cuda.memory_allocated() if self.is_cuda else 0

    def peak_above(self, call: Callable[[], Any]) -> int:
        """The most bytes that a call takes on the GPU above what is held before it; 0 on the CPU."""
        import torch

        if not self.is_cuda:
            call()
            return 0
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - held

    @contextlib.contextmanager
    def capped(self, gigabytes: float) -> Iterator[None]:
        """With no more GPU memory than this for PyTorch; the CPU's is not capped."""
        import torch

        if not self.is_cuda:
            yield
            return
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / self.total()))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()

    def total(self) -> int:
        """The bytes of the GPU's memory; 0 on the CPU."""
        import torch

        return torch.cuda.mem_get_info()[1] if self.is_cuda else 0

    def synchronizations(self, call: Callable[[], Any]) -> int:
        """How many times a call makes the CPU wait for the GPU, copies to the CPU included; 0 on the CPU."""
        import torch

        if not self.is_cuda:
            call()
            return 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                call()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum(SYNCHRONIZES in str(one.message) for one in caught)

    @contextlib.contextmanager
    def exact_float32(self) -> Iterator[None]:
        """Without TF32, in which convolutions on CUDA compute by default: it has ten bits of mantissa."""
        import torch

        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before

    @contextlib.contextmanager
    def benchmarked(self, enabled: bool = True) -> Iterator[None]:
        """With cuDNN trying its kernels at the first call of each shape, which PyTorch does not do by default."""
        import torch

        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = enabled
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

"""Devices and dtypes: how they are chosen, and how running out of memory is recognised."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .errors import GpenError
from .wording import first_line

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# CUDA, ROCm, XPU and MPS; PyTorch's CPU allocator on Linux and on Windows; cuBLAS; DirectML.
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "_alloc_failed", "not enough gpu video memory")


def pick_device(name: str = "auto") -> torch.device:
    """A device by name; "auto": the first GPU that PyTorch can use, else the CPU.

    Raises GpenError if PyTorch does not know the device or cannot use it here.
    """
    if name == "auto":
        return _best_device()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, ImportError) as error:
        raise GpenError(
            f"PyTorch cannot use the device {name!r} here ({first_line(error)}). Use auto or cpu."
        ) from error
    return device


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype that option "precision" names.

    "auto": float32, as the weights are published, but bfloat16 on CPUs with AMX.
    """
    if precision != "auto":
        return DTYPES[precision]
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bfloat16_tiles() else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` means that memory ran out, in the words of any of PyTorch's backends."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return torch.device("xpu")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _cpu_has_bfloat16_tiles() -> bool:
    """Whether the CPU has AMX; False if PyTorch is too old to tell.

    avx512_bf16 alone is not enough: with it, the network is slower in bfloat16 than in float32.
    """
    is_supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return is_supported is not None and bool(is_supported())


def release(device: torch.device) -> None:
    """Free the memory that PyTorch caches on the device."""
    empty_cache = getattr(getattr(torch, device.type, None), "empty_cache", None)
    if empty_cache is not None:
        empty_cache()


@contextlib.contextmanager
def without_autocast(device: torch.device) -> Iterator[None]:
    """Compute in the tensors' own dtype: a host may have autocast enabled, which would change the arithmetic."""
    if device.type in ("cpu", "cuda"):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield


def check_finite(values: Tensor, title: str, dtype: torch.dtype) -> None:
    """Raise GpenError if a network's output holds NaN or Inf.

    title: names the network in the error. dtype: what it computed in.
    """
    if not all(math.isfinite(bound) for bound in values.aminmax()):
        raise GpenError(
            f"{title} returned NaN or Inf. "
            + (
                "The model file is damaged: get it again."
                if dtype == torch.float32
                else f"It computed in {dtype}: use the precision fp32."
            )
        )

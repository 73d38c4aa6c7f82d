"""Where a network runs and in which precision, and how to tell that a device is out of memory."""

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
    """The device called ``name``; "auto": the first GPU that PyTorch can use, else the CPU.

    Raises GpenError where PyTorch knows no such device or cannot use it here.
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
    """The number format that option "precision" names.

    "auto" is float32, as the weights are published, and bfloat16 on a CPU with tiles for it (AMX).
    """
    if precision != "auto":
        return DTYPES[precision]
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bfloat16_tiles() else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is one of the ways in which PyTorch's backends say that memory ran out."""
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
    """Whether the CPU has AMX. Older PyTorch does not tell.

    The instructions of avx512_bf16 alone do not make it fast: with them the network took longer than in float32.
    """
    is_supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return is_supported is not None and bool(is_supported())


def release(device: torch.device) -> None:
    """Give memory that PyTorch keeps for itself back to the device."""
    empty_cache = getattr(getattr(torch, device.type, None), "empty_cache", None)
    if empty_cache is not None:
        empty_cache()


@contextlib.contextmanager
def without_autocast(device: torch.device) -> Iterator[None]:
    """Compute in the tensors' own number format.

    A program around us may have autocast switched on, which would change the network's arithmetic.
    """
    if device.type in ("cpu", "cuda"):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield


def check_finite(values: Tensor, title: str, dtype: torch.dtype) -> None:
    """GpenError where a network called ``title``, computing in ``dtype``, returned NaN or Inf."""
    if not all(math.isfinite(bound) for bound in values.aminmax()):
        raise GpenError(
            f"{title} returned NaN or Inf. "
            + (
                "The weight file is damaged: get it again."
                if dtype == torch.float32
                else f"It computed in {dtype}: use the precision fp32."
            )
        )

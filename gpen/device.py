"""Where and in which precision a network runs, what memory it takes, and what to do when that is short."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from .errors import GpenError, OutOfMemoryError
from .model.checkpoint import Model
from .model.memory import CPU_STRIP_BYTES, memory_estimate
from .wording import first_line

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_MEGABYTE = 1 << 20
# CUDA, ROCm, XPU and MPS; PyTorch's CPU allocator on Linux and on Windows; cuBLAS; DirectML.
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "_alloc_failed", "not enough gpu video memory")
_MOST_FACES, _MOST_PIXELS = 16, 2048**2
_SHARE_OF_MEMORY = 0.5
_log = logging.getLogger(__name__)


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


def faces_per_call(model: Model, wanted: int) -> int:
    """How many of ``wanted`` faces go through the network together: those that a GPU has memory for.

    At most as many pixels as one face of 2048, which keeps a GPU busy alone. On a CPU a batch is no faster than one
    face after the other; of other devices it cannot be told how much memory they have. There it is one.
    Where the memory is taken by others, :func:`run_within_memory` divides the batch.
    """
    if model.device.type != "cuda":
        return 1
    # Not by what is free just now: the result would follow that in its last digits.
    room = _SHARE_OF_MEMORY * torch.cuda.mem_get_info(model.device)[1]
    faces = max(1, min(wanted, _MOST_FACES, _MOST_PIXELS // model.spec.out_size**2))
    while faces > 1 and memory_estimate(model.spec, model.dtype, faces) > room:
        faces -= 1
    return faces


def run_within_memory(model: Model, pictures: Tensor) -> Tensor:
    """Call the model; where memory runs out, retry with smaller batches, then in small strips, then in bfloat16.

    pictures and result: as :class:`~gpen.model.checkpoint.Model` takes and gives them. The model keeps the strips and
    the precision that worked. Raises OutOfMemoryError when nothing helped.
    """
    try:
        return model(pictures)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _log.info("Out of memory at a batch of %d in %s: %s", len(pictures), model.dtype, first_line(error))
    # Outside of the handler, whose traceback would keep the tensors of the failed call alive.
    release(model.device)
    if len(pictures) > 1:
        half = len(pictures) // 2
        return torch.cat([run_within_memory(model, part) for part in (pictures[:half], pictures[half:])])
    if model.device.type != "cpu" and model.network.strip_bytes is None:
        # Before the precision: strips cost a little time and change nothing.
        _log.info("%s goes on in smaller strips.", model.spec.title)
        model.network.strip_bytes = CPU_STRIP_BYTES
        return run_within_memory(model, pictures)
    if model.device.type != "cpu" and model.dtype == torch.float32:
        _log.warning("%s does not fit into memory in float32; it goes on in bfloat16.", model.spec.title)
        model.network.to(torch.bfloat16)
        return run_within_memory(model, pictures)
    needed = memory_estimate(model.spec, model.dtype, strip_bytes=CPU_STRIP_BYTES) // _MEGABYTE
    advice = "a smaller network" if model.device.type == "cpu" else "a smaller network, or the CPU"
    raise OutOfMemoryError(
        f"{model.spec.title} needs about {needed} MB of free memory on {model.device} for one face, besides "
        f"its weights, and there is less. Close other programs that use it, or choose {advice}."
    )


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

"""Devices and dtypes: how they are chosen, and how running out of memory is recognised."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .errors import GpenError
from .wording import first_line

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

FIRST_FAST_IN_FLOAT16 = (7, 0)
"""The compute capability of Volta, the first NVIDIA GPUs with matrix units for float16."""

# CUDA, ROCm, XPU and MPS; PyTorch's CPU allocator on Linux and on Windows; cuBLAS; DirectML. Then ONNX Runtime; OpenCV;
# a file that is mapped into memory; Python, for a stack.
_SIGNS = (
    *("out of memory", "can't allocate memory", "not enough memory", "_alloc_failed", "not enough gpu video memory"),
    *("failed to allocate memory", "insufficient memory", "cannot allocate memory", "can't start new thread"),
)
_log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


def pick_device(name: torch.device | str = "auto") -> torch.device:
    """A device, by its name for instance; "auto": the first GPU that PyTorch can use, else the CPU.

    Raises GpenError if PyTorch does not know the device or cannot use it here.
    """
    if str(name) == "auto":
        return _best_device()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, ImportError) as error:
        raise GpenError(
            f"PyTorch cannot use the device {str(name)!r} here ({first_line(error)}). Use auto or cpu."
        ) from error
    return device


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype that option "precision" names.

    "auto": float16 on NVIDIA GPUs of compute capability 7.0 or higher, bfloat16 on CPUs with AMX; elsewhere float32, as
    the weights are published.
    """
    if precision != "auto":
        return DTYPES[precision]
    if _is_fast_in_float16(device):
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bfloat16_tiles() else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` means that memory ran out, in the words of PyTorch's backends, ONNX Runtime or OpenCV."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    # OpenCV's errors, and some of ONNX Runtime's, are of kinds of their own.
    is_known = isinstance(error, RuntimeError) or type(error).__module__.partition(".")[0] in ("cv2", "onnxruntime")
    return is_known and any(sign in text for sign in _SIGNS)


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return torch.device("xpu")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _is_fast_in_float16(device: torch.device) -> bool:
    """Whether the device is an NVIDIA GPU with matrix units for float16.

    ROCm and ZLUDA present AMD GPUs as CUDA devices, with a compute capability that says nothing about float16.
    """
    # Where CUDA is missing, loading the network says so.
    if device.type != "cuda" or torch.version.hip is not None or not torch.cuda.is_available():
        return False
    is_zluda = "ZLUDA" in torch.cuda.get_device_name(device)
    return not is_zluda and torch.cuda.get_device_capability(device) >= FIRST_FAST_IN_FLOAT16


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


@contextlib.contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices in float32, whatever the host chose.

    Autocast and TensorFloat-32, which a host may have enabled, round the factors to 8 or 11 bits.
    """
    with without_autocast(device):
        if device.type != "cuda":
            yield
            return
        _exact_products.begin()
        try:
            yield
        finally:
            _exact_products.end()


class _ExactProducts:
    """A setting of the whole process: changed when the first thread begins, and restored when the last one ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: Any = None

    def begin(self) -> None:
        with self._lock:
            if not self._users:
                matmul, name, exact = self._setting()
                self._before = getattr(matmul, name)
                setattr(matmul, name, exact)
            self._users += 1

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                matmul, name, _ = self._setting()
                setattr(matmul, name, self._before)

    @staticmethod
    def _setting() -> tuple[Any, str, Any]:
        matmul = torch.backends.cuda.matmul
        # PyTorch 2.9 renamed it, and refuses to mix the two names.
        return (
            (matmul, "fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else (matmul, "allow_tf32", False)
        )


_exact_products = _ExactProducts()


def built(make: Callable[[], Network]) -> Network:
    """The network that ``make`` returns, in float32 on the CPU, whatever PyTorch's default dtype and device are."""
    with torch.device("cpu"):
        network = make()
    if torch.get_default_dtype() != torch.float32:
        network.float()
    return network


def to_float32(network: nn.Module) -> None:
    """As :func:`change_dtype`, to float32."""
    change_dtype(network, torch.float32)


def finite_output(
    call: Callable[[], Tensor], network: nn.Module, title: str, widen: Callable[[nn.Module], None] = to_float32
) -> Tensor:
    """The output of ``call``, which runs ``network``.

    If it holds NaN or Inf in a dtype below float32, ``widen`` converts the network, for good, and it is called once
    more; the log says so. Its weights stay those that it has, rounded to the dtype before.

    title: names the network in messages. GpenError if the second output, or one in float32, is not finite either.
    """
    values, dtype = call(), _dtype_of(network)
    if _is_finite(values):
        return values
    if dtype != torch.float32:
        del values
        widen(network)
        _log.warning(
            "%s returned NaN or Inf in %s; it continues in %s.",
            title,
            dtype_name(dtype),
            dtype_name(_dtype_of(network)),
        )
        values, dtype = call(), _dtype_of(network)
        if _is_finite(values):
            return values
    if dtype == torch.float32:
        raise GpenError(f"{title} returned NaN or Inf. The model file is damaged: get it again.")
    raise GpenError(
        f"{title} returned NaN or Inf. It computed in {dtype_name(dtype)}, because memory ran out in float32. Close "
        "other programs that use it, or choose a smaller network."
    )


def change_dtype(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert a network in place. If memory runs out, it is left as it was, and PyTorch's error propagates."""
    before = _dtype_of(network)
    # Some hosts call us in inference mode, in which weights would become tensors of that mode.
    with torch.inference_mode(False):
        try:
            network.to(dtype)
        except Exception:
            network.to(before)
            raise


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype, such as "float16"."""
    return str(dtype).removeprefix("torch.")


def _dtype_of(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype


def _is_finite(values: Tensor) -> bool:
    # One transfer from the device, of one byte.
    return bool(torch.stack(values.aminmax()).isfinite().all())

"""Whether the fused kernels of :mod:`.fused` are used: on NVIDIA GPUs, where they work.

They need Triton, which PyTorch brings along for NVIDIA and AMD GPUs on Linux, and a C compiler, with which Triton
builds what starts a kernel. Nothing else needs them.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib.util
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..wording import first_line

if TYPE_CHECKING:
    from types import ModuleType

SWITCH = "GPEN_FUSED_KERNELS"
"""Environment variable that disables fused kernels when it is "0". When it is "1", they are tried on AMD GPUs too, for
which nobody has measured whether they pay, and the log warns where they do not work."""

_log = logging.getLogger(__name__)
_decided: contextvars.ContextVar[bool | None] = contextvars.ContextVar("fused kernels", default=None)


class FromPicture(NamedTuple):
    """Rows of the encoder's largest map that are not computed yet: of the picture, and how to compute them."""

    pixels: Tensor
    """(N, 3, rows, W)."""
    weight: Tensor
    """(C, 3, 1, 1), of the convolution, with the leaky ReLU's gain; a leaky ReLU follows."""
    bias: Tensor
    """(C,)."""


class Enlarged(NamedTuple):
    """A picture that is not enlarged yet: the one of half the height and width, and how to enlarge it."""

    below: Tensor
    """(N, 3, H / 2, W / 2)."""
    taps: Tensor
    """The filter's weight (3, 1, 4, 4)."""
    bias: Tensor
    """(3,), added after the filter."""
    row: int
    """Of the enlarged picture, where a strip of it starts."""


Encoded = Tensor | FromPicture
"""Rows of an encoder's map (N, C, rows, W)."""


def kernels_for(x: Tensor) -> ModuleType | None:
    """The module of fused kernels, if they are to be used for tensors of this device and dtype."""
    decided = _decided.get()
    if decided is None:
        decided = _wanted(x.device) and _work(x.device, x.dtype)
    if not decided:
        return None
    from . import fused

    return fused


@contextlib.contextmanager
def using_fused(decided: bool) -> Iterator[None]:
    """Within it, fused kernels are used or not, whatever the device and the environment."""
    token = _decided.set(decided)
    try:
        yield
    finally:
        _decided.reset(token)


def _wanted(device: torch.device) -> bool:
    switch = os.environ.get(SWITCH)
    # There may be no such device: shapes can be computed for any.
    if device.type != "cuda" or switch == "0" or not torch.cuda.is_available():
        return False
    return switch == "1" or torch.version.hip is None


@functools.cache
def _work(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels compile, and agree with the plain operations on a small network."""
    from .agreement import difference

    level = logging.WARNING if os.environ.get(SWITCH) == "1" else logging.INFO
    if importlib.util.find_spec("triton") is None:
        _log.log(level, "Triton is not installed: the network takes more time on %s without its fused kernels.", device)
        return False
    _log.info("Triton compiles the network's kernels for %s in the first call ever, which takes some seconds.", device)
    try:
        found, bound = difference(device, dtype)
    except Exception as error:
        # Whatever a compiler or a driver raises: the plain operations do the same.
        _log.log(level, "The fused kernels do not work on %s, and are not used: %s", device, first_line(error))
        return False
    if not found <= bound:
        _log.warning(
            "The fused kernels differ from the plain operations by %.1e on %s in %s, and are not used: "
            "at most %.1e was expected.",
            found,
            device,
            dtype,
            bound,
        )
        return False
    return True

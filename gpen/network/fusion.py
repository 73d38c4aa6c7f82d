"""Whether the fused kernels of :mod:`.fused` are used: only if asked for, and where they work.

They need Triton, which PyTorch brings along for NVIDIA and AMD GPUs on Linux. Nothing else needs them.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
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
"""Environment variable that lets fused kernels be used, if it is "1". They are off by default, because no GPU has
shown yet that they pay."""

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

    def filtered(self, taps: Tensor, padding: int, *, row: int, height: int) -> Tensor:
        """The filter's result of these rows, see :func:`~gpen.network.fused.filter_picture`."""
        from .fused import filter_picture

        return filter_picture(self, taps, padding, row=row, height=height)


Encoded = Tensor | FromPicture
"""Rows of an encoder's map (N, C, rows, W)."""


def kernels_for(x: Tensor) -> ModuleType | None:
    """The module of fused kernels, if they are to be used for tensors of this device and dtype."""
    decided = _decided.get()
    if decided is None:
        decided = os.environ.get(SWITCH) == "1" and x.device.type == "cuda" and _work(x.device, x.dtype)
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


@functools.cache
def _work(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels compile, and agree with the plain operations on a small network."""
    from .agreement import difference

    try:
        found, bound = difference(device, dtype)
    except Exception as error:
        # Whatever a compiler or a driver raises: the plain operations do the same.
        _log.warning("The fused kernels do not work on %s, and are not used: %s", device, first_line(error))
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

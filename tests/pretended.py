"""A pretended CUDA device: shapes, dtypes and devices are real, mixing devices raises, and nothing is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _StaysOnTheDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises where the host would wait: for a tensor that moves between devices, or for a value."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.dim()}
        returned = {leaf.device.type for leaf in tree_leaves(out) if isinstance(leaf, Tensor)}
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host waits for the device"
        is_upload = given == {"cpu"} and bool((kwargs or {}).get("non_blocking"))
        assert len(given | returned) <= 1 or is_upload, f"{func} goes from {given} to {returned}"
        return out


class MostBytes(TorchDispatchMode):
    """The most bytes that tensors made within it take on the pretended device at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        self._alive = {key: kept for key, kept in self._alive.items() if not kept[0].expired()}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.device.type == "cuda":
                storage = leaf.untyped_storage()
                if storage._cdata not in given:
                    self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return out


@contextlib.contextmanager
def cuda() -> Iterator[None]:
    """Within it the device "cuda" exists, and networks can be moved to it."""
    with FakeTensorMode(allow_non_fake_inputs=True), mock.patch.object(nn.Module, "to", _moved):
        yield


def stays_on_the_device() -> TorchDispatchMode:
    """A context within :func:`cuda` in which nothing is copied to the host, nor from it unless without waiting."""
    return _StaysOnTheDevice()  # type: ignore[no-untyped-call]


def _moved(network: nn.Module, device: torch.device, memory_format: Any = torch.preserve_format) -> nn.Module:
    """PyTorch's own method exchanges tensors, which those of FakeTensorMode refuse."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            moved = parameter.detach().to(device)
            if moved.dim() == 4:
                moved = moved.to(memory_format=memory_format)
            setattr(module, name, nn.Parameter(moved, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))
    return network

"""Reads the tensors that a header describes. Nothing else calls :func:`torch.load`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..device import is_out_of_memory
from ..errors import CheckpointError
from ..wording import first_line
from .headers import Header, TensorInfo
from .limited import too_little_memory
from .state_dict import Located

_SPARE = 0.25
"""Tensors stay in the storage that they share unless more than this fraction of it is unused."""


def read_tensors(header: Header, located: Located) -> Iterator[tuple[str, Tensor]]:
    """Yield the network's tensors one by one: contiguous, on the CPU, with the stored dtype.

    No reference is kept to a tensor that was yielded, so that the caller decides how many exist at a time.
    CheckpointError when the file cannot be read or is not what its header said, OutOfMemoryError when memory is short.
    """
    if header.container == "safetensors":
        return _read_safetensors(header, located.tensors)
    return _read_torch(header, located)


def read_everything(header: Header) -> Any:
    """The whole content of a file of any network, as PyTorch returns it: dicts, tensors on the CPU, plain values.

    CheckpointError when the file cannot be read, OutOfMemoryError when memory is short.
    """
    if header.container == "safetensors":
        return dict(_read_safetensors(header, header.tree))
    return _load(header)


def _read_safetensors(header: Header, tensors: Mapping[str, TensorInfo]) -> Iterator[tuple[str, Tensor]]:
    # Not through a memory map: its pages would count twice at the peak, and a program that rewrites the file later
    # would change the network.
    with _refusing(header), header.path.open("rb") as file:
        for name, info in tensors.items():
            tensor = torch.empty(info.shape, dtype=getattr(torch, info.dtype), device="cpu")
            assert info.start is not None
            file.seek(info.start)
            if file.readinto(tensor.view(-1).view(torch.uint8).numpy().data) != info.nbytes:
                raise EOFError(f"{name} ends too early")
            yield name, tensor
            del tensor


def _load(header: Header) -> Any:
    with _refusing(header), _namespace_allowed(header), _source(header.path) as source:
        # By keyword and as a Path: host programs replace torch.load with functions of another signature, and rename
        # files that were given as a str when anything fails.
        whole = torch.load(source, map_location="cpu", weights_only=True)
    if whole is None:
        raise CheckpointError(
            f"The safety check of the host program rejected {header.path.name} (its log says why). Convert the file "
            "with `gpen convert`, and use the resulting .safetensors file."
        )
    return whole


def _read_torch(header: Header, located: Located) -> Iterator[tuple[str, Tensor]]:
    whole = _load(header)
    with _refusing(header):
        tensors = {name: _pick(whole, keys) for name, keys in located.paths.items()}
    del whole
    for name, info in located.tensors.items():
        found = tensors[name]
        if tuple(found.shape) != info.shape or str(found.dtype) != f"torch.{info.dtype}":
            raise CheckpointError(f"{header.path.name} changed while it was read. Try again.")
    crowded = _crowded(tensors)
    for name in located.tensors:
        tensor = tensors.pop(name)
        tensor = tensor.contiguous()
        yield name, tensor.clone() if name in crowded else tensor
        del tensor


@contextlib.contextmanager
def _source(path: Path) -> Iterator[Path | BinaryIO]:
    """The path itself, or an open file if its name would mislead torch.load about the format."""
    if path.name.endswith(".safetensors"):
        with path.open("rb") as file:
            yield file
    else:
        yield path


def _pick(tree: Any, keys: tuple[str, ...]) -> Tensor:
    for key in keys:
        tree = vars(tree)[key] if isinstance(tree, argparse.Namespace) else tree[key]
    if not isinstance(tree, Tensor):
        raise TypeError(f"{keys} is not a tensor")
    return tree.detach()


def _crowded(tensors: Mapping[str, Tensor]) -> set[str]:
    """Names of tensors that overlap one another, or would keep a much larger storage alive."""
    shared: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        shared.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    crowded: set[str] = set()
    for names in shared.values():
        storage = tensors[names[0]].untyped_storage().nbytes()
        used = sum(_nbytes(tensors[name]) for name in names)
        end = 0
        apart = True
        for begin, size in sorted((_begin(tensors[name]), _nbytes(tensors[name])) for name in names):
            apart = apart and begin >= end
            end = begin + size
        if not apart or used < (1 - _SPARE) * storage:
            crowded.update(names)
    return crowded


def _begin(tensor: Tensor) -> int:
    return int(tensor.storage_offset()) * tensor.element_size()


def _nbytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@contextlib.contextmanager
def _namespace_allowed(header: Header) -> Iterator[None]:
    """Allow PyTorch's safe reader to create an argparse.Namespace if the file has one: it holds plain values."""
    if not header.namespace:
        yield
        return
    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:
        raise CheckpointError(
            f"{header.path.name} contains an argparse.Namespace, which the PyTorch installed here "
            f"({torch.__version__}) cannot read safely. PyTorch 2.5 and newer can: convert the file there "
            "with `gpen convert`, and use the resulting .safetensors file."
        )
    with allow([argparse.Namespace]):
        yield


@contextlib.contextmanager
def _refusing(header: Header) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into a CheckpointError, and short memory into an OutOfMemoryError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as e:
        if is_out_of_memory(e):
            raise too_little_memory(header.path) from e
        # pickle, zip, struct and tensor errors all occur.
        raise CheckpointError(
            f"{header.path.name} could not be read by PyTorch's safe reader ({first_line(e)}). The file is damaged, or "
            "contains more than weights; get it again from a source you trust."
        ) from e

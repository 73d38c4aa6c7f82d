"""What a weight file says it contains, without loading or running anything.

The format is told by the content, never by the file's name. Every size that the file declares is compared
with the bytes that are there before anything is done with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointError
from . import headers_safetensors, headers_torch, other_formats
from .pickle_types import ITEM_SIZES, NamespaceRef, TensorRef

MAX_NESTING = 6


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: its shape, number format ("float32", …) and, in a .safetensors file, its first byte."""

    shape: tuple[int, ...]
    dtype: str
    start: int | None = None

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its elements, stored without gaps."""
        return self.numel * ITEM_SIZES[self.dtype]


@dataclass(frozen=True)
class Header:
    """What the file contains.

    container: "safetensors", "torch-zip" or "torch-legacy". tree: names to TensorInfo, to dicts of the same
    kind, or to plain values. metadata: what a .safetensors file says about itself. code: names of what
    unpickling the file would import or call; empty for an honest weight file. namespace: whether there is an
    argparse.Namespace in it.
    """

    path: Path
    size: int
    container: str
    tree: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    namespace: bool = False


def read_header(path: Path) -> Header:
    """Read what is in a weight file; CheckpointError when it is none, is damaged, or is not to be trusted."""
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder. Give the weight file inside it.")
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is a device or a pipe, not a file.")
        with path.open("rb") as file:
            return _read(path, file, path.stat().st_size)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}.") from None
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror or e}.") from e


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX graph by its content. False where there is none: :func:`read_header` says why."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    return not headers_safetensors.looks_like(start) and other_formats.looks_like_onnx(start)


def _read(path: Path, file: BinaryIO, size: int) -> Header:
    start = file.read(512)
    if start.startswith(b"PK\x03\x04"):
        contents = headers_torch.read_zip(path, file, size)
        return _from_torch(path, size, "torch-zip", contents)
    # Before the other marks: the format begins with a length, which can look like any two bytes.
    if headers_safetensors.looks_like(start):
        tensors, metadata = headers_safetensors.read(path, file, size)
        tree = {name: TensorInfo(shape, dtype, first) for name, (shape, dtype, first) in tensors.items()}
        return Header(path, size, "safetensors", tree, metadata)
    complaint = other_formats.recognise(start, size)
    if complaint:
        raise CheckpointError(f"{path.name} {complaint}")
    contents = headers_torch.read_legacy(path, file, size)
    return _from_torch(path, size, "torch-legacy", contents)


def _from_torch(path: Path, size: int, container: str, contents: headers_torch.Contents) -> Header:
    tree = _Tree(path).plain(contents.value, ())
    if not isinstance(tree, dict):
        tree = {}
    return Header(path, size, container, tree, code=contents.code, namespace=contents.namespace)


class _Tree:
    """Turns what a pickle describes into a tree of TensorInfo, each checked against its storage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[int, Any] = {}

    def plain(self, value: Any, keys: tuple[str, ...]) -> Any:
        """Return ``value`` as dicts, TensorInfo and plain values; None for everything else."""
        if isinstance(value, TensorRef):
            return self._tensor(value, ".".join(keys))
        if isinstance(value, NamespaceRef):
            value = value.values
        if isinstance(value, dict):
            # The same dict can be reached in many ways, itself included: visit each once.
            if id(value) not in self.seen:
                self.seen[id(value)] = None
                if len(keys) < MAX_NESTING:
                    children = {k: v for k, v in value.items() if isinstance(k, str)}
                    self.seen[id(value)] = {k: self.plain(v, (*keys, k)) for k, v in children.items()}
            return self.seen[id(value)]
        return value if isinstance(value, str | int | float | bool) else None

    def _tensor(self, tensor: TensorRef, name: str) -> TensorInfo:
        storage = tensor.storage
        info = TensorInfo(tensor.shape, tensor.dtype)
        has = storage.length * ITEM_SIZES[storage.dtype] // ITEM_SIZES[tensor.dtype]
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride, strict=True))
        if info.numel > has or (info.numel and last >= has):
            raise CheckpointError(
                f"{self.path.name} declares the tensor {name!r} with the shape {show_shape(tensor.shape)}, "
                f"but holds only {has} numbers for it. The file is damaged or made to do harm; it was not "
                f"loaded. Get it again from a source you trust."
            )
        return info


def show_shape(shape: tuple[int, ...]) -> str:
    """Such as "512 x 512 x 3 x 3"."""
    return " x ".join(map(str, shape)) or "of a single number"

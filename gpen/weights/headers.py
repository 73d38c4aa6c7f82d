"""Reads what a model file contains, without loading or running anything.

The format is recognised by the content, never by the file's name. Every size that the file declares is compared with
the bytes that exist before it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointError
from . import headers_safetensors, headers_torch, other_formats
from .limited import too_little_memory
from .pickle_limits import MAX_STEPS, TEXT_ITEM
from .pickle_scanner import ScanResult
from .pickle_types import ITEM_SIZES, NamespaceRef, TensorRef

MAX_NESTING = 6


@dataclass(frozen=True)
class TensorInfo:
    """The description of one tensor in a file."""

    shape: tuple[int, ...]
    """Elements along each dimension."""
    dtype: str
    """Name of the dtype, such as "float32"."""
    start: int | None = None
    """Offset of the first byte in a .safetensors file; None in others."""

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements when stored without gaps."""
        return self.numel * ITEM_SIZES[self.dtype]


@dataclass(frozen=True)
class Header:
    """What a file contains."""

    path: Path
    """The file."""
    size: int
    """Its bytes."""
    container: str
    """"safetensors", "torch-zip", "torch-legacy", or "onnx"."""
    tree: dict[str, Any]
    """Names mapped to :class:`TensorInfo`, to nested dicts of the same kind, or to plain values."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The metadata of a .safetensors file."""
    code: tuple[str, ...] = ()
    """Names of everything that unpickling would import or call; empty for an honest file."""
    namespace: bool = False
    """Whether the file contains an argparse.Namespace."""


def read_header(path: Path) -> Header:
    """Read the header of a model file; CheckpointError when it is another kind of file, damaged, or malicious.

    OutOfMemoryError when memory is short.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder. Give the model file inside it.")
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is a device or a pipe, not a file.")
        with path.open("rb") as file:
            return _read(path, file, path.stat().st_size)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}.") from None
    except MemoryError as e:
        raise too_little_memory(path) from e
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror or e}.") from e


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX graph, by its content; False when it cannot be read (:func:`read_header` says why)."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    return not headers_safetensors.looks_like(start) and other_formats.looks_like_onnx(start)


def _read(path: Path, file: BinaryIO, size: int) -> Header:
    start = file.read(512)
    if start.startswith(b"PK\x03\x04"):
        return _from_torch(path, size, "torch-zip", headers_torch.read_zip(path, file, size))
    # Before the other formats: this one begins with a length, which can look like any magic number.
    if headers_safetensors.looks_like(start):
        tensors, metadata = headers_safetensors.read(path, file, size)
        tree = {name: TensorInfo(shape, dtype, first) for name, (shape, dtype, first) in tensors.items()}
        return Header(path, size, "safetensors", tree, metadata)
    complaint = other_formats.recognise(start, size)
    if complaint:
        raise CheckpointError(f"{path.name} {complaint}")
    return _from_torch(path, size, "torch-legacy", headers_torch.read_legacy(path, file, size))


def _from_torch(path: Path, size: int, container: str, contents: ScanResult) -> Header:
    tree = _Tree(path).plain(contents.value, ())
    if not isinstance(tree, dict):
        tree = {}
    return Header(path, size, container, tree, code=tuple(contents.code), namespace=contents.namespace)


class _Tree:
    """Turns the description of a pickle into a tree of TensorInfo, each checked against its storage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[int, tuple[Any, int]] = {}
        self.entries = 0
        """In all dicts, those that are reached in several ways counted as often; a long name counts as several."""

    def plain(self, value: Any, keys: tuple[str, ...]) -> Any:
        """``value`` as dicts, TensorInfo and plain values; None for anything else."""
        if isinstance(value, TensorRef):
            return self._tensor(value, keys)
        if isinstance(value, NamespaceRef):
            value = value.values
        if isinstance(value, dict):
            # A dict can be reached in many ways, even from itself: visit each once.
            if id(value) in self.seen:
                tree, entries = self.seen[id(value)]
                self._count(entries)
                return tree
            before = self.entries
            self.seen[id(value)] = None, 0
            if len(keys) < MAX_NESTING:
                children = {k: v for k, v in value.items() if isinstance(k, str)}
                self._count(sum(1 + len(k) // TEXT_ITEM for k in children))
                tree = {k: self.plain(v, (*keys, k)) for k, v in children.items()}
                self.seen[id(value)] = tree, self.entries - before
            return self.seen[id(value)][0]
        return value if isinstance(value, str | int | float | bool) else None

    def _count(self, entries: int) -> None:
        """CheckpointError once whoever follows every way through the tree would take far longer than to read it."""
        self.entries += entries
        if self.entries > MAX_STEPS:
            raise CheckpointError(
                f"{self.path.name} is damaged or malicious: it refers to the same parts of itself far more often than "
                "any model file. It was not loaded; get it again from a source you trust."
            )

    def _tensor(self, tensor: TensorRef, keys: tuple[str, ...]) -> TensorInfo:
        storage = tensor.storage
        info = TensorInfo(tensor.shape, tensor.dtype)
        has = storage.length * ITEM_SIZES[storage.dtype] // ITEM_SIZES[tensor.dtype]
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride, strict=True))
        if info.numel > has or (info.numel and last >= has):
            raise CheckpointError(
                f"{self.path.name} declares the tensor {'.'.join(keys)!r} with the shape {show_shape(tensor.shape)}, "
                f"but holds only {has} numbers for it. The file is damaged or malicious; it was not "
                f"loaded. Get it again from a source you trust."
            )
        return info


def show_shape(shape: tuple[int, ...]) -> str:
    """Such as "512 x 512 x 3 x 3"."""
    return " x ".join(map(str, shape)) or "of a single number"

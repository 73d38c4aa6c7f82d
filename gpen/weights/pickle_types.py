"""What the pickle of a model file may contain: dtypes, storages, tensors, and a few names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ITEM_SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
}
"""Bytes per element of every dtype that can be described."""

STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.storage.UntypedStorage": "uint8",
}
"""The dtype of each of PyTorch's storage classes."""

NAMES = (
    {f"torch.{dtype}" for dtype in ITEM_SIZES}
    | {f"torch._utils._rebuild_{what}" for what in ("tensor", "tensor_v2", "tensor_v3")}
    | {f"torch._utils._rebuild_{what}" for what in ("parameter", "parameter_with_state")}
    | {"torch._tensor._rebuild_from_type_v2", "torch.Tensor", "torch.nn.parameter.Parameter"}
    | {"torch.Size", "torch.device", "collections.OrderedDict", "collections.Counter", "argparse.Namespace"}
    | {"builtins.set", "builtins.complex", "_codecs.encode"}
)
"""Everything else that a model file may name: naming alone already imports a module."""


@dataclass(frozen=True)
class StorageRef:
    """A block of numbers elsewhere in the file."""

    key: str
    """Name of the block."""
    dtype: str
    """One of :data:`ITEM_SIZES`."""
    length: int
    """Number of elements."""


@dataclass(frozen=True)
class TensorRef:
    """A tensor that is a view of a storage."""

    storage: StorageRef
    """Where its numbers are."""
    offset: int
    """First element in the storage."""
    shape: tuple[int, ...]
    """Elements along each dimension."""
    stride: tuple[int, ...]
    """Step along each dimension, in elements."""
    dtype: str
    """One of :data:`ITEM_SIZES`."""


@dataclass
class NamespaceRef:
    """An ``argparse.Namespace``."""

    values: dict[Any, Any] = field(default_factory=dict)
    """Its attributes."""


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names."""

    full: str
    """Module and name, such as ``torch._utils._rebuild_tensor_v2``."""


@dataclass(frozen=True)
class Opaque:
    """A value that does not matter, or that would come from a call."""

    name: str
    """What would have been called."""

"""What a pickle of weights may speak of: number formats, storages, tensors, and a few names."""

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
"""Bytes of one element, for every number format that a description can have."""

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
"""Number format of each of PyTorch's storage classes."""

NAMES = (
    {f"torch.{dtype}" for dtype in ITEM_SIZES}
    | {f"torch._utils._rebuild_{what}" for what in ("tensor", "tensor_v2", "tensor_v3")}
    | {f"torch._utils._rebuild_{what}" for what in ("parameter", "parameter_with_state")}
    | {"torch._tensor._rebuild_from_type_v2", "torch.Tensor", "torch.nn.parameter.Parameter"}
    | {"torch.Size", "torch.device", "collections.OrderedDict", "collections.Counter", "argparse.Namespace"}
    | {"builtins.set", "builtins.complex", "_codecs.encode"}
)
"""Everything else that a weight file may name: naming alone already imports a module."""


@dataclass(frozen=True)
class StorageRef:
    """A stretch of numbers elsewhere in the file: ``length`` elements of ``dtype``."""

    key: str
    dtype: str
    length: int


@dataclass(frozen=True)
class TensorRef:
    """A tensor on a storage; ``offset`` and ``stride`` in elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str


@dataclass
class NamespaceRef:
    """An ``argparse.Namespace``, with its attributes."""

    values: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names, such as ``torch._utils._rebuild_tensor_v2``."""

    full: str


@dataclass(frozen=True)
class Opaque:
    """A value that is of no interest here, or that nothing was called to make."""

    name: str

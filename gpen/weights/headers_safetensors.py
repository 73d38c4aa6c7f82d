"""The header of a .safetensors file.

Format: https://github.com/huggingface/safetensors#format (length of the header as 8 bytes, little-endian; the header
as JSON; the bytes of the tensors without gaps).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointError
from .pickle_types import ITEM_SIZES

MAX_HEADER_BYTES = 8 << 20

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}

Tensors = dict[str, tuple[tuple[int, ...], str, int]]
"""Shape, dtype and offset in the file of each tensor."""


def looks_like(start: bytes) -> bool:
    """Whether a file that begins with ``start`` may be a .safetensors file."""
    return start[4:9] == b"\0\0\0\0{"


def read(path: Path, file: BinaryIO, size: int) -> tuple[Tensors, dict[str, str]]:
    """Read the description of every tensor, and the metadata; CheckpointError when the file is damaged."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES and length <= size - 8:
        raise _damaged(path, f"its header is {length} bytes long, far longer than any real one")
    if length > size - 8:
        raise _short(path, size, f"its header alone is {length} bytes long")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError
        tensors = {name: _entry(entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise _damaged(path, "its header does not follow the format") from e
    first = 8 + length
    end = 0
    for name, (shape, dtype, begin, stop) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        needed = math.prod(shape) * ITEM_SIZES[dtype]
        if begin != end or stop - begin != needed:
            raise _damaged(path, f"the offsets of the tensor {name[:100]!r} do not fit its shape")
        end = stop
    if first + end > size:
        raise _short(path, size, f"it should have {first + end} bytes")
    if first + end < size:
        raise _damaged(path, f"it has {size - first - end} bytes more than its header describes")
    return {n: (shape, dtype, first + begin) for n, (shape, dtype, begin, _) in tensors.items()}, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name appears twice")
    return values


def _entry(entry: dict[str, Any]) -> tuple[tuple[int, ...], str, int, int]:
    dtype = DTYPES[entry["dtype"]]
    shape = tuple(entry["shape"])
    begin, stop = entry["data_offsets"]
    # bool is an int to Python, and a huge exponent would be a float.
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in (*shape, begin, stop)) or len(shape) > 8:
        raise ValueError
    return shape, dtype, begin, stop


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is a damaged .safetensors file: {why}. Nothing was loaded; download or convert it again."
    )


def _short(path: Path, size: int, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is cut short: {why}, but the file has {size}. The download did not finish, or the disk was full; "
        "download it again."
    )

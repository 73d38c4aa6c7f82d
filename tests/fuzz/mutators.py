"""Changes to files: of single bytes, and of what a pickle, a zip, a .safetensors file or a JSON text consists of."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 3, 7, 8, 16, 64, 255, 256, 65535, 65536, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62, (1 << 63) - 1)
NUMBERS += (1 << 63, 1 << 64, -1, -2, -(1 << 63), 10**40)
WORDS = (
    *("ecd0.0.0.weight", "ecd1.0.1.bias", "generator.input.input", "generator.style.1.weight", "final_linear.0.bias"),
    *("generator.convs.0.conv.weight", "generator.to_rgbs.0.bias", "encoder", "mapper", "generator", "g_ema", "params"),
    *("module.", "state_dict", "args", "", "a" * 300, "\0", "\ud800", "\u0663", "ecd\u0663.0.0.weight", "..", "/", "0"),
    *("storage", "cpu", "F32", "F16", "I64", "BOOL", "F8_E4M3", "U64", "__metadata__", "dtype", "shape"),
    *("data_offsets", "task", "restore", "\x1b[31m", "\n", "true", "body.0.weight", "body.999.weight"),
)
IMPORTS = (
    *(b"collections\nOrderedDict\n", b"torch._utils\n_rebuild_tensor_v2\n", b"torch\nFloatStorage\n"),
    *(b"torch\nHalfStorage\n", b"torch._utils\n_rebuild_parameter\n", b"torch._tensor\n_rebuild_from_type_v2\n"),
    *(b"torch\nSize\n", b"torch\ndevice\n", b"argparse\nNamespace\n", b"builtins\nset\n", b"builtins\neval\n"),
    *(b"_codecs\nencode\n", b"os\nmkdir\n", b"posix\nsystem\n", b"builtins\ngetattr\n", b"torch\nfloat16\n"),
    *(b"collections\nCounter\n", b"torch.storage\nUntypedStorage\n", b"torch._utils\n_rebuild_tensor\n"),
)
_CODES = (b"}", b"]", b")", b"(", b"0", b"N", b"\x88", b"\x89", b"t", b"\x85", b"\x86", b"\x87", b"a", b"e", b"s")
_CODES += (b"u", b"R", b"\x81", b"b", b"Q", b"\x93", b"2", b".", b"}q\0", b"\x8f", b"\x90", b"\x91", b"i", b"o")


def changed(rng: Random, data: bytes) -> bytes:
    """One to three changes of the kind that fits the file, or of its bytes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = changed_once(rng, data)
    return data


def changed_once(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.15:
        return changed_bytes(rng, data)
    if data[:2] == b"PK":
        return _changed_zip(rng, data)
    if data[4:9] == b"\0\0\0\0{":
        return _changed_safetensors(rng, data)
    if data[:1] == b"\x80":
        return _changed_pickles(rng, data)
    if data.lstrip()[:1] in (b"{", b"["):
        return changed_json_text(rng, data)
    return changed_bytes(rng, data)


def changed_bytes(rng: Random, data: bytes) -> bytes:
    out = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(out)) if out else 0
        kind = rng.randrange(6)
        if kind == 0 or not out:
            out[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del out[at : at + rng.randrange(1, 9)]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 4:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
            out[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        else:
            other, size = rng.randrange(len(out)), rng.randrange(1, 40)
            out[at : at + size] = out[other : other + size]
    return bytes(out)


def changed_json_text(rng: Random, data: bytes) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return changed_bytes(rng, data)
    return json.dumps(changed_json(rng, value), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def changed_json(rng: Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        value, key = dict(value), rng.choice(list(value))
        kind = rng.randrange(8)
        if kind == 0:
            del value[key]
        elif kind == 1:
            value[rng.choice(WORDS)] = value.pop(key)
        else:
            value[key] = changed_json(rng, value[key])
        return value
    if isinstance(value, list) and value and rng.random() < 0.85:
        value, at = list(value), rng.randrange(len(value))
        kind = rng.randrange(8)
        if kind == 0:
            del value[at]
        elif kind == 1:
            value.insert(at, value[at])
        else:
            value[at] = changed_json(rng, value[at])
        return value
    deep: Any = 1
    for _ in range(rng.choice((1, 3, 900))):
        deep = [deep]
    plain = (None, True, False, 0, -1, 1.5, 1e308, float("nan"), float("inf"), [], {}, "x" * rng.choice((1, 5000)))
    return rng.choice((*plain, rng.choice(NUMBERS), rng.choice(WORDS), [rng.choice(NUMBERS)], {"a": 1}, deep))


def changed_pickle(rng: Random, data: bytes) -> bytes:
    try:
        codes = [place for _, _, place in pickletools.genops(data)]
    except Exception:  # it is none any more
        return changed_bytes(rng, data)
    parts = [data[start:end] for start, end in zip(codes, [*codes[1:], len(data)], strict=True)]
    kind, at = rng.randrange(7), rng.randrange(len(parts))
    if kind == 0:
        parts.insert(at, fragment(rng))
    elif kind == 1 and len(parts) > 2:
        del parts[at]
    elif kind == 2:
        parts[at] = fragment(rng)
    elif kind == 3:
        other = rng.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    elif kind == 4:
        parts[at:at] = parts[max(0, at - rng.randrange(1, 30)) : at]
    elif kind == 5:
        parts[at] = changed_bytes(rng, parts[at])
    else:
        numbers = [place for place, part in enumerate(parts) if part[:1] in b"KMJ\x8a"]
        if numbers:
            parts[rng.choice(numbers)] = pickle.dumps(rng.choice(NUMBERS), 2)[2:-1]
    return b"".join(parts)


def fragment(rng: Random) -> bytes:
    """One operation of a pickle, or a value."""
    word = rng.choice(WORDS).encode("utf-8", "surrogatepass")
    return rng.choice(
        (
            rng.choice(_CODES),
            b"X" + struct.pack("<I", len(word)) + word,
            pickle.dumps(rng.choice(NUMBERS), 2)[2:-1],
            b"q" + bytes([rng.randrange(8)]),
            b"h" + bytes([rng.randrange(8)]),
            b"c" + rng.choice(IMPORTS),
            b"cos\nmkdir\nX\x08\0\0\0executed\x85R",
            b"G" + struct.pack(">d", rng.choice((0.0, 1e308, float("inf"), float("nan")))),
        )
    )


def changed_inside(rng: Random, data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change a part that is read, by a change of bytes, and make the rest fit again: a record of a zip, or a header."""
    if data[:2] == b"PK" and (records := _records(data)):
        at = _pickled(records) if rng.random() < 0.8 else rng.randrange(len(records))
        records[at] = records[at][0], change(records[at][1])
        return zip_of(records)
    if data[4:9] == b"\0\0\0\0{":
        length = int.from_bytes(data[:8], "little")
        header = change(data[8 : 8 + length])
        return struct.pack("<Q", len(header)) + header + data[8 + length :]
    if data[:1] == b"\x80":
        size = sum(map(len, _pickles(data)))
        return change(data[:size]) + data[size:]
    return change(data)


def _pickles(data: bytes) -> list[bytes]:
    """Those at the beginning of PyTorch's legacy format, which numbers follow."""
    file, parts = io.BytesIO(data), list[bytes]()
    try:
        while file.tell() < len(data) and len(parts) < 5:
            start = file.tell()
            for _ in pickletools.genops(file):
                pass
            parts.append(data[start : file.tell()])
    except Exception:  # numbers, or what was changed before
        pass
    return parts


def _changed_pickles(rng: Random, data: bytes) -> bytes:
    parts = _pickles(data)
    if not parts:
        return changed_bytes(rng, data)
    rest = data[sum(map(len, parts)) :]
    at = rng.randrange(len(parts))
    parts[at] = changed_pickle(rng, parts[at])
    return b"".join(parts) + rest


def _records(data: bytes) -> list[tuple[str, bytes]] | None:
    """Of a zip; None if it is none any more."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return [(entry.filename, file.read(entry)) for entry in file.infolist()]
    except Exception:  # whatever zipfile raises for what was changed before
        return None


def _pickled(records: list[tuple[str, bytes]]) -> int:
    return next((place for place, (name, _) in enumerate(records) if name.endswith("data.pkl")), 0)


def _changed_zip(rng: Random, data: bytes) -> bytes:
    records = _records(data)
    if records is None:
        return changed_bytes(rng, data)
    if not records:
        return data
    at, pickled = rng.randrange(len(records)), _pickled(records)
    name, content = records[at]
    kind = rng.randrange(10)
    if kind < 5:
        records[pickled] = records[pickled][0], changed_pickle(rng, records[pickled][1])
    elif kind == 5:
        records[at] = name, changed_bytes(rng, content[:200]) + content[200:]
    elif kind == 6:
        others = (name.upper(), f"{name}x", f"../{name}", "", "/", "archive/byteorder", "archive/data/0", "a" * 300)
        records[at] = rng.choice(others), content
    elif kind == 7:
        records.append((rng.choice(("archive/byteorder", "archive/version", "archive/data/99")), rng.randbytes(3)))
    elif kind == 8:
        del records[at]
    else:
        other = rng.randrange(len(records))
        records[at], records[other] = records[other], records[at]
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    return zip_of(records, method)


def zip_of(records: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", method) as file:
        warnings.simplefilter("ignore")  # two of one name
        for name, content in records:
            file.writestr(zipfile.ZipInfo(name.encode("utf-8", "replace").decode()), content, method)
    return packed.getvalue()


def _changed_safetensors(rng: Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return changed_bytes(rng, data)
    packed = json.dumps(changed_json(rng, header), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(packed)) + packed + data[8 + length :]

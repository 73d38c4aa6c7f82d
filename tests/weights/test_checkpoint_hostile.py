"""Malicious files: refused, with nothing executed and no memory taken."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gpen.errors import CheckpointError
from gpen.weights import pickle_limits, pickle_scanner
from gpen.weights.checkpoint import inspect, load_model
from gpen.weights.headers import read_header
from gpen.weights.headers_torch import LEGACY_MAGIC, LEGACY_PROTOCOL
from tests.weights.checkpoint_files import FORMS, as_zip


def refused(path: Path, pattern: str) -> None:
    for reader in (inspect, load_model):
        with pytest.raises(CheckpointError, match=pattern):
            reader(path)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def bombs(target: Path) -> dict[str, bytes]:
    """Pickles that create ``target`` when they run, one for each instruction that can call something."""
    word = text(str(target))
    return {
        "reduce, protocol 2": pickle.dumps({"g_ema": Bomb(target)}, 2),
        "reduce, protocol 4": pickle.dumps({"g_ema": Bomb(target)}, 4),
        "among tensors": b"\x80\x02}(" + text("ecd0.0.0.weight") + pickle.dumps(Bomb(target), 2)[2:-1] + b"u.",
        "inst": b"(" + word + b"ios\nmkdir\n.",
        "obj": b"(cos\nmkdir\n" + word + b"o.",
        "stack_global": b"\x80\x04" + text("os") + text("mkdir") + b"\x93" + word + b"\x85R.",
        "build": b"\x80\x02cargparse\nNamespace\n)\x81}" + text("x") + pickle.dumps(Bomb(target), 2)[2:-1] + b"sb.",
        "dropped": pickle.dumps(Bomb(target), 2)[:-1] + b"0}.",
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", bombs(Path()))
def test_nothing_is_executed(kind: str, form: str, tmp_path: Path) -> None:
    target, path = tmp_path / "harm", tmp_path / "x.pth"
    data = bombs(target)[kind]
    pickle.loads(data)
    assert target.exists(), "the bomb is a dud: the test would prove nothing"
    target.rmdir()
    path.write_bytes(FORMS[form](data))
    refused(path, r"(wants to run code when it is opened \((os|posix|nt)\.mkdir.*nothing was executed|not a model)")
    assert not target.exists()


def test_the_code_is_named(tmp_path: Path) -> None:
    for form in ("zip", "legacy", "bare"):
        (tmp_path / "x.pth").write_bytes(FORMS[form](bombs(tmp_path / "harm")["reduce, protocol 4"]))
        refused(tmp_path / "x.pth", r"x\.pth wants to run code.*mkdir")


@pytest.mark.parametrize("name", ["os system", "builtins eval", "builtins bytearray", "torch load", "antigravity x"])
def test_naming_is_enough(name: str, tmp_path: Path) -> None:
    """Importing a module already runs it."""
    module, function = name.split()
    data = b"\x80\x02}" + text("x") + f"c{module}\n{function}\n".encode() + b"s."
    (tmp_path / "x.pth").write_bytes(as_zip(data))
    refused(tmp_path / "x.pth", rf"wants to run code.*{module}\.{function}")


@pytest.mark.parametrize("data", [b"cos\nPathLike\n)\x81.", b"\x80\x04cos\nPathLike\n)}\x92."])
def test_instances_of_unknown_classes(data: bytes, tmp_path: Path) -> None:
    pickle.loads(data.replace(b"os\nPathLike", b"io\nBytesIO"))
    (tmp_path / "x.pth").write_bytes(as_zip(data))
    refused(tmp_path / "x.pth", r"wants to run code.*os\.PathLike")


def test_a_pickle_of_too_many_steps(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(as_zip(b"N0" * (pickle_limits.MAX_STEPS // 2) + b"}."))
    refused(tmp_path / "x.pth", "far longer than any model file's")


def test_tuples_too_deep_to_hash(tmp_path: Path) -> None:
    """As a dict key, this overflows the C stack of a plain unpickler."""
    (tmp_path / "x.pth").write_bytes(as_zip(b"})" + b"\x85" * 300_000 + b"Ns."))
    refused(tmp_path / "x.pth", "keys that no model file has")


def test_allowed_names_are_not_called_freely(tmp_path: Path) -> None:
    """torch.FloatStorage(10**12) would take all memory."""
    data = b"\x80\x02ctorch\nFloatStorage\n\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85R."
    (tmp_path / "x.pth").write_bytes(as_zip(data))
    refused(tmp_path / "x.pth", r"torch\.FloatStorage")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02Nr\xff\xff\xff\xffj\xfe\xff\xff\xff.",
        b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little") + b"x.",
        b"\x80\x05\x96" + (1 << 62).to_bytes(8, "little") + b"x.",
        b"X\xff\xff\xff\x7fabc.",
        b"]" * 30_002 + b".",
        b"})" + b"\x85" * 29_000 + b"Ns.",
        b"\x80\x02}" + text("model") + b"}q\x00" + text("model") + b"h\x00s" + b"s.",
        b"(" * 20_000 + b".",
        b"}((((u.",
        b"\x82\x01.",
        b"Pid\n.",
        b"\x8b" + (1 << 30).to_bytes(4, "little") + b"x.",
    ],
    ids=range(14),
)
def test_pickles_that_exhaust(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Huge memos and lengths, endless lists, tuples too deep to hash, dicts that contain themselves."""
    monkeypatch.setattr(pickle_scanner, "MAX_STEPS", 30_000)  # as many take a second
    for form in FORMS.values():
        (tmp_path / "x.pth").write_bytes(form(data))
        with pytest.raises(CheckpointError):
            inspect(tmp_path / "x.pth")


def tensor_pickle(shape: tuple[int, ...], stride: tuple[int, ...], length: int, offset: int = 0) -> bytes:
    """A state dict with one tensor on the storage "0", with any shape, stride, length and offset."""

    class Storage:
        pass

    class Rebuild:
        def __reduce__(self) -> tuple[Any, ...]:
            args = (Storage(), offset, shape, stride, False, collections.OrderedDict())
            return torch._utils._rebuild_tensor_v2, args

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            return ("storage", torch.FloatStorage, "0", "cpu", length) if isinstance(value, Storage) else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"ecd0.0.0.weight": Rebuild()})
    return buffer.getvalue()


TENSOR = tensor_pickle((4,), (1,), 4)[2:-1]
TENSOR = TENSOR[TENSOR.index(b"ctorch") : TENSOR.rindex(b"R") + 1]
CHANGES = {
    "setitem": b"K\x00K\x01s",
    "setitems": b"(K\x00K\x01u",
    "append": b"K\x01a",
    "appends": b"(K\x01e",
    "additems": b"(K\x01\x90",
    "build": b"}b",
    "build with a tuple": b"}}\x86b",
}
TARGETS = {
    "tensor": TENSOR,
    "number": b"K\x05",
    "text": text("x"),
    "tuple": b")",
    "class": b"ccollections\nOrderedDict\n",
    "size": b"ctorch\nSize\n(K\x01tR",
    "device": b"ctorch\ndevice\n" + text("cpu") + b"\x85R",
    "list": b"]",
    "dict": b"}",
    "set": b"cbuiltins\nset\n]\x85R",
    "namespace": b"cargparse\nNamespace\n)\x81",
}
HONEST = {
    *(("dict", change) for change in ("setitem", "setitems", "build")),
    *(("list", change) for change in ("append", "appends")),
    ("set", "additems"),
    ("namespace", "build"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("target", TARGETS)
def test_values_are_changed_only_as_their_kind_allows(target: str, change: str, tmp_path: Path) -> None:
    """SETITEM on a tensor writes outside its memory in old PyTorch: CVE-2026-24747."""
    path = tmp_path / "x.pth"
    honest = b"\x80\x02}" + text("a") + TARGETS[target] + b"s" + text("w") + TENSOR + b"s."
    path.write_bytes(as_zip(honest, **{"0": bytes(16)}))
    assert "w" in read_header(path).tree
    changed = honest.replace(TARGETS[target] + b"s", TARGETS[target] + CHANGES[change] + b"s", 1)
    path.write_bytes(as_zip(changed, **{"0": bytes(16)}))
    if (target, change) in HONEST and change != "additems":
        assert "w" in read_header(path).tree
    elif (target, change) in HONEST:
        refused(path, "ADDITEMS")
    else:
        refused(path, "modifies a .* after creating it, which no model file does")


@pytest.mark.parametrize("change", CHANGES)
def test_code_is_reported_before_a_modification_of_its_result(change: str, tmp_path: Path) -> None:
    value = b"cos\nPathLike\n)\x81" + CHANGES[change]
    (tmp_path / "x.pth").write_bytes(as_zip(b"\x80\x02}" + text("a") + value + b"s."))
    refused(tmp_path / "x.pth", r"wants to run code.*os\.PathLike")


@pytest.mark.parametrize(
    ("shape", "stride", "length", "offset", "stored"),
    [
        ((1 << 40,), (0,), 4, 0, 16),  # one number, expanded
        ((1 << 20, 1 << 20), (0, 0), 4, 0, 16),
        ((1 << 62, 1 << 62), (1, 1), 4, 0, 16),
        ((8,), (0,), 4, 0, 16),
        ((5,), (1,), 4, 0, 16),
        ((4,), (1,), 4, 1, 16),
        ((2,), (1 << 40,), 4, 0, 16),
        ((-4,), (1,), 4, 0, 16),
        ((4,), (-1,), 4, 3, 16),
        ((1,) * 40, (1,) * 40, 4, 0, 16),
        ((4,), (1, 1), 4, 0, 16),
        ((4,), (1,), 1 << 40, 0, 16),  # a storage larger than the file
        ((4,), (1,), 4, 0, 12),
        ((4,), (1,), 4, 0, 20),
        ((4,), (1,), -4, 0, 16),
    ],
)
def test_absurd_tensors(
    shape: tuple[int, ...], stride: tuple[int, ...], length: int, offset: int, stored: int, tmp_path: Path
) -> None:
    data = tensor_pickle(shape, stride, length, offset)
    (tmp_path / "x.pth").write_bytes(as_zip(data, **{"0": bytes(stored)}))
    refused(tmp_path / "x.pth", "damaged or malicious")
    # The same tensor, honestly declared, is merely an incomplete GPEN.
    (tmp_path / "x.pth").write_bytes(as_zip(tensor_pickle((4,), (1,), 4), **{"0": bytes(16)}))
    refused(tmp_path / "x.pth", "too few to tell which")


def test_many_tensors_on_one_storage(tmp_path: Path) -> None:
    """Views cost nothing in the file, but each takes memory once it is loaded."""
    block = torch.zeros(1 << 20)
    state = {f"ecd{i}.0.1.bias": block for i in range(9)}
    torch.save(state, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "declares tensors of 37748736 bytes")


def test_a_storage_without_its_data(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(as_zip(tensor_pickle((4,), (1,), 4)))
    refused(tmp_path / "x.pth", "lacks tensor data")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip_bombs(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w", method) as archive:
        archive.writestr("archive/data.pkl", tensor_pickle((1 << 24,), (1,), 1 << 24))
        archive.writestr("archive/data/0", bytes(1 << 26))
    assert (tmp_path / "x.pth").stat().st_size < 1 << 20
    refused(tmp_path / "x.pth", "compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_records_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data.pkl", bombs(tmp_path / "harm")["inst"])
    refused(tmp_path / "x.pth", "two entries of the same name")


def test_an_overlong_directory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        info = zipfile.ZipInfo("archive/version")
        for number in range(120):
            info.filename = f"archive/{number}" + "x" * 60_000
            archive.writestr(info, b"")
    refused(tmp_path / "x.pth", "far longer than any model file's")


def ending(archive: bytes) -> tuple[int, int]:
    """Length and first byte of the directory of an archive without 64-bit records."""
    assert archive[-22:-18] == b"PK\x05\x06"
    length, first = struct.unpack("<II", archive[-10:-2])
    return length, first


def test_two_archives_in_one(tmp_path: Path) -> None:
    """zipfile reads the second, PyTorch the first."""
    first, second = (as_zip(tensor_pickle((4,), (1,), 4), **{"0": bytes([n]) * 16}) for n in (1, 2))
    length, start = ending(first)
    assert ending(second) == (length, start)
    path = tmp_path / "x.pth"
    path.write_bytes(first[:-22] + second)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("archive/data/0") == bytes([2]) * 16
    assert torch.load(path, weights_only=True)["ecd0.0.0.weight"].view(torch.uint8)[0] == 1
    refused(path, "two archives in one.*refused; get it again")


@pytest.mark.parametrize("kind", ["before", "after", "comment", "64-bit end elsewhere", "fewer entries", "gap"])
def test_archives_with_something_before_or_after_them(kind: str, tmp_path: Path) -> None:
    plain = as_zip(tensor_pickle((4,), (1,), 4), **{"0": bytes(16)})
    length, first = ending(plain)
    if kind == "before":
        changed = b"PK\x03\x04" + bytes(60) + plain
    elif kind == "after":
        changed = plain + bytes(60)
    elif kind == "comment":
        changed = plain[:-2] + b"\x04\x00text"
    elif kind == "64-bit end elsewhere":
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, length, first)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
        changed = plain[:-22] + record + locator + plain[-22:]
    elif kind == "fewer entries":
        changed = plain[:-14] + b"\x02\x00\x02\x00" + plain[-10:]
    else:
        changed = plain[: first + length] + bytes(30) + plain[first + length :]
    (tmp_path / "x.pth").write_bytes(changed)
    refused(tmp_path / "x.pth", "two archives in one, or has something before or after|cut short or damaged")


def test_a_table_under_another_case(tmp_path: Path) -> None:
    """PyTorch uses the first entry's folder and ignores case."""
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("a/DATA.PKL", bombs(tmp_path / "harm")["inst"])
        archive.writestr("b/data.pkl", tensor_pickle((4,), (1,), 4))
        archive.writestr("b/data/0", bytes(16))
    refused(tmp_path / "x.pth", "not a model file")


def test_an_entry_with_two_names(tmp_path: Path) -> None:
    whole = as_zip(tensor_pickle((4,), (1,), 4), **{"0": bytes(16), "1234": b""})
    (tmp_path / "x.pth").write_bytes(whole.replace(b"data/1234", b"data/1\x0034"))
    refused(tmp_path / "x.pth", "an entry with two names")


@pytest.mark.parametrize("write", [as_zip, None], ids=["with 32-bit records", "with 64-bit records"])
def test_honest_archives_pass(write: Callable[..., bytes] | None, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    if write:
        path.write_bytes(write(tensor_pickle((4,), (1,), 4), **{"0": bytes(16)}))
    else:
        torch.save({"ecd0.0.0.weight": torch.zeros(4)}, path)
        assert b"PK\x06\x06" in path.read_bytes()
    assert read_header(path).tree["ecd0.0.0.weight"].shape == (4,)


def test_a_tar_archive_that_is_also_a_legacy_file(tmp_path: Path) -> None:
    """PyTorch reads it as tar, and old versions run what is inside: CVE-2025-32434."""
    start = b"".join(pickle.dumps(part, 2) for part in (LEGACY_MAGIC, LEGACY_PROTOCOL)) + b"\x80\x02}"
    filling = 512 - len(start) - 5
    block = bytearray(start + b"X" + struct.pack("<I", filling) + bytes(filling))
    total = sum(block) + 8 * 32
    block[148:156] = b"%06o\x00 " % total
    path = tmp_path / "x.pth"
    path.write_bytes(bytes(block) + b"Ns." + pickle.dumps({}, 2) + pickle.dumps([], 2))
    with path.open("rb") as file:
        assert next(iter(pickle.loads(file.read()[len(start) - 3 :]).values())) is None
        file.seek(0)
        tarfile.open(fileobj=file, mode="r:").close()
    refused(path, "is a tar archive at the same time")

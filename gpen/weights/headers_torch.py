"""The table of contents of the files that torch.save writes: a zip archive, or PyTorch's legacy format.

Nothing is unpickled: see :mod:`gpen.weights.pickle_scanner`. Sizes are checked against the bytes that exist.
"""

from __future__ import annotations

import contextlib
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import CheckpointError
from .pickle_limits import PickleError
from .pickle_scanner import MAX_PICKLE_BYTES, ScanResult, scan
from .pickle_types import ITEM_SIZES, StorageRef
from .zip_directory import strict_directory

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First number of a legacy file (torch/serialization.py, MAGIC_NUMBER)."""

LEGACY_PROTOCOL = 1001

MAX_DIRECTORY_BYTES = 4 << 20
"""The directory of a zip has some 100 bytes per tensor."""


class _Limited:
    """A file that can be read only up to ``end``, and at most ``most`` bytes at a time."""

    def __init__(self, file: BinaryIO, end: int, most: int) -> None:
        self.file = file
        self.end = end
        self.most = most
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self.end - self.file.tell())
        size = left if size < 0 else min(size, left)
        if size > self.most:
            raise PickleError("has a table of contents far longer than any model file's")
        return self.file.read(size)

    def readline(self) -> bytes:
        return self.file.readline(max(0, self.end - self.file.tell()))


def read_zip(path: Path, file: BinaryIO, size: int) -> ScanResult:
    """Read the table of contents of a zip archive; CheckpointError unless torch.save wrote it and it is safe."""
    records = _records(path, file, size)
    table = _table_of_contents(path, records)
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in records.values()):
        raise CheckpointError(
            f"{path.name} has compressed or encrypted entries, which PyTorch never writes: someone repacked it. It "
            "was not loaded; get the original file."
        )
    folder = table.rpartition("/")[0]
    try:
        record = records[table]
        if record.file_size > MAX_PICKLE_BYTES:
            raise PickleError("has a table of contents far longer than any model file's")
        start, end = _extent(file, record, size)
        file.seek(start)
        contents = scan(_Limited(file, end, MAX_PICKLE_BYTES))
        for storage in contents.storages.values():
            _check_record(storage, records.get(f"{folder}/data/{storage.key}"))
        if sum(_nbytes(storage) for storage in contents.storages.values()) > size:
            raise PickleError("declares more tensor data than it has bytes")
    except (PickleError, struct.error) as e:
        raise _damaged(path, e) from e
    return _readable(path, contents)


def _records(path: Path, file: BinaryIO, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries of an archive by name; CheckpointError where PyTorch's reader could see others."""
    try:
        # zipfile takes the directory's length from the file and reads as much at once.
        limited = cast("BinaryIO", _Limited(file, size, MAX_DIRECTORY_BYTES))
        with zipfile.ZipFile(limited) as archive:
            infos, directory = archive.infolist(), archive.start_dir
    except PickleError as e:
        raise _damaged(path, e) from e
    # zipfile lets struct.error, ValueError and others through on bytes that are no zip archive.
    except Exception as e:
        raise CheckpointError(
            f"{path.name} is cut short or damaged: it starts like a PyTorch file, but the zip directory at its end is "
            "missing or broken. The download did not finish, or the disk was full; download it again."
        ) from e
    if strict_directory(file, size) != (len(infos), directory) or min((i.header_offset for i in infos), default=0):
        raise CheckpointError(
            f"{path.name} is two archives in one, or has something before or after its archive: another program could "
            "read different contents from those that were checked. It was refused; get it again from a source you "
            "trust."
        )
    records = {info.filename: info for info in infos}
    # PyTorch looks names up without regard to case.
    if len({name.lower() for name in records}) != len(infos):
        raise _damaged(path, "has two entries of the same name")
    # zipfile cuts names at a zero byte, and newer versions let a second name replace the first.
    if any(info.filename != info.orig_filename for info in infos):
        raise _damaged(path, "has an entry with two names")
    return records


def _table_of_contents(path: Path, records: dict[str, zipfile.ZipInfo]) -> str:
    """The name of the archive's one pickle; CheckpointError if there is none, several, or a program."""
    tables = [name for name in records if name.lower().rpartition("/")[2] == "data.pkl"]
    folders = [name.rpartition("/")[0] for name in tables]
    if any(f"{folder}/constants.pkl" in records for folder in folders):
        raise CheckpointError(
            f"{path.name} is a TorchScript program, not a model file: it contains code, which is never run here. Use "
            "the GPEN network's .pth or .safetensors file."
        )
    if len(tables) != 1:
        raise CheckpointError(
            f"{path.name} is a zip archive, but not a model file that PyTorch wrote. If a model file is packed inside "
            "it, unpack it and give that file."
        )
    return tables[0]


def read_legacy(path: Path, file: BinaryIO, size: int) -> ScanResult:
    """Read the table of contents of a file in torch.save's format before zip; CheckpointError for any other file."""
    _refuse_tar(path, file)
    file.seek(0)
    limited = _Limited(file, min(size, MAX_PICKLE_BYTES), MAX_PICKLE_BYTES)
    try:
        first = scan(limited)
    except PickleError as e:
        raise _unknown(path) from e
    if first.value != LEGACY_MAGIC or type(first.value) is not int:
        if first.code:
            raise CheckpointError(code_complaint(path, tuple(first.code)))
        raise _unknown(path)
    try:
        protocol, machine, contents, listed = (scan(limited) for _ in range(4))
    except PickleError as e:
        raise _cut_short(path) from e
    for part in (first, protocol, machine, listed):
        contents.code += part.code
    contents = _readable(path, contents)
    if contents.code:
        return contents
    if protocol.value != LEGACY_PROTOCOL:
        raise _damaged(path, "has an unknown version of PyTorch's legacy format")
    _check_storages(path, file, size, contents, listed.value)
    return contents


def _refuse_tar(path: Path, file: BinaryIO) -> None:
    file.seek(0)
    with contextlib.suppress(tarfile.HeaderError, ValueError):
        tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        # PyTorch tries tar first, and old versions then run what is inside: CVE-2025-32434.
        raise _damaged(path, "is a tar archive at the same time")


def _check_storages(path: Path, file: BinaryIO, size: int, contents: ScanResult, keys: Any) -> None:
    """Compare the storages, which follow the pickles in the order of ``keys``, with what the pickle declares."""
    # What is no text is not turned into it: nested tuples can describe more of it than there is memory.
    is_list = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not is_list or sorted(keys) != sorted(contents.storages):
        raise _damaged(path, "lists other storages than it uses")
    for key in keys:
        storage = contents.storages[key]
        declared = file.read(8)
        end = file.tell() + _nbytes(storage)
        if len(declared) < 8 or end > size:
            raise _cut_short(path)
        if int.from_bytes(declared, "little", signed=True) != storage.length:
            raise _damaged(path, "gives two lengths for the same storage")
        file.seek(end)


def code_complaint(path: Path, code: tuple[str, ...]) -> str:
    """The message for a file that was refused because opening it the ordinary way would run code."""
    shown = ", ".join(name[:100] for name in code[:3])
    if len(code) > 3:
        shown += f" and {len(code) - 3} more"
    return (
        f"{path.name} wants to run code when it is opened ({shown}). A model file holds only numbers: it was refused, "
        "and nothing was executed. Get the model from a source you trust; a training program can save just the "
        "weights with torch.save(network.state_dict(), …)."
    )


def _readable(path: Path, contents: ScanResult) -> ScanResult:
    if contents.unreadable and not contents.code:
        raise CheckpointError(
            f"{path.name} was saved in a way that PyTorch's safe reader does not understand (pickle "
            f"instruction {contents.unreadable}). Save it again with torch.save and its default settings."
        )
    return contents


def _extent(file: BinaryIO, record: zipfile.ZipInfo, size: int) -> tuple[int, int]:
    """Offsets of the first byte and of the end of a record's data."""
    file.seek(record.header_offset)
    header = struct.unpack("<4s22xHH", file.read(30))
    start = record.header_offset + 30 + header[1] + header[2]
    if header[0] != b"PK\x03\x04" or start + record.file_size > size:
        raise PickleError("has a directory that does not fit its contents")
    return start, start + record.file_size


def _check_record(storage: StorageRef, record: zipfile.ZipInfo | None) -> None:
    if record is None:
        raise PickleError("lacks tensor data that its table of contents lists")
    if record.file_size != _nbytes(storage) or record.compress_size != record.file_size:
        raise PickleError(f"declares {_nbytes(storage)} bytes of tensor data where it holds {record.file_size}")


def _nbytes(storage: StorageRef) -> int:
    return storage.length * ITEM_SIZES[storage.dtype]


def _damaged(path: Path, why: object) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is damaged or malicious: it {why}. It was not loaded; get it again from a source you trust."
    )


def _cut_short(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is cut short or damaged: it lacks tensor data that its table of contents lists. The download "
        "did not finish, or the disk was full; download it again."
    )


def _unknown(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is not a model file: its content is neither PyTorch (.pth, .pt, .ckpt) nor safetensors. Check "
        "that the download is what you meant to download."
    )

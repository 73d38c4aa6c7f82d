"""The table of contents of the files that torch.save writes, zip archive or the older format.

Nothing is unpickled: see :mod:`gpen.weights.pickle_scanner`. Sizes are checked against the bytes that are there.
"""

from __future__ import annotations

import contextlib
import struct
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import CheckpointError
from .pickle_scanner import MAX_PICKLE_BYTES, PickleError, Walked, walk
from .pickle_types import ITEM_SIZES, StorageRef

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""PyTorch's mark at the start of its older format (torch/serialization.py, MAGIC_NUMBER)."""

LEGACY_PROTOCOL = 1001

MAX_DIRECTORY_BYTES = 4 << 20
"""The directory of a zip has some 100 bytes per tensor."""

# The records at the end of a zip archive (APPNOTE.TXT, 4.3.14 to 4.3.16), without their variable parts.
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")


@dataclass(frozen=True)
class Contents:
    """What the pickle inside describes; the fields are those of pickle_scanner.ScanResult."""

    value: Any
    code: tuple[str, ...]
    namespace: bool


class _Limited:
    """A file of which only the bytes before ``end`` can be read, and never many at once."""

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
            raise PickleError("has a table of contents far longer than any weight file's")
        return self.file.read(size)

    def readline(self) -> bytes:
        return self.file.readline(max(0, self.end - self.file.tell()))


def read_zip(path: Path, file: BinaryIO, size: int) -> Contents:
    """Read the contents of a zip archive; CheckpointError when it is not one that torch.save wrote."""
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
            f"{path.name} is cut short or damaged: it begins as a PyTorch file, but the directory at its "
            "end is missing or broken. The download did not finish, or the disk was full; download it "
            "again."
        ) from e
    if _raw_directory(file, size) != (len(infos), directory) or min((i.header_offset for i in infos), default=0):
        raise CheckpointError(
            f"{path.name} is two archives in one, or has something before or after its archive: another program "
            "would read other contents than were checked. It was refused; get it again from a source you trust."
        )
    records = {info.filename: info for info in infos}
    # PyTorch looks names up without regard to case.
    if len({name.lower() for name in records}) != len(infos):
        raise _damaged(path, "has two entries of the same name")
    # zipfile cuts names at a zero, and newer ones let a second name replace the first.
    if any(info.filename != info.orig_filename for info in infos):
        raise _damaged(path, "has an entry with two names")
    tables = [name for name in records if name.lower().rpartition("/")[2] == "data.pkl"]
    folders = [name.rpartition("/")[0] for name in tables]
    if any(f"{folder}/constants.pkl" in records for folder in folders):
        raise CheckpointError(
            f"{path.name} is a TorchScript program, not a weight file: it contains code, which is not run "
            "here. Use the GPEN network's .pth or .safetensors file."
        )
    if len(folders) != 1:
        raise CheckpointError(
            f"{path.name} is a zip archive, but not a weight file that PyTorch wrote. If a weight file is "
            "packed inside it, unpack it and give that file."
        )
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in records.values()):
        raise CheckpointError(
            f"{path.name} is compressed or encrypted inside, which PyTorch never does: someone packed it "
            "again. It was not loaded; get the original file."
        )
    prefix = f"{folders[0]}/"
    try:
        record = records[tables[0]]
        if record.file_size > MAX_PICKLE_BYTES:
            raise PickleError("has a table of contents far longer than any weight file's")
        start, end = _extent(file, record, size)
        file.seek(start)
        walked = walk(_Limited(file, end, MAX_PICKLE_BYTES))
        for storage in walked.storages.values():
            _check_record(storage, records.get(f"{prefix}data/{storage.key}"))
        if sum(_nbytes(storage) for storage in walked.storages.values()) > size:
            raise PickleError("declares more numbers than it has bytes")
    except (PickleError, struct.error) as e:
        raise _damaged(path, e) from e
    return _checked(path, walked)


def read_legacy(path: Path, file: BinaryIO, size: int) -> Contents:
    """Read the contents of a file in torch.save's format before zip; CheckpointError when it is none."""
    file.seek(0)
    with contextlib.suppress(tarfile.HeaderError, ValueError):
        tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        # PyTorch tries tar first, and old ones then run what is inside: CVE-2025-32434.
        raise _damaged(path, "is a tar archive at the same time")
    file.seek(0)
    limited = _Limited(file, min(size, MAX_PICKLE_BYTES), MAX_PICKLE_BYTES)
    try:
        first = walk(limited)
    except PickleError as e:
        raise _unknown(path) from e
    if first.value != LEGACY_MAGIC or type(first.value) is not int:
        if first.code:
            raise CheckpointError(code_complaint(path, tuple(first.code)))
        raise _unknown(path)
    cut = CheckpointError(
        f"{path.name} is cut short or damaged: it does not hold all the numbers that its table of contents "
        f"lists. The download did not finish, or the disk was full; download it again."
    )
    try:
        protocol, machine, walked, listed = (walk(limited) for _ in range(4))
        for part in (first, protocol, machine, listed):
            walked.code += part.code
        contents = _checked(path, walked)
        if contents.code:
            return contents
        if protocol.value != LEGACY_PROTOCOL:
            raise _damaged(path, "has an unknown version of PyTorch's older format")
        keys = listed.value
        if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(walked.storages):
            raise _damaged(path, "lists other numbers than it uses")
        for key in keys:
            storage = walked.storages[str(key)]
            declared = file.read(8)
            end = file.tell() + _nbytes(storage)
            if len(declared) < 8 or end > size:
                raise cut
            if int.from_bytes(declared, "little", signed=True) != storage.length:
                raise _damaged(path, "states two lengths for the same numbers")
            file.seek(end)
    except PickleError as e:
        raise cut from e
    return contents


def code_complaint(path: Path, code: tuple[str, ...]) -> str:
    """Say that the file was refused because opening it the ordinary way would run code."""
    shown = ", ".join(name[:100] for name in code[:3])
    if len(code) > 3:
        shown += f" and {len(code) - 3} more"
    return (
        f"{path.name} wants to run code when it is opened ({shown}). A weight file holds only numbers: it "
        "was refused, and nothing was executed. Get the weights from a source you trust; a training "
        "program can save them alone with torch.save(network.state_dict(), …)."
    )


def _checked(path: Path, walked: Walked) -> Contents:
    if walked.unreadable and not walked.code:
        raise CheckpointError(
            f"{path.name} was saved in a way that PyTorch's safe reader does not understand (pickle "
            f"instruction {walked.unreadable}). Save it again with torch.save and its default settings."
        )
    return Contents(walked.value, tuple(walked.code), walked.namespace)


def _raw_directory(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """Number of entries and first byte of the directory, as the very end of the archive states them.

    zipfile corrects the place when it is wrong, PyTorch's reader does not: where they differ, one file can be
    two archives. None when the end is not as PyTorch writes it: last in the file and without a comment, with
    the directory right before it.
    """
    end = size - _END.size
    if end < 0:
        return None
    file.seek(end)
    mark, *disks, here, count, length, first, comment = _END.unpack(file.read(_END.size))
    if mark != b"PK\5\6" or any(disks) or here != count or comment:
        return None
    stated = (count, length, first)
    # PyTorch writes the 64-bit end always and reads it wherever there is one.
    locator = end - _LOCATOR.size
    if locator >= 0:
        file.seek(locator)
        mark, disk, place, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if mark == b"PK\6\7":
            end = locator - _END64.size
            if place != end or end < 0 or disk:
                return None
            file.seek(end)
            mark, rest, _, _, *disks, here, count, length, first = _END64.unpack(file.read(_END64.size))
            if mark != b"PK\6\6" or rest != _END64.size - 12 or any(disks) or here != count:
                return None
            full = zip(stated, (count, length, first), (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True)
            if any(short not in (long, most) for short, long, most in full):
                return None
    return (count, first) if first + length == end else None


def _extent(file: BinaryIO, record: zipfile.ZipInfo, size: int) -> tuple[int, int]:
    """First byte and end of a record's data."""
    file.seek(record.header_offset)
    header = struct.unpack("<4s22xHH", file.read(30))
    start = record.header_offset + 30 + header[1] + header[2]
    if header[0] != b"PK\x03\x04" or start + record.file_size > size:
        raise PickleError("has a directory that does not fit its contents")
    return start, start + record.file_size


def _check_record(storage: StorageRef, record: zipfile.ZipInfo | None) -> None:
    if record is None:
        raise PickleError("lacks numbers that its table of contents lists")
    if record.file_size != _nbytes(storage) or record.compress_size != record.file_size:
        raise PickleError(f"declares {_nbytes(storage)} bytes of numbers where it holds {record.file_size}")


def _nbytes(storage: StorageRef) -> int:
    return storage.length * ITEM_SIZES[storage.dtype]


def _damaged(path: Path, why: object) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is damaged or made to do harm: it {why}. It was not loaded; get it again from a source you trust."
    )


def _unknown(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is not a weight file: its content is neither PyTorch's (.pth, .pt, .ckpt) nor "
        "safetensors'. Check that the download is what you meant to download."
    )

"""The records at the end of a zip archive, which say where its directory is.

Format: APPNOTE.TXT, 4.3.14 to 4.3.16. :mod:`zipfile` reads a directory of any length into memory and repairs wrong
offsets; callers that must not trust an archive look here first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LONGEST_COMMENT = 0xFFFF


@dataclass(frozen=True)
class ZipEnd:
    """The end-of-central-directory record of an archive, without its 64-bit extension."""

    position: int
    """Offset of the record in the file."""
    disks: tuple[int, int]
    """Number of this disk and of the one on which the directory begins; (0, 0) for an archive in one file."""
    entries_here: int
    """Entries on this disk."""
    entries: int
    """Entries on all disks."""
    directory_size: int
    """Bytes of the directory."""
    directory_start: int
    """Offset of the directory."""
    comment_size: int
    """Bytes of the comment that follows the record."""
    is_zip64: bool
    """Whether a locator of a 64-bit record precedes this one."""


def read_zip_end(file: BinaryIO, size: int) -> ZipEnd | None:
    """Find the record in an archive of ``size`` bytes, where :mod:`zipfile` finds it; None where it is missing."""
    begin = max(0, size - _END.size - _LOCATOR.size - _LONGEST_COMMENT - 1)
    file.seek(begin)
    tail = file.read(size - begin)
    last = len(tail) - _END.size
    at = last if last >= 0 and tail[last:].startswith(b"PK\5\6") and tail.endswith(b"\0\0") else tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        return None
    _, disk, first_disk, here, count, length, start, comment = _END.unpack_from(tail, at)
    is_zip64 = tail[max(0, at - _LOCATOR.size) : at].startswith(b"PK\6\7")
    return ZipEnd(begin + at, (disk, first_disk), here, count, length, start, comment, is_zip64)


def strict_directory(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """Number of entries and offset of the directory, taken from the very end of the archive and from nowhere else.

    :mod:`zipfile` corrects an offset that is wrong, PyTorch's reader does not: where they differ, one file can be two
    archives. None when the end is not as PyTorch writes it: last in the file and without a comment, with the directory
    right before it.
    """
    end = read_zip_end(file, size)
    if end is None or end.position + _END.size != size or end.comment_size:
        return None
    if any(end.disks) or end.entries_here != end.entries:
        return None
    stated = (end.entries, end.directory_size, end.directory_start)
    if not end.is_zip64:
        return _if_adjacent(stated, end.position)
    # PyTorch always writes the 64-bit record, and reads it wherever there is one.
    position = end.position - _LOCATOR.size - _END64.size
    if position < 0:
        return None
    file.seek(position)
    mark, rest, _, _, *disks, here, count, length, start = _END64.unpack(file.read(_END64.size))
    _, locator_disk, located, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if located != position or locator_disk or mark != b"PK\6\6" or rest != _END64.size - 12:
        return None
    if any(disks) or here != count:
        return None
    full = zip(stated, (count, length, start), (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True)
    if any(short not in (long, most) for short, long, most in full):
        return None
    return _if_adjacent((count, length, start), position)


def _if_adjacent(stated: tuple[int, int, int], end: int) -> tuple[int, int] | None:
    count, length, start = stated
    return (count, start) if start + length == end else None

"""The boxes that HEIC, AVIF, JPEG 2000 and JPEG XL files are made of. Source: ISO/IEC 14496-12, 4.2."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..metadata.metadata import printable, shown

_MOST_BOXES = 100_000  # in one row; more is an attempt to keep a reader busy


class Box(NamedTuple):
    """A box, and where its contents lie in the file."""

    kind: bytes
    start: int
    stop: int


def boxes(data: bytes, start: int = 0, stop: int | None = None, *, strict: bool = True) -> Iterator[Box]:
    """The boxes between two offsets.

    Raises ValueError for one that does not end there, as in a file that is cut; or, unless strict, it is the last one
    and ends there.
    """
    stop = len(data) if stop is None else stop
    for _ in range(_MOST_BOXES):
        if stop - start < 8:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and stop - start >= 16:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        end = start + size if size else stop
        if not head <= end - start or end > stop:
            if strict:
                raise ValueError("one of its parts is cut off")
            end = max(stop, start + head)
        yield Box(kind, start + head, end)
        start = end
    raise ValueError(f"it has more than {_MOST_BOXES} parts")


def unknown(kinds: Sequence[bytes]) -> str:
    """Says that data of boxes of these kinds are left out."""
    names = shown(list(dict.fromkeys(printable(kind).strip() for kind in kinds)))
    return f"Data of its boxes {names} is left out: what they hold is not known."


class Reader:
    """Reads numbers, the most significant byte first. Raises ValueError where the data end."""

    def __init__(self, data: bytes, start: int = 0, stop: int | None = None) -> None:
        self.data = data
        self.at = start
        self.stop = len(data) if stop is None else stop

    def number(self, size: int) -> int:
        """The next number of ``size`` bytes; 0 if that is 0."""
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if self.at + size > self.stop:
            raise ValueError("its header is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> bytes:
        """The bytes up to the next zero."""
        end = self.data.find(b"\0", self.at, self.stop)
        end = self.stop if end < 0 else end
        found = self.data[self.at : end]
        self.at = min(end + 1, self.stop)
        return found

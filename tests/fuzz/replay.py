"""Inputs as bytes, which a search by coverage changes, and which are kept in files to be given once more."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

from tests.fuzz.targets import Calls, FileInput, Target


class Replayed(Random):
    """Random numbers out of the bytes of an input; once these are used up, zeros."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        super().__init__(0)

    def getrandbits(self, k: int) -> int:
        size = (k + 7) // 8
        part = self._data[self._at : self._at + size].ljust(size, b"\0")
        self._at += size
        return int.from_bytes(part, "little") >> (8 * size - k)

    def random(self) -> float:
        return self.getrandbits(53) / (1 << 53)


def calls_of(target: Target, data: bytes, folder: Path) -> Calls:
    """What is done with an input: with the file of these bytes, or with what these numbers make."""
    if isinstance(target.make, FileInput):
        return target.make.take(data, Random(data), folder)
    return target.make(Replayed(data), folder)


def kept(data: bytes, folder: Path, target: str) -> Path:
    """Write an input to a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path

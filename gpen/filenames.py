"""File names: which of them mean the same file, which belong to no photo, and how long they may be."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

LONGEST_NAME = 255
"""Bytes of a file name in UTF-8 that every common file system takes."""

# Thumbnails and deleted files that NAS systems, macOS and Windows keep beside photos; in lower case.
_CLUTTER = frozenset(
    {
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "__macosx",
        "lost+found",
        "system volume information",
    }
)


def folded(name: str) -> str:
    """Equal for names that people, and many file systems, take for the same: other case, other Unicode composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_clutter(parts: Iterable[str]) -> bool:
    """Whether a path, given in parts, lies in a folder that a system keeps thumbnails or deleted files in."""
    return any(part.lower() in _CLUTTER for part in parts)


def is_hidden(parts: Iterable[str]) -> bool:
    """Whether a part of a path starts with a dot: macOS keeps metadata in ._photo.jpg, file managers thumbnails."""
    return any(part.startswith(".") for part in parts)


def fitting(stem: str, end: str) -> str:
    """The stem, shortened if the name ``stem + end`` is longer than file systems allow; different stems stay different.

    A file name that is not Unicode counts with the bytes it has on disk.
    """
    room = LONGEST_NAME - len(os.fsencode(end))
    data = os.fsencode(stem)
    if len(data) <= room:
        return stem
    mark = "_" + hashlib.sha256(data).hexdigest()[:8]
    # Cut off between characters, not within one.
    short = data[: room - len(mark)].decode("utf-8", "ignore")
    return short + mark


def real_path(path: Path) -> Path:
    """The path without links; unlike :meth:`Path.resolve`, it raises for no link, not even one that leads to itself."""
    return Path(os.path.realpath(path))

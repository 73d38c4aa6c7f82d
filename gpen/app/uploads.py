"""Uploaded pictures and zips, unpacked within limits: an archive is not trusted about sizes or names."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import PhotoError
from ..images import READABLE_SUFFIXES
from .session import named

MOST_FILES = 2000
_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError)

# The record at the end of a zip, and the one before it in zips for very many or very large files.
_END, _END_SIZE, _LONGEST_COMMENT = b"PK\5\6", 22, 1 << 16
_LOCATOR, _LOCATOR_SIZE = b"PK\6\7", 20
_MOST_OF_DIRECTORY = 8 << 20
"""Bytes of a zip's list of files, which is read into memory whole: 4 kB for each of as many as are allowed."""


def gather(uploads: Sequence[Path], folder: Path, most_bytes: int) -> None:
    """Bring uploaded pictures, and those in uploaded zips, into a folder; the tree of a zip is kept.

    most_bytes: what all may have together, unpacked. PhotoError, before anything is unpacked, for an archive that
    leads out of its folder, is protected, or states more files or bytes than allowed; and while it is, for one that
    has more than it states. Files in it that are no pictures, going by their names, are left out.
    """
    left = most_bytes
    for upload in uploads:
        if upload.suffix.lower() == ".zip":
            # Beside others, pictures of one archive would replace those of another.
            into = folder if len(uploads) == 1 else _free(folder / upload.stem)
            with named(upload):
                left -= unpack(upload, into, left)
        else:
            left -= upload.stat().st_size
            if left < 0:
                raise _too_large(most_bytes)
            target = _free(folder / upload.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(upload, target)
    found = sum(path.is_file() for path in folder.rglob("*"))
    if not found:
        raise PhotoError(
            "There is no picture in what was dropped. Give pictures, or a zip of them: "
            f"{', '.join(sorted(READABLE_SUFFIXES))}."
        )
    if found > MOST_FILES:
        raise _too_many(found)


def unpack(archive: Path, folder: Path, most_bytes: int) -> int:
    """Unpack the pictures of a zip, and return how many bytes they have; see :func:`gather`."""
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as file:
            entries = [_checked(archive, entry) for entry in file.infolist() if not entry.is_dir()]
            wanted = [entry for entry in entries if _is_picture(entry.filename)]
            if len(wanted) > MOST_FILES:
                raise _too_many(len(wanted))
            if sum(entry.file_size for entry in wanted) > most_bytes:
                raise _too_large(most_bytes)
            written = 0
            for entry in wanted:
                target = _free(folder / PurePosixPath(entry.filename))
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(entry) as source, target.open("xb") as out:
                    while chunk := source.read(_CHUNK):
                        written += len(chunk)
                        if written > most_bytes:
                            raise _too_large(most_bytes)
                        out.write(chunk)
            return written
    except _DAMAGED as error:
        raise PhotoError(
            f"{archive} is no zip that can be unpacked ({str(error).rstrip('.')}). Make it anew, without a password."
        ) from error
    except OSError as error:
        raise PhotoError(
            f"{archive} cannot be unpacked: {error.strerror or error}. Make the zip anew, with shorter names."
        ) from error


def _check_directory(archive: Path) -> None:
    """PhotoError for a zip whose list of files is longer than that of any that is allowed."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_SIZE - _LOCATOR_SIZE - _LONGEST_COMMENT))
        tail = file.read()
    # Found as zipfile finds it, which reads the list that it names.
    last = len(tail) - _END_SIZE
    at = last if tail[last:].startswith(_END) and tail.endswith(b"\0\0") else tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_SIZE:
        raise zipfile.BadZipFile("it has no list of its files")
    large = tail[max(0, at - _LOCATOR_SIZE) : at].startswith(_LOCATOR)
    if large or int.from_bytes(tail[at + 12 : at + 16], "little") > _MOST_OF_DIRECTORY:
        raise PhotoError(
            f"{archive} is a zip of the kind for very many or very large files. Make a plain zip of at most "
            f"{MOST_FILES} pictures."
        )


def _checked(archive: Path, entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """PhotoError for an entry that is no plain file inside of the archive's own folder."""
    name = entry.filename
    path = PureWindowsPath(name)  # it knows both kinds of separators
    if path.anchor or ".." in path.parts or not path.parts:
        raise PhotoError(f"{archive} holds {name!r}, which leads out of its folder. Make the zip anew.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise PhotoError(f"{archive} holds a link, {name!r}. Make the zip anew, of the pictures themselves.")
    if entry.flag_bits & 1:
        raise PhotoError(f"{archive} is protected by a password. Make the zip anew, without one.")
    return entry


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    # As in a folder: hidden files are no photos, nor what macOS adds to each.
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in READABLE_SUFFIXES and not hidden


def _free(path: Path) -> Path:
    """The path, or one like it in a folder with a number, where that is taken."""
    number = 1
    free = path
    while free.exists():
        number += 1
        free = path.parent / str(number) / path.name
    return free


def _too_large(most_bytes: int) -> PhotoError:
    return PhotoError(
        f"The pictures have more than the {most_bytes / 1e6:,.0f} MB together that are allowed here. Give fewer."
    )


def _too_many(found: int) -> PhotoError:
    return PhotoError(f"There are {found} pictures; {MOST_FILES} at a time are allowed here. Give fewer.")

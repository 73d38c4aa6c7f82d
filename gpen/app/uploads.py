"""Collects uploaded pictures and zips within limits; neither sizes nor names in an archive are trusted."""

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
from ..weights.zip_directory import read_zip_end
from .session import named

MOST_FILES = 2000
"""The most pictures of one batch."""

_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError)

_MOST_OF_DIRECTORY = 8 << 20
"""Bytes of a zip's list of files, which is read into memory whole: 4 kB for each of as many as are allowed."""


def gather(uploads: Sequence[Path], folder: Path, most_bytes: int) -> None:
    """Copy uploaded pictures, and those in uploaded zips, into a folder; the folders of a zip are kept.

    most_bytes: the limit for all pictures in total, unpacked. Files in a zip that are not pictures by their names are
    left out. PhotoError, before anything is unpacked, for a zip with a path outside its own folder, a password, or
    more files or bytes than allowed; and during unpacking for one with more bytes than it claims.
    """
    left = most_bytes
    for upload in uploads:
        if upload.suffix.lower() == ".zip":
            # Pictures in several archives may have the same names.
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
            "There is no picture in the upload. Upload pictures, or a zip of them: "
            f"{', '.join(sorted(READABLE_SUFFIXES))}."
        )
    if found > MOST_FILES:
        raise _too_many(found)


def unpack(archive: Path, folder: Path, most_bytes: int) -> int:
    """Unpack the pictures in a zip and return their total size in bytes; see :func:`gather`."""
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
            f"{archive} cannot be unpacked as a zip ({str(error).rstrip('.')}). Create it again, without a password."
        ) from error
    except OSError as error:
        raise PhotoError(
            f"{archive} cannot be unpacked: {error.strerror or error}. Create the zip again, with shorter names."
        ) from error


def _check_directory(archive: Path) -> None:
    """PhotoError for a zip whose directory is larger than that of any zip that is allowed."""
    with archive.open("rb") as file:
        end = read_zip_end(file, file.seek(0, os.SEEK_END))
    if end is None:
        raise zipfile.BadZipFile("it has no list of its files")
    if end.is_zip64 or end.directory_size > _MOST_OF_DIRECTORY:
        raise PhotoError(
            f"{archive} is a zip of the kind for very many or very large files. Create a plain zip of at most "
            f"{MOST_FILES} pictures."
        )


def _checked(archive: Path, entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return the entry; PhotoError unless it is a plain file inside the archive's own folder."""
    name = entry.filename
    path = PureWindowsPath(name)  # understands both kinds of separators
    if path.anchor or ".." in path.parts or not path.parts:
        raise PhotoError(f"{archive} contains {name!r}, a path outside its own folder. Create the zip again.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise PhotoError(f"{archive} contains a link, {name!r}. Create the zip again, from the pictures themselves.")
    if entry.flag_bits & 1:
        raise PhotoError(f"{archive} is protected by a password. Create the zip again, without one.")
    return entry


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    # Skip hidden files, as in a folder, and the companions that macOS adds.
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in READABLE_SUFFIXES and not hidden


def _free(path: Path) -> Path:
    """The path, or if it exists the same name in a numbered folder."""
    number = 1
    free = path
    while free.exists():
        number += 1
        free = path.parent / str(number) / path.name
    return free


def _too_large(most_bytes: int) -> PhotoError:
    return PhotoError(
        f"The pictures are larger than the {most_bytes / 1e6:,.0f} MB that are allowed in total. Upload fewer."
    )


def _too_many(found: int) -> PhotoError:
    return PhotoError(f"There are {found} pictures, and at most {MOST_FILES} are allowed. Upload fewer.")

"""Collects uploaded pictures and zips within limits; neither sizes nor names in an archive are trusted."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath, PureWindowsPath

from ..errors import PhotoError, named
from ..filenames import is_clutter, is_hidden
from ..images import is_picture as is_picture_suffix
from ..images import readable_suffixes
from ..video.plan import SUFFIXES, is_film
from ..weights.zip_directory import read_zip_end
from .zip_names import names_of

MOST_FILES = 2000
"""The most pictures of one batch."""

_DEEPEST = 64
"""Folders within folders; each is made in a call within a call."""
_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError)

_MOST_OF_DIRECTORY = 8 << 20
"""Bytes of a zip's list of files, which is read into memory whole: 4 kB for each of as many as are allowed."""


def gather(uploads: Sequence[Path], folder: Path, most_bytes: int) -> None:
    """Copy uploaded pictures and films, and those in uploaded zips, into a folder; the folders of a zip are kept.
    Pictures of a kind that cannot be read are copied too, so that they can be counted.

    most_bytes: the limit for all pictures, and films in zips, in total, unpacked. Files in a zip that are neither by
    their names, and what systems keep beside pictures, are left out. PhotoError, before anything is unpacked, for a zip
    with a path outside its own folder, a password, or more files or bytes than allowed; and during unpacking for one
    with more bytes than it claims.
    """
    left = most_bytes
    names = _FreeNames()
    for upload in uploads:
        if upload.suffix.lower() == ".zip":
            # Pictures in several archives may have the same names.
            into = folder if len(uploads) == 1 else names.free(folder / upload.stem)
            with named(upload):
                left -= unpack(upload, into, left)
        else:
            if not is_film(upload):
                left -= upload.stat().st_size
            if left < 0:
                raise _too_large(most_bytes)
            target = names.free(folder / upload.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(upload, target)
    found = sum(path.is_file() for path in folder.rglob("*"))
    if not found:
        raise PhotoError(
            "There is no picture in the upload, and no film. Upload pictures, films, or a zip of them: "
            f"{', '.join(sorted(readable_suffixes() | SUFFIXES))}."
        )
    if found > MOST_FILES:
        raise _too_many(found)


def unpack(archive: Path, folder: Path, most_bytes: int) -> int:
    """Unpack the pictures and films in a zip and return their total size in bytes; see :func:`gather`."""
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as file:
            named_entries = list(zip(names_of(file.infolist()), file.infolist(), strict=True))
            files = [(_checked(archive, name, entry), entry) for name, entry in named_entries if name[-1:] != "/"]
            wanted = [(path, entry) for path, entry in files if is_taken(path)]
            if len(wanted) > MOST_FILES:
                raise _too_many(len(wanted))
            if sum(entry.file_size for _, entry in wanted) > most_bytes:
                raise _too_large(most_bytes)
            written = 0
            names = _FreeNames()
            for path, entry in wanted:
                target = names.free(folder / path)
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


def is_picture(path: PurePath) -> bool:
    """Whether a file counts, by its path in a folder: as a photo, or as a picture that cannot be read."""
    return is_picture_suffix(path.suffix) and not is_hidden(path.parts) and not is_clutter(path.parts)


def is_taken(path: PurePath) -> bool:
    """Whether a file counts, by its path in a folder: as :func:`is_picture`, or as a film."""
    return is_picture(path) or (is_film(path) and not is_hidden(path.parts) and not is_clutter(path.parts))


def _copy(upload: Path, target: Path) -> None:
    try:
        os.link(upload, target)  # films are large
    except OSError:
        shutil.copyfile(upload, target)


def _checked(archive: Path, name: str, entry: zipfile.ZipInfo) -> PurePath:
    """The path of an entry of this name; PhotoError unless it is a plain file inside the archive's own folder."""
    path = PureWindowsPath(name)  # knows more ways out of a folder than others
    if path.anchor or ".." in path.parts or not path.parts:
        raise PhotoError(f"{archive} contains {name!r}, a path outside its own folder. Create the zip again.")
    if len(path.parts) > _DEEPEST:
        raise PhotoError(f"{archive} contains folders more than {_DEEPEST} deep. Create the zip again, with fewer.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise PhotoError(f"{archive} contains a link, {name!r}. Create the zip again, from the pictures themselves.")
    if entry.compress_type not in _METHODS:
        # Its decompressor takes memory for blocks of any size that a few bytes state.
        raise PhotoError(
            f"{archive} is compressed in an unusual way ({_method(entry.compress_type)}). Create a plain zip, stored "
            "or deflated."
        )
    if entry.flag_bits & 1:
        raise PhotoError(f"{archive} is protected by a password. Create the zip again, without one.")
    return PurePath(*path.parts)


def _method(number: int) -> str:
    known = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}
    return known.get(number, f"method {number}")


class _FreeNames:
    """Names for files that do not exist yet."""

    def __init__(self) -> None:
        self._numbers: dict[Path, int] = {}

    def free(self, path: Path) -> Path:
        """The path, or if it exists the same name in a numbered folder."""
        number = self._numbers.get(path, 1)
        free = path if number == 1 else _numbered(path, number)
        while free.exists():
            number += 1
            free = _numbered(path, number)
        # All files of an archive may have the same name: the numbers are not tried from the first again.
        self._numbers[path] = number
        return free


def _numbered(path: Path, number: int) -> Path:
    return path.parent / str(number) / path.name


def _too_large(most_bytes: int) -> PhotoError:
    return PhotoError(
        f"The pictures are larger than the {most_bytes / 1e6:,.0f} MB that are allowed in total. Upload fewer."
    )


def _too_many(found: int) -> PhotoError:
    return PhotoError(f"There are {found} pictures, and at most {MOST_FILES} are allowed. Upload fewer.")

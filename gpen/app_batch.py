"""Many photographs that were dropped on the page, as files or in a zip, restored into a zip."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .app_engine import Engine
from .app_work import named
from .batch import Extras, Restorer
from .damage import DamageMasks
from .errors import GpenError, PhotoError
from .images import READABLE_SUFFIXES
from .jobs import Job, plan
from .options import OPTIONS_OF, Options
from .overlap import Overlap, worker_count
from .report import DONE, FAILED, UNCHANGED, Entry
from .restoration import RestoredFace
from .tasks import DONE_BY
from .wording import count

MOST_FILES = 2000
REPORT = "report.json"
_CHUNK = 1 << 20
_DATE = (1980, 1, 1, 0, 0, 0)
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError)

# The record at the end of a zip, and the one before it in zips for very many or very large files.
_END, _END_SIZE, _LONGEST_COMMENT = b"PK\5\6", 22, 1 << 16
_LOCATOR, _LOCATOR_SIZE = b"PK\6\7", 20
_MOST_OF_DIRECTORY = 8 << 20
"""Bytes of a zip's list of files, which is read into memory whole: 4 kB for each of as many as are allowed."""

OnProgress = Callable[[float, str], bool | None]
"""Called with the part that is done, 0 to 1, and with words; returning False stops."""


@dataclass(frozen=True)
class Batch:
    """What became of many photographs. path: the zip. summary: a sentence for people."""

    path: Path
    summary: str


class _StoppedError(Exception):
    """Somebody pressed Stop."""


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


def run_batch(
    engine: Engine,
    uploads: Sequence[Path],
    folder: Path,
    task: str,
    weights: str,
    options: Options,
    *,
    most_bytes: int,
    damage: Sequence[Path] = (),
    aligned: bool = False,
    on_progress: OnProgress = lambda done, text: None,
) -> Batch:
    """Do a task to uploaded photographs, and zip the results with a report; folder: where the zip is written.

    Photographs that cannot be read do not stop the others. A stop keeps what is finished. damage: for inpainting, masks
    called as their photographs, or a zip of them. GpenError where nothing could be done at all.
    """
    on_progress(0, "unpacking")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        photographs, results, masks = (Path(scratch) / name for name in ("photographs", "results", "masks"))
        for place in (photographs, results, masks):
            place.mkdir()
        gather(uploads, photographs, most_bytes)
        if damage:
            gather(damage, masks, most_bytes)
        with named(photographs, masks):
            jobs, _ = plan([str(photographs)], results)
        if not jobs:
            raise PhotoError(
                "There is no picture in what was dropped; files whose names begin with a dot do not count."
            )
        restorer = _restorer(engine, task, weights, options, masks if damage else None, aligned)
        entries, stopped = _run(restorer, engine, jobs, on_progress)
        report = [_as_json(entry, photographs, results, masks) for entry in entries]
        statuses = Counter(entry.status for entry in entries)
        if not statuses[DONE] + statuses[UNCHANGED]:
            if stopped:
                raise GpenError("It was stopped before the first photograph was finished.")
            raise PhotoError(f"None of {count(len(jobs), 'photograph')} could be used. {report[0]['message']}")
        on_progress(1, "packing")
        path = folder / f"gpen_{DONE_BY[task]}.zip"
        _pack(path, results, report)
    return Batch(path, _summary(len(jobs), statuses, DONE_BY[task], stopped))


def _restorer(engine: Engine, task: str, weights: str, options: Options, masks: Path | None, aligned: bool) -> Restorer:
    model = engine.model(weights, options.precision, task)
    whole = task == "segmentation" or (aligned and task != "restore")
    detector = None if whole or "detector" not in OPTIONS_OF[task] else engine.detector(options.detector)
    parser = None if whole else engine.parser(options, task)
    damage = None if masks is None else DamageMasks(masks, options.max_megapixels)
    return Restorer(model, detector, options, parser, Extras(), damage=damage, guard=engine.guard(options, task))


def _run(restorer: Restorer, engine: Engine, jobs: Sequence[Job], on_progress: OnProgress) -> tuple[list[Entry], bool]:
    """What became of the photographs, and whether it was stopped before all were done."""
    entries: list[Entry] = []
    started = 0

    def show(part: float, text: str) -> None:
        if on_progress(min((started - 1 + part) / len(jobs), 1), text) is False:
            raise _StoppedError

    def starts(job: Job) -> Callable[[int, int, RestoredFace | None], None]:
        nonlocal started
        started += 1
        text = f"{started} of {count(len(jobs), 'photograph')}, {job.photograph.name}"
        show(0, text)
        return lambda done, total, face: show(done / total if total else 1, text)

    try:
        Overlap(restorer, worker_count(engine.device.type, os.cpu_count() or 1)).run(jobs, starts, entries.append)
    except _StoppedError:
        return entries, len(entries) < len(jobs)
    return entries, False


def _summary(photographs: int, statuses: Counter[str], done: str, stopped: bool) -> str:
    words = {DONE: done, UNCHANGED: UNCHANGED, FAILED: FAILED}
    counts = ", ".join(f"{statuses[status]} {word}" for status, word in words.items() if statuses[status])
    text = f"{count(photographs, 'photograph')}: {counts}."
    if stopped:
        text += " Stopped: the others are not in the zip."
    return f"{text} {REPORT} in the zip says what became of each." if statuses[FAILED] else text


def _as_json(entry: Entry, photographs: Path, results: Path, masks: Path) -> dict[str, Any]:
    """An entry of the report, with paths as they are in the zip."""
    content = entry.as_json()
    content["path"] = entry.job.photograph.name
    content["output"] = entry.job.target.relative_to(results).as_posix()
    for place in (photographs, results, masks):
        content["message"] = content["message"].replace(f"{place}{os.sep}", "").replace(str(place), "what was dropped")
    return content


def _pack(path: Path, results: Path, report: Sequence[dict[str, Any]]) -> None:
    """Zip the results. Pictures are compressed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for result in sorted(results.rglob("*")):
            if result.is_file():
                file.write(result, result.relative_to(results).as_posix())
        file.writestr(zipfile.ZipInfo(REPORT, _DATE), json.dumps(report, indent=2) + "\n")


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
    # As in a folder: hidden files are no photographs, nor what macOS adds to each.
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

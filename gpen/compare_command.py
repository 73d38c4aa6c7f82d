"""What `gpen compare` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .compare import Comparison, compare
from .device import pick_device
from .errors import PhotoError
from .face_models import load_face_model
from .faces.detect import FaceDetector, make_detector
from .faces.face import Face
from .faces.faces_file import FacesFromFile
from .faces.parsing import make_parser
from .faces.select import parse_numbers
from .files.atomic import atomic_path
from .files.folders import find_network, search_folders
from .images import read_picture, write_picture
from .images.picture import from_samples
from .jobs import make_folder
from .options import Options
from .wording import count


def compare_models(
    photograph: Path,
    output: Path,
    options: Options,
    *,
    model: str | None,
    others: Sequence[str],
    faces: Path | None,
    table: Path | None,
    overwrite: bool,
    cell: int,
    folders: Sequence[Path],
    device: str,
) -> int:
    """Write the sheet of a photograph's faces, and print how long each model took; 0.

    Raises GpenError for everything that is wrong, before any network runs and any file is written.
    """
    parse_numbers(options.only_faces)
    _check_result(output, ".png", "sheet", overwrite, [photograph, faces])
    if table is not None:
        _check_result(table, ".json", "table", overwrite, [photograph, faces])
    picture = read_picture(photograph, options.max_megapixels)
    searched = search_folders(folders)
    files = [find_network(model, searched), *(find_network(other, searched) for other in others)]
    place = str(pick_device(device))
    found, source = _faces(photograph, (picture.width, picture.height), faces, options, folders, place)
    parser = make_parser(folders, place) if options.mask == "parsed" else None
    # Each file once, however often and in whatever way it was named.
    models = [load_face_model(file, place, options.precision) for file in {f.resolve(): f for f in files}.values()]
    for path in (output, *([table] if table is not None else [])):
        make_folder(path.parent)
    with tqdm(disable=None, leave=False, unit="face") as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.n = done
            bar.set_description_str(models[min(done * len(models) // total, len(models) - 1)].title)

        result = compare(picture.photo, models, found, options, cell=cell, parser=parser, on_progress=on_progress)
    write_picture(output, from_samples(result.sheet(photograph.name)))
    if table is not None:
        _write_table(table, photograph, place, result)
    print(f"{count(len(result.faces), 'face')} of {photograph}, from {source}, on {place}.")
    _print_table(result)
    print(f"The sheet is in {output}.")
    return 0


def _faces(
    photograph: Path, size: tuple[int, int], file: Path | None, options: Options, folders: Sequence[Path], device: str
) -> tuple[FaceDetector | list[Face], str]:
    """The faces that were given, or what finds them, and what that is called."""
    if file is not None:
        return FacesFromFile(file).faces_for(photograph, *size), str(file)
    detector = make_detector(options.detector, folders, device)
    return detector, detector.name


def _check_result(path: Path, suffix: str, what: str, overwrite: bool, others: Sequence[Path | None]) -> None:
    if path.suffix.lower() != suffix:
        raise PhotoError(f"The {what} is written as {suffix}; {path} ends otherwise. Change its ending.")
    for other in others:
        if other is not None and path.resolve() == other.resolve():
            raise PhotoError(f"The {what} would replace {other}. Give another file.")
    if path.is_dir():
        raise PhotoError(f"{path} is a folder. Give the {what} another name.")
    if path.exists() and not overwrite:
        raise PhotoError(f"{path} is there already; --overwrite replaces it.")


def _write_table(path: Path, photograph: Path, device: str, result: Comparison) -> None:
    content: dict[str, Any] = {
        "photo": str(photograph),
        "device": device,
        "faces": [number for number, _ in result.faces],
        "models": [
            {
                "model": column.title,
                "file": column.file,
                "in_size": column.in_size,
                "out_size": column.out_size,
                "template": column.template,
                "numbers": column.dtype,
                "seconds_per_face": round(column.seconds_per_face, 4),
                "seconds": [round(seconds, 4) for seconds in column.seconds],
            }
            for column in result.columns
        ],
    }
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PhotoError(f"The table {path} cannot be written: {error.strerror or error}.") from error


def _print_table(result: Comparison) -> None:
    rows = [("model", "file", "size", "template", "numbers", "seconds per face")]
    for column in result.columns:
        size = f"{column.in_size} to {column.out_size}"
        seconds = f"{column.seconds_per_face:.3f}"
        rows.append((column.title, column.file, size, column.template, column.dtype, seconds))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

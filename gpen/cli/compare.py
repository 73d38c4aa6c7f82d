"""`gpen compare`: the same faces restored by several models, as a sheet and a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..atomic import make_folder, write_json
from ..batch.plan import Problem
from ..compare.comparison import CELL, Comparison, compare
from ..compare.models import load_face_model
from ..device import pick_device
from ..errors import PhotoError, SalvageableError
from ..faces.detection.detector import make_detector
from ..faces.faces_file import FacesFromFile
from ..faces.source import FaceSource
from ..images import Picture, read_picture, write_picture
from ..images.picture import from_samples
from ..options import Options, parse_face_numbers
from ..restoration.api import face_source
from ..restoration.components import ComponentLoader
from ..restoration.processors import with_mask_chosen
from ..tasks import RESTORE
from ..weights.search import find_network, search_folders
from ..wording import count
from .arguments import options_from
from .outputs import check_output_file
from .progress import SALVAGE, print_problems


def run(arguments: argparse.Namespace) -> int:
    """Write the sheet of a photo's faces, and print how long each model took; returns 0.

    GpenError for anything wrong with the arguments, before a network runs or a file is written.
    """
    options = options_from(arguments)
    parse_face_numbers(options.only_faces)
    photo, output, table, folders = arguments.photo, arguments.output, arguments.json, arguments.models_path
    given, overwrite = [photo, arguments.faces], arguments.overwrite
    check_output_file(output, "sheet", suffix=".png", given=given, overwrite=overwrite)
    if table is not None:
        check_output_file(table, "table", suffix=".json", given=given, overwrite=overwrite)
    try:
        picture = read_picture(photo, options.max_megapixels, salvage=arguments.salvage)
    except SalvageableError as error:
        raise PhotoError(f"{error} {SALVAGE}") from error
    if picture.salvaged:
        print_problems([Problem(str(photo), picture.salvaged, is_notice=True)])
    searched = search_folders(folders)
    files = [find_network(arguments.model, searched), *(find_network(other, searched) for other in arguments.others)]
    device = str(pick_device(arguments.device))
    source, source_name = _faces(arguments, picture, options, device)
    parser = ComponentLoader(folders, device).parser(options.mask)
    options = with_mask_chosen(options, has_parser=parser is not None)
    # Each file once, even if it is given twice under different names.
    models = [load_face_model(file, device, options.precision) for file in {f.resolve(): f for f in files}.values()]
    for path in (output, *([table] if table is not None else [])):
        make_folder(path.parent)
    with tqdm(disable=None, leave=False, unit="face") as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.n = done
            bar.set_description_str(models[min(done * len(models) // total, len(models) - 1)].title)

        result = compare(
            picture.photo,
            models,
            source,
            options,
            cell=arguments.cell or CELL,
            parser=parser,
            device=device,
            on_progress=on_progress,
        )
    write_picture(output, from_samples(result.sheet(photo.name)))
    if table is not None:
        _write_table(table, photo, device, result)
    print(f"{count(len(result.faces), 'face')} of {photo}, from {source_name}, {options.mask} mask, on {device}.")
    _print_table(result)
    print(f"The sheet is in {output}.")
    return 0


def _faces(arguments: argparse.Namespace, picture: Picture, options: Options, device: str) -> tuple[FaceSource, str]:
    """The source of the faces, and its name."""
    if arguments.faces is not None:
        faces = FacesFromFile(arguments.faces).faces_for(arguments.photo, picture.width, picture.height)
        return face_source(RESTORE, options, faces), str(arguments.faces)
    detector = make_detector(options.detector, arguments.models_path, device)
    return face_source(RESTORE, options, detector), detector.name


def _write_table(path: Path, photo: Path, device: str, result: Comparison) -> None:
    content: dict[str, Any] = {
        "photo": str(photo),
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
    write_json(path, content, "The table")


def _print_table(result: Comparison) -> None:
    rows = [("model", "file", "size", "template", "dtype", "seconds per face")]
    for column in result.columns:
        size = f"{column.in_size} to {column.out_size}"
        seconds = f"{column.seconds_per_face:.3f}"
        rows.append((column.title, column.file, size, column.template, column.dtype, seconds))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

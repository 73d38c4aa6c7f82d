"""The commands and their arguments. Nothing heavy is imported here: ``gpen --help`` answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..options import COMPARE_OPTIONS, PRESETS
from ..tasks import TASKS, Task
from .arguments import (
    add_aligned,
    add_background,
    add_engine,
    add_options,
    add_places,
    at_least_one,
    port,
    quality,
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of ``gpen``. The namespace's ``module`` names the module of the command in this package."""
    parser = argparse.ArgumentParser(
        prog="gpen", description="Restores faces in photos with GPEN, up to 2048 x 2048 per face."
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print more about what is being done")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for task in TASKS.values():
        _add_task(commands, task)
    _add_compare(commands)
    _add_detect(commands)
    _add_convert(commands)
    _add_inspect(commands)
    _add_models(commands)
    _add_download(commands)
    _add_app(commands)
    return parser


def _add_task(commands: Any, task: Task) -> None:
    """The command of a task, with the arguments that its row asks for."""
    parser = _command(commands, task.name, task.help, "task")
    # What only some of these commands have arguments for.
    parser.set_defaults(
        task=task.name, faces=None, region=None, background_model=None, damage=None, aligned=False, preset=None
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help=f"{task.inputs}, folders or patterns such as *.jpg")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="folder for the results, or a file for one",
    )
    parser.add_argument("--model", metavar="FILE|NAME", help="model file or name (default: the best one on disk)")
    if task.looks_for_faces:
        parser.add_argument("--faces", type=Path, metavar="FILE", help="take the faces from what gpen detect wrote")
        parser.add_argument(
            "--region",
            type=Path,
            metavar="FILE",
            help=f"{task.name} only faces in the white of this picture, of equal size",
        )
    if task.needs_damage_mask:
        parser.add_argument(
            "--damage",
            required=True,
            type=Path,
            metavar="FILE|DIR",
            help="picture of equal size, white where the photo is damaged; or a folder with one for each photo, of the "
            "same name",
        )
    if task.accepts_aligned:
        add_aligned(parser)
    if task.accepts_background:
        add_background(parser)
    for name, preset in PRESETS.items():
        if preset.task is task:
            parser.add_argument(f"--{name}", dest="preset", action="store_const", const=name, help=preset.help)
    parser.add_argument("--compare", action="store_true", help="also write before and after side by side")
    parser.add_argument("--save-faces", action="store_true", help="also write each face before and after")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what became of each photo as JSON")
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing results")
    parser.add_argument("--quality", type=quality, metavar="N", help="JPEG/WebP quality, 1 to 100 (default: 95)")
    add_places(parser)
    add_engine(parser)
    add_options(parser, task.options)


def _add_compare(commands: Any) -> None:
    parser = _command(commands, "compare", "put the same faces through several models", "compare")
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a photo with faces")
    parser.add_argument(
        "--with",
        required=True,
        action="append",
        dest="others",
        metavar="FILE|NAME",
        help="model to compare with: GFPGAN, RestoreFormer, CodeFormer or another GPEN; may be given several times",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="SHEET.png",
        help="a row for each face, a column for each model",
    )
    parser.add_argument("--model", metavar="FILE|NAME", help="GPEN of the first column (default: the best one on disk)")
    parser.add_argument("--faces", type=Path, metavar="FILE", help="take the faces from what gpen detect wrote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write models and seconds per face")
    parser.add_argument("--cell", type=at_least_one, metavar="N", help="pixels of each face's square (default: 384)")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing sheet and table")
    add_places(parser)
    add_options(parser, COMPARE_OPTIONS)


def _add_detect(commands: Any) -> None:
    parser = _command(commands, "detect", "find the faces of photos", "detect")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="photos, folders or patterns such as *.jpg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the faces, to correct and to restore")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file of faces")
    parser.add_argument("--draw", action="store_true", help="write each photo with its faces numbered")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder for --draw (default: this one)",
    )
    add_places(parser)
    add_options(parser, ["detector", "detection_threshold", "max_megapixels"])


def _add_convert(commands: Any) -> None:
    parser = _command(commands, "convert", "convert model files and ONNX graphs to .safetensors", "convert")
    parser.add_argument("path", type=Path, help="a model file, an ONNX file, or a folder of them")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="file or folder (default: beside the file)")
    parser.add_argument("--half", action="store_true", help="write float16, half as large")
    parser.add_argument(
        "--task",
        choices=[name for task in TASKS.values() for name in (task.name, *task.aliases)],
        metavar=f"{{{','.join(TASKS)}}}",
        help="what the model is for, to be written into the file (default: what its name or the file itself says)",
    )
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing files")


def _add_inspect(commands: Any) -> None:
    parser = _command(commands, "inspect", "say what a model file is", "inspect")
    parser.add_argument("path", type=Path, metavar="FILE", help="a model file")


def _add_models(commands: Any) -> None:
    parser = _command(commands, "models", "list published models and those on disk", "models")
    add_places(parser, device=False)


def _add_download(commands: Any) -> None:
    parser = _command(commands, "download", "download a published model", "download")
    parser.add_argument("name", metavar="NAME", help="as gpen models lists it")
    parser.add_argument("--accept-licence", action="store_true", help="accept the licence without being asked")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder (default: the first searched one)")
    add_places(parser, device=False)


def _add_app(commands: Any) -> None:
    parser = _command(commands, "app", "open the app in your browser, on this computer only", "app")
    parser.add_argument("--port", type=port, metavar="N", help="port (default: the first free one from 7860 on)")
    parser.add_argument(
        "--max-upload-mb",
        type=at_least_one,
        default=100,
        metavar="N",
        help="refuse larger files (default: 100)",
    )
    add_places(parser)
    add_options(parser, ["max_megapixels"])


def _command(commands: Any, name: str, help: str, module: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help.capitalize()}.")
    parser.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(module=module)
    return parser

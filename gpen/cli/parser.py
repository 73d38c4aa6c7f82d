"""The commands and their arguments. Imports nothing heavy, so that ``gpen --help`` is fast."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..options import COMPARE_OPTIONS, PRESETS
from ..tasks import TASKS, Task
from .arguments import (
    add_aligned,
    add_background,
    add_device,
    add_engine,
    add_film,
    add_models_path,
    add_options,
    add_provenance,
    add_salvage,
    add_sign,
    at_least_one,
    host_name,
    ip_address,
    port,
    quality,
)
from .command_parser import HELP_ALL, CommandParser, FullCommandParser
from .completion import SHELLS, complete_with, published_names


def make_parser(*, full: bool = False) -> CommandParser:
    """Make the parser of ``gpen``; ``module`` in its namespace names the command's module in this package.

    full: whether the help of commands shows the flags that few people need.
    """
    parser = (FullCommandParser if full else CommandParser)(
        prog="gpen",
        description="Restores faces in photos with GPEN, up to 2048 x 2048 per face.",
        epilog="gpen PHOTO is short for gpen restore PHOTO. gpen COMMAND --help shows the options of a command.",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print more details")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for task in TASKS.values():
        _add_task(commands, task)
    _add_compare(commands)
    _add_detect(commands)
    _add_convert(commands)
    _add_inspect(commands)
    _add_models(commands)
    _add_download(commands)
    _add_app(commands)
    _add_doctor(commands)
    _add_completion(commands)
    parser.commands = commands.choices
    return parser


def _add_task(commands: Any, task: Task) -> None:
    """The command of a task, with the flags that its row calls for."""
    parser = _command(commands, task.name, task.help, "task")
    parser.usage = f"gpen {task.name} PATH [PATH ...] [-o OUT] [options]"
    # Defaults for flags that only some tasks have.
    parser.set_defaults(task=task.name, aligned=False, people=[])
    parser.set_defaults(**dict.fromkeys(("faces", "region", "background_model", "damage", "protect", "preset")))
    films = ", films" if task.accepts_films else ""
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help=f"{task.inputs}{films}, folders or patterns such as *.jpg"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help=f"output folder, or the file of a single result (default: beside the photo, as PHOTO_{task.done}; for a "
        f"folder, beside it, as FOLDER_{task.done})",
    )
    auto = "; auto: for each face the one of its size, of those on disk" if task.networks_by_size else ""
    model = parser.add_argument(
        "--model",
        metavar="FILE|NAME",
        help=f"model file or name{auto} (default: the one on disk that suits most faces)",
    )
    complete_with(model, lambda: (*task.networks, *(["auto"] if task.networks_by_size else [])))
    if task.looks_for_faces:
        parser.add_argument(
            "--faces",
            type=Path,
            metavar="FILE",
            help=parser.rare("faces file, as gpen detect --json writes it; no faces are detected"),
        )
        parser.add_argument(
            "--region",
            type=Path,
            metavar="FILE",
            help=parser.rare(
                f"{task.name} only faces whose centre lies in the white of this picture, as large as the photo"
            ),
        )
        parser.add_argument(
            "--person",
            type=Path,
            action="append",
            dest="people",
            default=[],
            metavar="FILE",
            help=f"{task.name} only faces of the person in this photo, where several are shown of the one with the "
            "largest face; may be given several times. Needs a face recogniser: gpen download arcface, or sface",
        )
    if task.needs_damage_mask:
        parser.add_argument(
            "--damage",
            required=True,
            type=Path,
            metavar="FILE|DIR",
            help="picture of the photo's size, white where the photo is damaged; or a folder with one per photo, of "
            "the same name",
        )
    if task.keeps_photo:
        parser.add_argument(
            "--protect",
            type=Path,
            metavar="FILE|DIR",
            help="picture of the photo's size, white where nothing may change, such as a hand or glasses in front of a "
            "face; or a folder with one per photo, of the same name: a photo without one fails, a black one protects "
            "nothing",
        )
    if task.accepts_aligned:
        add_aligned(parser)
    if task.accepts_background:
        add_background(parser)
    for name, preset in PRESETS.items():
        if preset.task is task:
            parser.add_argument(f"--{name}", dest="preset", action="store_const", const=name, help=preset.help)
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also write before and after side by side, with close-ups of a group's faces",
    )
    parser.add_argument("--save-faces", action="store_true", help="also write each face before and after")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the outcome for each photo as JSON")
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing results")
    parser.add_argument("--quality", type=quality, metavar="N", help="JPEG/WebP quality, 1 to 100 (default: 95)")
    add_provenance(parser)
    add_sign(parser)
    add_models_path(parser)
    add_device(parser)
    add_engine(parser)
    add_salvage(parser)
    if task.accepts_films:
        add_film(parser)
    add_options(parser, task.options)


def _add_compare(commands: Any) -> None:
    parser = _command(commands, "compare", "compare the results of several models", "compare")
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
        help="picture with a row per face and a column per model",
    )
    parser.add_argument(
        "--model", metavar="FILE|NAME", help="model of the first column (default: the best one on disk)"
    )
    parser.add_argument(
        "--faces", type=Path, metavar="FILE", help="faces file, as gpen detect --json writes it; no faces are detected"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the models and their seconds per face as JSON")
    parser.add_argument("--cell", type=at_least_one, metavar="N", help="size of each face in pixels (default: 384)")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing sheet and table")
    add_models_path(parser)
    add_device(parser)
    add_salvage(parser)
    add_options(parser, COMPARE_OPTIONS)


def _add_detect(commands: Any) -> None:
    parser = _command(commands, "detect", "detect the faces of photos and films", "detect")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="photos, films, folders or patterns such as *.jpg")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the faces to this file, for editing or for --faces"
    )
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing faces file and drawings")
    parser.add_argument("--draw", action="store_true", help="write each photo with its faces numbered")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="output folder for --draw (default: the current one)",
    )
    add_models_path(parser)
    add_device(parser)
    add_salvage(parser)
    add_options(parser, ["detector", "detection_threshold", "max_megapixels"])


def _add_convert(commands: Any) -> None:
    parser = _command(commands, "convert", "convert model files and ONNX graphs to .safetensors", "convert")
    parser.add_argument("path", type=Path, help="a model file, an ONNX file, or a folder of them")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="file or folder (default: beside the input)")
    parser.add_argument("--half", action="store_true", help="write float16, which halves the file size")
    parser.add_argument(
        "--task",
        choices=[name for task in TASKS.values() for name in (task.name, *task.aliases)],
        metavar=f"{{{','.join(TASKS)}}}",
        help="the task of the model, to be saved in the file (default: taken from the file or its name)",
    )
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing files")


def _add_inspect(commands: Any) -> None:
    parser = _command(commands, "inspect", "describe a model file", "inspect")
    parser.add_argument("path", type=Path, metavar="FILE", help="a model file")


def _add_models(commands: Any) -> None:
    parser = _command(commands, "models", "list published models and those on disk", "models")
    add_models_path(parser)


def _add_download(commands: Any) -> None:
    parser = _command(commands, "download", "download a published model", "download")
    name = parser.add_argument("name", metavar="NAME", help="name as in the list of gpen models")
    complete_with(name, published_names)
    parser.add_argument("--accept-licence", action="store_true", help="accept the licence without being asked")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="output folder (default: the first one searched)"
    )
    add_models_path(parser)


def _add_app(commands: Any) -> None:
    parser = _command(commands, "app", "open the app in your browser", "app")
    parser.add_argument("--port", type=port, metavar="N", help="port (default: the first free one from 7860 on)")
    parser.add_argument(
        "--max-upload-mb",
        type=at_least_one,
        default=100,
        metavar="N",
        help="largest upload in megabytes; a film may have 20 times as much (default: 100)",
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="do not open the page in the browser"
    )
    parser.add_argument(
        "--listen",
        type=ip_address,
        nargs="?",
        const="0.0.0.0",
        metavar="ADDRESS",
        help="let other computers open the page, with a password: that of --password-file or $GPEN_APP_PASSWORD, or "
        "else one that is printed; not encrypted. ADDRESS: the one of this computer to listen on (default: all)",
    )
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password in one line")
    parser.add_argument(
        "--allow-host",
        type=host_name,
        action="append",
        default=[],
        metavar="NAME",
        help=parser.rare("a further host name of the page, such as that of a proxy in front of it; may be repeated"),
    )
    add_models_path(parser)
    add_device(parser)
    add_provenance(parser)
    add_options(parser, ["max_megapixels"])


def _add_doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", "check whether everything works, for yourself or for an issue", "doctor")
    parser.add_argument("--paths", action="store_true", help="show the folders that are searched")
    add_models_path(parser)
    add_device(parser)


def _add_completion(commands: Any) -> None:
    help = "print what a shell needs to complete commands and options with the Tab key"
    parser = _command(commands, "completion", help, "completion")
    parser.add_argument("shell", choices=SHELLS, help='the shell; in bash: eval "$(gpen completion bash)"')


def _command(commands: Any, name: str, help: str, module: str) -> CommandParser:
    parser: CommandParser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    if not parser.is_full:
        # Only for the help: main() makes another parser for it.
        parser.add_argument(HELP_ALL, action="help", help="show all options")
    parser.set_defaults(module=module)
    return parser

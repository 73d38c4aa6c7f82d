"""The command line: what the arguments are, and which function each command calls."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from .errors import GpenError, OptionError
from .files.catalog import TASKS
from .options import OPTIONS, OPTIONS_OF, OPTIONS_OF_COMPARISON, PRESETS, Options, preset_values

Command = Callable[[argparse.Namespace], int]

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``gpen`` with these arguments (those of the process by default) and return its exit code.

    0: all went well. 1: something failed, which was said. 2: the arguments are wrong. 130: interrupted.
    """
    _print_anything()
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="gpen: %(message)s")
    command: Command = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except OptionError as error:
        print(f"gpen: {error}", file=sys.stderr)
        return MISUSED
    except GpenError as error:
        print(f"gpen: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Whoever reads our output has seen enough, as in: gpen models | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("gpen: stopped; what is finished stays.", file=sys.stderr)
        return INTERRUPTED


def options_from(arguments: argparse.Namespace) -> Options:
    """The product's options among the arguments. Raises OptionError on a bad value."""
    given = {name: getattr(arguments, name) for name in OPTIONS if hasattr(arguments, name)}
    preset = getattr(arguments, "preset", None)
    return Options(**(given if preset is None else preset_values(preset, given)))


def _print_anything() -> None:
    """Print what the terminal's encoding lacks, such as a file's name that is no text, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpen", description="Restores faces in photographs with GPEN, up to 2048 x 2048 per face."
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more about what is done")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_restore(commands)
    _add_colorize(commands)
    _add_inpaint(commands)
    _add_synthesize(commands)
    _add_compare(commands)
    _add_detect(commands)
    _add_convert(commands)
    _add_inspect(commands)
    _add_models(commands)
    _add_download(commands)
    _add_app(commands)
    return parser


def _add_restore(commands: Any) -> None:
    parser = _photo_command(commands, "restore", "restore the faces of photographs", "restore")
    add_background(parser)
    for name, preset in PRESETS.items():
        parser.add_argument(f"--{name}", dest="preset", action="store_const", const=name, help=preset.help)


def _add_colorize(commands: Any) -> None:
    parser = _photo_command(commands, "colorize", "colour the faces of grey photographs", "colorize")
    add_aligned(parser)
    add_background(parser)


def _add_inpaint(commands: Any) -> None:
    parser = _photo_command(commands, "inpaint", "fill in damage in the faces of photographs", "inpaint")
    parser.add_argument(
        "--damage",
        required=True,
        type=Path,
        metavar="FILE|DIR",
        help="picture of equal size, white where the photograph is damaged; or a folder with one for each photograph, "
        "of the same name",
    )
    add_aligned(parser)


def _add_synthesize(commands: Any) -> None:
    _photo_command(commands, "synthesize", "make faces of segmentation maps", "segmentation", what="segmentation maps")


def _photo_command(
    commands: Any, name: str, help: str, task: str, *, what: str = "photographs"
) -> argparse.ArgumentParser:
    """A command that does a task to pictures, with the arguments that all of these have."""
    parser = _command(commands, name, help, _do_task)
    # What only some of these commands have arguments for.
    parser.set_defaults(
        task=task, faces=None, region=None, background_model=None, damage=None, aligned=False, preset=None
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help=f"{what}, folders or patterns such as *.jpg")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="folder for the results, or a file for one",
    )
    parser.add_argument("--model", metavar="FILE|NAME", help="weight file or name (default: the best one on disk)")
    if "detector" in OPTIONS_OF[task]:
        parser.add_argument("--faces", type=Path, metavar="FILE", help="take the faces from what gpen detect wrote")
        parser.add_argument(
            "--region", type=Path, metavar="FILE", help=f"{name} only faces in the white of this picture, of equal size"
        )
    parser.add_argument("--compare", action="store_true", help="also write before and after side by side")
    parser.add_argument("--save-faces", action="store_true", help="also write each face before and after")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what became of each picture as JSON")
    parser.add_argument("--overwrite", action="store_true", help="make also what is there already")
    parser.add_argument("--quality", type=quality, metavar="N", help="of JPEG and WebP files, 1 to 100 (default: 95)")
    add_places(parser)
    add_engine(parser)
    add_options(parser, OPTIONS_OF[task])
    return parser


def _add_compare(commands: Any) -> None:
    parser = _command(commands, "compare", "put the same faces through several networks", _compare)
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a photograph with faces")
    parser.add_argument(
        "--with",
        required=True,
        action="append",
        dest="others",
        metavar="FILE|NAME",
        help="network to compare with: GFPGAN, RestoreFormer, CodeFormer or another GPEN; may be given several times",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="SHEET.png",
        help="a row for each face, a column for each network",
    )
    parser.add_argument("--model", metavar="FILE|NAME", help="GPEN of the first column (default: the best one on disk)")
    parser.add_argument("--faces", type=Path, metavar="FILE", help="take the faces from what gpen detect wrote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write networks and seconds per face")
    parser.add_argument("--cell", type=at_least_one, metavar="N", help="pixels of each face's square (default: 384)")
    parser.add_argument("--overwrite", action="store_true", help="replace sheet and table if they are there")
    add_places(parser)
    add_options(parser, OPTIONS_OF_COMPARISON)


def _add_detect(commands: Any) -> None:
    parser = _command(commands, "detect", "find the faces of photographs", _detect)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="photographs, folders or patterns such as *.jpg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the faces, to correct and to restore")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --json if it is there")
    parser.add_argument("--draw", action="store_true", help="write each photograph with its faces numbered")
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
    parser = _command(commands, "convert", "convert weight files and ONNX graphs to .safetensors", _convert)
    parser.add_argument("path", type=Path, help="a weight file, an ONNX file, or a folder of them")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="file or folder (default: beside the file)")
    parser.add_argument("--half", action="store_true", help="write float16, half as large")
    parser.add_argument(
        "--task",
        choices=TASKS,
        help="what the network is for, to be written into the file (default: what its name or the file itself tells)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _add_inspect(commands: Any) -> None:
    parser = _command(commands, "inspect", "say what a weight file is", _inspect)
    parser.add_argument("path", type=Path, metavar="FILE", help="a weight file")


def _add_models(commands: Any) -> None:
    parser = _command(commands, "models", "list what is published and what is on disk", _models)
    add_places(parser, device=False)


def _add_download(commands: Any) -> None:
    parser = _command(commands, "download", "download a published file", _download)
    parser.add_argument("name", metavar="NAME", help="as gpen models lists it")
    parser.add_argument("--accept-licence", action="store_true", help="do not ask whether the licence is accepted")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder (default: the first searched one)")
    add_places(parser, device=False)


def _add_app(commands: Any) -> None:
    parser = _command(commands, "app", "serve a page in which all of this can be done, on this computer only", _app)
    parser.add_argument("--port", type=port, metavar="N", help="port (default: the first free one from 7860 on)")
    parser.add_argument(
        "--max-upload-mb",
        type=at_least_one,
        default=100,
        metavar="N",
        help="files with more megabytes are refused (default: 100)",
    )
    add_places(parser)
    add_options(parser, ["max_megapixels"])


def _command(commands: Any, name: str, help: str, run: Command) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help.capitalize()}.")
    parser.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(command=run)
    return parser


# Commands import what they need when they run: gpen --help needs neither PyTorch nor OpenCV.


def _do_task(arguments: argparse.Namespace) -> int:
    options = options_from(arguments)
    of_cluster = {"--workers": arguments.workers, "--cpus-per-worker": arguments.cpus_per_worker}
    for flag, value in of_cluster.items():
        if value is not None and arguments.engine != "ray":
            raise OptionError(f"{flag} is for --engine ray only.")
    if arguments.aligned and (arguments.faces or arguments.region):
        raise OptionError("With --aligned all of a picture is the face: leave --faces and --region out.")
    if arguments.aligned and options.video:
        raise OptionError("With --aligned all of a picture is the face, which need not be followed: leave --video out.")
    from .batch import Extras
    from .photo_commands import Cluster, restore

    return restore(
        arguments.paths,
        arguments.output,
        options,
        model=arguments.model or (PRESETS[arguments.preset].model if arguments.preset else None),
        faces=arguments.faces,
        region=arguments.region,
        report=arguments.report,
        extras=Extras(arguments.compare, arguments.save_faces, arguments.overwrite, arguments.quality),
        folders=arguments.models_path,
        device=arguments.device,
        cluster=Cluster(*of_cluster.values()) if arguments.engine == "ray" else None,
        background=arguments.background_model,
        task=arguments.task,
        damage=arguments.damage,
        aligned=arguments.aligned,
    )


def _compare(arguments: argparse.Namespace) -> int:
    options = options_from(arguments)
    from .compare import CELL
    from .compare_command import compare_models

    return compare_models(
        arguments.photo,
        arguments.output,
        options,
        model=arguments.model,
        others=arguments.others,
        faces=arguments.faces,
        table=arguments.json,
        overwrite=arguments.overwrite,
        cell=arguments.cell or CELL,
        folders=arguments.models_path,
        device=arguments.device,
    )


def _detect(arguments: argparse.Namespace) -> int:
    options = options_from(arguments)
    from .photo_commands import detect

    return detect(
        arguments.paths,
        options,
        json=arguments.json,
        overwrite=arguments.overwrite,
        draw=arguments.draw,
        output=arguments.output,
        folders=arguments.models_path,
        device=arguments.device,
    )


def _convert(arguments: argparse.Namespace) -> int:
    from .weight_commands import convert

    return convert(
        arguments.path,
        output=arguments.output,
        half=arguments.half,
        overwrite=arguments.overwrite,
        task=arguments.task,
    )


def _inspect(arguments: argparse.Namespace) -> int:
    from .weight_commands import inspect

    return inspect(arguments.path)


def _models(arguments: argparse.Namespace) -> int:
    from .weight_commands import models

    return models(arguments.models_path)


def _download(arguments: argparse.Namespace) -> int:
    from .weight_commands import download

    return download(
        arguments.name,
        accept_licence=arguments.accept_licence,
        output=arguments.output,
        folders=arguments.models_path,
    )


def _app(arguments: argparse.Namespace) -> int:
    options = options_from(arguments)
    from .app import serve

    return serve(
        port=arguments.port,
        folders=arguments.models_path,
        device=arguments.device,
        max_upload_mb=arguments.max_upload_mb,
        max_megapixels=options.max_megapixels,
    )

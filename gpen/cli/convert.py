"""`gpen convert`: model files to .safetensors."""

from __future__ import annotations

import argparse
import sys

from ..errors import FilesError
from ..weights.convert import ConvertResult, convert, convert_folder


def run(arguments: argparse.Namespace) -> int:
    """Convert a model file, or all of a folder; returns 0 if nothing failed, else 1."""
    path, half, overwrite = arguments.path, arguments.half, arguments.overwrite
    if not path.is_dir():
        _print(convert(path, arguments.output, half=half, overwrite=overwrite, task=arguments.task))
        return 0
    if arguments.output is not None:
        raise FilesError("Files of a folder are written beside their sources: leave -o out, or convert a single file.")
    if arguments.task is not None:
        raise FilesError("The models in a folder may be for several tasks: leave --task out, or convert a single file.")
    result = convert_folder(path, half=half, overwrite=overwrite)
    if not (result.converted or result.skipped or result.failed):
        raise FilesError(
            f"There is nothing to convert in {path}: no .pth, .pt, .ckpt or .onnx file. Name the folder that holds the "
            "models; those below it are not looked into."
        )
    for converted in result.converted:
        _print(converted)
    for file, why in [*result.skipped, *result.failed]:
        print(f"gpen: {file} was not converted: {why}", file=sys.stderr)
    print(f"{len(result.converted)} converted, {len(result.skipped)} skipped, {len(result.failed)} failed.")
    return 1 if result.failed else 0


def _print(result: ConvertResult) -> None:
    print(
        f"{result.source} -> {result.target}\n"
        f"  {result.spec.title}, {result.tensors} tensors verified, {result.target_size:,} bytes"
    )
    if result.comparison is not None:
        print(f"  {result.comparison}")

"""What `gpen convert`, `gpen inspect`, `gpen models` and `gpen download` do."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .errors import FilesError
from .files.catalog import PUBLISHED, Published, find_published, published_by_file_name
from .files.fetch import fetch
from .files.folders import download_folder, find_file, list_networks, search_folders


def convert(path: Path, *, output: Path | None, half: bool, overwrite: bool, task: str | None = None) -> int:
    """Convert a weight file, or all in a folder; 0 when something was converted and nothing failed."""
    from .model.convert import ConvertResult, convert, convert_folder

    def say(result: ConvertResult) -> None:
        print(
            f"{result.source} -> {result.target}\n"
            f"  {result.spec.title}, {result.tensors} tensors verified, {result.target_size:,} bytes"
        )
        if result.comparison is not None:
            print(f"  {result.comparison}")

    if not path.is_dir():
        say(convert(path, output, half=half, overwrite=overwrite, task=task))
        return 0
    if output is not None:
        raise FilesError("A folder's files are converted beside themselves: leave -o out, or convert one file.")
    if task is not None:
        raise FilesError("--task is for one file; those of a folder may be for several tasks.")
    result = convert_folder(path, half=half, overwrite=overwrite)
    for converted in result.converted:
        say(converted)
    for file, why in [*result.skipped, *result.failed]:
        print(f"gpen: {file} was not converted: {why}", file=sys.stderr)
    print(f"{len(result.converted)} converted, {len(result.skipped)} skipped, {len(result.failed)} failed.")
    return 1 if result.failed else 0


def inspect(path: Path) -> int:
    """Print what a weight file is; CheckpointError when it is no GPEN network."""
    from .model.checkpoint import inspect

    info = inspect(path)
    spec = info.spec
    lines = {
        "file": f"{info.path} ({info.file_size:,} bytes)",
        "what": info.what,
        "task": f"{info.task}, values from {info.value_range[0]:g} to {info.value_range[1]:g}",
        "size": f"{spec.in_size} in, {spec.out_size} out",
        "channels": f"channel multiplier {spec.channel_multiplier:g}, narrow {spec.narrow:g}",
        "style": f"{spec.style_dim} numbers, {spec.n_mlp} mapping layers",
        "parameters": f"{info.parameters:,}",
        "numbers": ", ".join(info.dtypes),
        "container": info.container + (f", network under {info.wrapper}" if info.wrapper else ""),
        "sha256": info.sha256(),
    }
    for name, value in lines.items():
        print(f"{name:<11}{value}")
    for name, value in info.metadata.items():
        print(f"  {name} = {value}")
    return 0


def models(folders: Sequence[Path]) -> int:
    """Print the catalogue, what of it is on disk, and the other weight files there are."""
    for published in PUBLISHED:
        found = find_file(published, search_folders(folders, kind=published.kind))
        what = f"{published.kind}, {published.task}" if published.task else published.kind
        print(f"{published.name}  ({what})")
        print(f"    {found if found is not None else 'not on disk; gpen download ' + published.name}")
    networks = search_folders(folders)
    others = [path for path in list_networks(networks) if published_by_file_name(path.name) is None]
    if others:
        print("Other weight files:")
        for path in others:
            print(f"    {path}")
    print("Searched:")
    for folder in dict.fromkeys([*networks, *search_folders(folders, kind="detector")]):
        print(f"    {folder}{'' if folder.is_dir() else ' (does not exist)'}")
    print("Licences:")
    for licence in dict.fromkeys(published.licence for published in PUBLISHED):
        names = ", ".join(published.name for published in PUBLISHED if published.licence == licence)
        print(textwrap.fill(f"{names}: {licence}", 100, initial_indent="    ", subsequent_indent="    "))
    return 0


def download(name: str, *, accept_licence: bool, output: Path | None, folders: Sequence[Path]) -> int:
    """Download a published file once its licence is accepted; 1 when it is not."""
    published = find_published(name)
    searched = search_folders(folders, kind=published.kind)
    there = find_file(published, [output] if output is not None else searched)
    if there is not None:
        print(f"{published.name} is there already: {there}")
        return 0
    print(textwrap.fill(published.licence, 100))
    if not accept_licence and not _agreed():
        print("gpen: nothing was downloaded, since the licence was not accepted.", file=sys.stderr)
        return 1
    path = _fetch(published, output if output is not None else download_folder(searched))
    print(f"{published.name} is now in {path}")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("gpen: add --accept-licence to accept these terms without being asked.", file=sys.stderr)
        return False
    try:
        return input("Do you accept these terms? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _fetch(published: Published, folder: Path) -> Path:
    with tqdm(desc=published.saved_as, unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:

        def on_progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.n = done
            bar.refresh()

        return fetch(published, folder, on_progress=on_progress)

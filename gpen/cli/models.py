"""`gpen models`: lists published models and those on disk."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ..tasks import find_task
from ..weights.catalog import PUBLISHED, Published, published_by_file_name
from ..weights.search import find_file, list_networks, search_folders
from ..wording import megabytes

_PURPOSES = {
    "detector": "finds faces",
    "parser": "parsed mask",
    "recognizer": "identity guard, --person",
    "occluder": "--occlusion",
}
_HEADINGS = ("NAME", "WHAT IT DOES", "SIZE", "LICENCE", "WHERE IT IS")
_MISSING = "-"


def run(arguments: argparse.Namespace) -> int:
    """Print the catalogue, where its files are on disk, and other model files; returns 0."""
    folders = arguments.models_path
    _print_table([_HEADINGS, *(_row(published, folders) for published in PUBLISHED)])
    networks = search_folders(folders)
    others = [path for path in list_networks(networks) if published_by_file_name(path.name) is None]
    if others:
        print("Other model files:")
        for path in others:
            print(f"    {path}")
    print(f"{_MISSING}: not on this computer; gpen download NAME gets it.")
    print("Searched:")
    for folder in dict.fromkeys([*networks, *search_folders(folders, kind="detector")]):
        print(f"    {folder}{'' if folder.is_dir() else ' (does not exist)'}")
    print("Licences:")
    for licence in dict.fromkeys(published.licence for published in PUBLISHED):
        names = ", ".join(published.name for published in PUBLISHED if published.licence == licence)
        print(textwrap.fill(f"{names}: {licence}", 100, initial_indent="    ", subsequent_indent="    "))
    return 0


def _row(published: Published, folders: Sequence[Path]) -> tuple[str, ...]:
    found = find_file(published, search_folders(folders, kind=published.kind))
    size = found.stat().st_size if found is not None else published.about
    return (
        published.name,
        _PURPOSES[published.kind] if published.task is None else find_task(published.task).network_does,
        "" if size is None else megabytes(size),
        published.terms,
        _MISSING if found is None else str(found),
    )


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

"""`gpen download`: downloads a published file once its licence is accepted."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from tqdm import tqdm

from ..weights.catalog import Published, find_published
from ..weights.download import fetch
from ..weights.partial_download import tidy
from ..weights.search import download_folder, find_file, search_folders


def run(arguments: argparse.Namespace) -> int:
    """Download a published file; returns 0, or 1 if its licence was not accepted."""
    published, output = find_published(arguments.name), arguments.output
    searched = search_folders(arguments.models_path, kind=published.kind)
    existing = find_file(published, [output] if output is not None else searched)
    if existing is not None:
        tidy(existing.parent, published.saved_as)
        print(f"{published.name} already exists: {existing}")
        return 0
    print(textwrap.fill(published.licence, 100))
    if not arguments.accept_licence and not _is_accepted():
        print("gpen: The licence was not accepted; nothing was downloaded.", file=sys.stderr)
        return 1
    path = _fetch(published, output if output is not None else download_folder(searched))
    print(f"{published.name} is now in {path}")
    return 0


def _is_accepted() -> bool:
    if not sys.stdin.isatty():
        print("gpen: Add --accept-licence to accept these terms without being asked.", file=sys.stderr)
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

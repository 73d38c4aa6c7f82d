"""`gpen models`: lists published models and those on disk."""

from __future__ import annotations

import argparse
import textwrap

from ..weights.catalog import PUBLISHED, published_by_file_name
from ..weights.search import find_file, list_networks, search_folders


def run(arguments: argparse.Namespace) -> int:
    """Print the catalogue, where its files are on disk, and other model files; returns 0."""
    folders = arguments.models_path
    for published in PUBLISHED:
        found = find_file(published, search_folders(folders, kind=published.kind))
        what = f"{published.kind}, {published.task}" if published.task else published.kind
        print(f"{published.name}  ({what})")
        print(f"    {found if found is not None else 'not on disk; gpen download ' + published.name}")
    networks = search_folders(folders)
    others = [path for path in list_networks(networks) if published_by_file_name(path.name) is None]
    if others:
        print("Other model files:")
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

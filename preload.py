"""SD-WebUI: this extension's command-line flag, which the host reads before it loads anything else of it."""

from __future__ import annotations

from argparse import ArgumentParser


def preload(parser: ArgumentParser) -> None:
    """Add the flag to the host's parser."""
    parser.add_argument(
        "--gpen-models-path",
        type=str,
        help="Folder with GPEN's model files, searched before models/GPEN.",
        default=None,
    )

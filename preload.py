"""SD-WebUI: command-line flags of this extension, added before anything else of it is loaded."""

from __future__ import annotations

from argparse import ArgumentParser


def preload(parser: ArgumentParser) -> None:
    """Called by the host with its own parser."""
    parser.add_argument(
        "--gpen-models-path",
        type=str,
        help="Folder with GPEN's weight files, searched before models/GPEN.",
        default=None,
    )

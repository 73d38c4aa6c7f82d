"""`gpen app`: the app in the browser."""

from __future__ import annotations

import argparse

from ..app.server import serve
from .arguments import options_from


def run(arguments: argparse.Namespace) -> int:
    """Serve the app until Ctrl+C is pressed; returns 0."""
    return serve(
        port=arguments.port,
        folders=arguments.models_path,
        device=arguments.device,
        max_upload_mb=arguments.max_upload_mb,
        max_megapixels=options_from(arguments).max_megapixels,
        provenance=arguments.provenance,
        browser=arguments.browser,
        names=arguments.allow_host,
    )

"""`gpen app`: the app in the browser."""

from __future__ import annotations

import argparse
import dataclasses

from ..app.access.password import made_password, read_password
from ..app.access.reach import HOST, Reach
from ..app.server import serve
from .arguments import options_from


def run(arguments: argparse.Namespace) -> int:
    """Serve the app until Ctrl+C is pressed; returns 0."""
    given = read_password(arguments.password_file)
    reach = Reach(arguments.listen or HOST, arguments.allow_host, given)
    if arguments.listen and given is None:
        reach = dataclasses.replace(reach, password=made_password(), is_made=True)
    return serve(
        port=arguments.port,
        folders=arguments.models_path,
        device=arguments.device,
        max_upload_mb=arguments.max_upload_mb,
        max_megapixels=options_from(arguments).max_megapixels,
        provenance=arguments.provenance,
        browser=arguments.browser,
        reach=reach,
    )

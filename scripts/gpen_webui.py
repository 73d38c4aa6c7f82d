"""SD-WebUI's entry point: the host runs this file and registers the classes that it finds in it."""

from __future__ import annotations

from pathlib import Path

import gpen

_FOLDER = Path(__file__).resolve().parents[1]
if Path(gpen.__file__).resolve().parent != _FOLDER / "gpen":
    raise ImportError(
        f"Another extension's package gpen, {gpen.__file__}, was imported before the one of GPEN Face Restore. "
        "Disable one of the two extensions."
    )

from modules import script_callbacks  # noqa: E402

from gpen_hosts.webui.api import add_routes  # noqa: E402 - only after the check above
from gpen_hosts.webui.extras import GpenPostprocessing  # noqa: E402, F401 - the host registers it
from gpen_hosts.webui.face_restorer import RememberJob, register_restorer  # noqa: E402, F401 - likewise
from gpen_hosts.webui.host import make_folder  # noqa: E402
from gpen_hosts.webui.sdnext import show_messages  # noqa: E402
from gpen_hosts.webui.settings import add_plot_axes, add_settings  # noqa: E402

show_messages()
make_folder()
register_restorer()
script_callbacks.on_ui_settings(add_settings)
script_callbacks.on_before_ui(add_plot_axes)
script_callbacks.on_app_started(add_routes)

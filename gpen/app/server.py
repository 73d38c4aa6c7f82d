"""Serves the page on this computer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from ..atomic import is_left_over, process_tag
from ..errors import GpenError
from ..packages import optional_package
from .access.asgi import Server
from .access.doors import Doors
from .access.quota import UploadQuota
from .access.reach import Reach

_MODEL_BYTES = 2 << 30
"""The largest model file that can be added on the page."""

_UPLOADS = 24
"""The most bytes of all uploads together, as a multiple of the most bytes of a photo: a film, or two batches."""

_VISITORS = 4
"""How many visitors can upload as much as one may, where other computers reach the page."""

_VISITS = 64
"""Of how many visits and calls of the API Gradio keeps what it notes of each, half a megabyte: by default 10,000."""

_FOLDER = "gpen-app"


def serve(
    *,
    port: int | None,
    folders: Sequence[Path],
    device: str,
    max_upload_mb: float,
    max_megapixels: float,
    provenance: bool = True,
    browser: bool = True,
    reach: Reach,
) -> int:
    """Serve the page until Ctrl+C is pressed, and return 0.

    port: None for the first free one from 7860. folders: searched first for models. max_upload_mb: of one file, in
    millions of bytes. provenance: note in results what was done to them. browser: open the page in the user's browser.
    reach: who can reach it.
    GpenError where Gradio is missing or broken, the device cannot be used, the port is taken, or the page does not
    start.
    """
    port = reach.free_port(port)
    print("Starting ...", flush=True)
    _remove_left_over()
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{process_tag()}", ignore_cleanup_errors=True) as folder:
        # Gradio reads these when it is imported.
        cache = Path(folder, "cache")
        os.environ["GRADIO_TEMP_DIR"] = str(cache)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        gradio = optional_package("gradio", "gradio", "app", "The page", only="the page")
        from gradio.routes import App, ORJSONResponse

        from .actions import Actions, Limits
        from .engine import Engine, ModelLocator
        from .page import build_page
        from .viewer import style

        engine = Engine(ModelLocator(tuple(folders)), device)
        results = Path(folder, "results")
        results.mkdir()
        upload_bytes = round(max_upload_mb * 1e6)
        limits = Limits(upload_bytes, max_megapixels)
        actions = Actions(engine, limits, results, provenance=provenance)
        page = build_page(actions, is_shared=reach.is_open)
        room = max(_UPLOADS * upload_bytes, _MODEL_BYTES)
        quota = UploadQuota(cache, room * (_VISITORS if reach.is_open else 1), room if reach.is_open else None)
        doors = Doors(reach, port, quota)

        class GatedApp(App):  # type: ignore[misc]
            # Outside of everything that Gradio adds itself, which answers to any origin.
            def build_middleware_stack(self) -> Server:
                return doors.in_front_of(super().build_middleware_stack())

        try:
            page.launch(
                server_name=reach.listens_on,
                server_port=port,
                share=False,
                # Models and films are larger than photos, whose size the handlers check.
                max_file_size=max(limits.film_bytes, _MODEL_BYTES),
                allowed_paths=[str(results)],
                inbrowser=False,
                prevent_thread_lock=True,
                quiet=True,
                ssr_mode=False,
                enable_monitoring=False,
                state_session_capacity=_VISITS,
                show_error=True,
                theme=gradio.themes.Soft(
                    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], radius_size="sm"
                ),
                css=style(),
                footer_links=["api"],
                _app=GatedApp(default_response_class=ORJSONResponse),
            )
        except OSError as error:
            raise GpenError(
                f"The page did not start at port {port}: another program took the port meanwhile, or this computer is "
                "very busy. Start it again."
            ) from error
        doors.open()
        print(reach.told(port, engine.device), flush=True)
        if browser:
            webbrowser.open(reach.addresses(port)[0])
        # Without a handler, SIGTERM would leave the temporary folder behind.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass
        finally:
            actions.close()
            page.close(verbose=False)
    return 0


def _remove_left_over() -> None:
    """Remove the photos and results of pages that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER}.gpen-*"):
        with contextlib.suppress(OSError):
            is_ours = not left.is_symlink() and left.is_dir() and (os.name == "nt" or left.stat().st_uid == os.getuid())
            if is_ours and is_left_over(left, left.name.removeprefix(_FOLDER)):
                shutil.rmtree(left, ignore_errors=True)

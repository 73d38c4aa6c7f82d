"""Serves the page on this computer."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import GpenError
from ..wording import first_line

HOST = "127.0.0.1"
"""The only address: nobody but who uses this computer can reach the page."""


def serve(
    *, port: int | None, folders: Sequence[Path], device: str, max_upload_mb: float, max_megapixels: float
) -> int:
    """Serve the page until Ctrl+C is pressed; 0.

    port: None for the first free one from 7860 on. folders: searched first for weights. GpenError where Gradio is
    missing or broken, the device cannot be used or the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="gpen-app-", ignore_cleanup_errors=True) as folder:
        # Read when Gradio is imported.
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "cache"))
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        gradio = _gradio()
        from .actions import Actions, Limits
        from .engine import Engine, ModelLocator
        from .page import CSS, build_page

        engine = Engine(ModelLocator(tuple(folders)), device)
        made = Path(folder, "made")
        made.mkdir()
        upload_bytes = round(max_upload_mb * 1e6)
        actions = Actions(engine, Limits(upload_bytes, max_megapixels), made)
        page = build_page(actions)
        try:
            _, url, _ = page.launch(
                server_name=HOST,
                server_port=port,
                share=False,
                max_file_size=upload_bytes,
                inbrowser=False,
                prevent_thread_lock=True,
                quiet=True,
                ssr_mode=False,
                enable_monitoring=False,
                show_error=True,
                theme=gradio.themes.Soft(
                    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], radius_size="sm"
                ),
                css=CSS,
                footer_links=["api"],
            )
        except OSError as error:
            raise GpenError(
                f"The page cannot be served here ({first_line(error)}). Choose another port with --port."
            ) from error
        print(f"The page is at {url} (on {engine.device}). Ctrl+C ends it.", flush=True)
        # Otherwise it would leave the folder behind.
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


def _gradio() -> Any:
    try:
        return importlib.import_module("gradio")
    except Exception as error:  # of what it needs, anything may be broken
        if isinstance(error, ModuleNotFoundError) and error.name == "gradio":
            raise GpenError(
                "The page needs the Python package gradio, which is not installed. Install it: "
                "pip install gpen-face-restore[app]"
            ) from error
        raise GpenError(
            f"The Python package gradio cannot be used here ({type(error).__name__}: {first_line(error)}). "
            "The page needs it; all else does not."
        ) from error

"""Pages in headless Chromium, for the tests of our own page and of ComfyUI's."""

from __future__ import annotations

import base64
import io
import mimetypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

_FIND = Path(__file__).resolve().parents[1] / ".ci/chromium"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_DROP = """([selector, name, type, content, where]) => {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    const target = document.querySelector(selector);
    const about = { bubbles: true, cancelable: true, dataTransfer: transfer, ...where };
    for (const kind of ["dragenter", "dragover", "drop"]) target.dispatchEvent(new DragEvent(kind, about));
}"""


def launch(make_target: str) -> Iterator[Any]:
    """The browser, closed when the generator ends. make_target: makes the environment that these tests need."""
    playwright = pytest.importorskip("playwright.sync_api", reason=f"needs playwright: run make {make_target}")
    found = subprocess.run(["bash", _FIND], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.fail(found.stderr)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found.stdout.strip(), args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """The folder for screenshots: $GPEN_SCREENSHOTS, or the test's own folder."""
    folder = Path(os.environ.get("GPEN_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class ChromiumPage:
    """A page in its own window. timeout: of every wait, in milliseconds."""

    def __init__(self, browser: Any, timeout: float) -> None:
        self.window = browser.new_page(viewport={"width": 1600, "height": 1100})
        self.window.set_default_timeout(timeout)

    def close(self) -> None:
        self.window.close()

    def drop_on(self, selector: str, file: Path, **where: int) -> None:
        """Drop a file on an element, as with the mouse. where: the position, as fields of the event."""
        content = base64.b64encode(file.read_bytes()).decode()
        media_type, _ = mimetypes.guess_type(file.name)
        self.window.evaluate(_DROP, [selector, file.name, media_type, content, where])

    def look(self, selector: str) -> NDArray[np.uint8]:
        """A screenshot of an element."""
        shot = self.window.locator(selector).first.screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

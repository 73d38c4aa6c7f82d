"""Takes the picture of the Extras tab for docs/webui.md; it is replaced where $GPEN_SCREENSHOTS is the checkout.

The tab is Forge's own, in a page without its other tabs. Its buttons are emoji, for which a font has to be installed.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import chromium
from tests.chromium import screenshots  # noqa: F401
from tests.documented import grey_portrait, save_small, write_models
from tests.hosts.webui.host import CHECKOUT, WebUI

MODEL = "GPEN-Colorization-1024.pth"
WAIT = 20_000
"""Milliseconds."""


@pytest.fixture
def browser() -> Iterator[Any]:
    if subprocess.run(["bash", CHECKOUT / ".ci/chromium"], capture_output=True, check=False).returncode:
        pytest.skip("needs Chromium, on the path or in $CHROMIUM")
    yield from chromium.launch("test-forge")


@pytest.fixture
def model(forge: WebUI) -> Iterator[Path]:
    """Synthetic weights that give every grey the same tint, where the host looks for models."""
    (file,) = write_models(forge.data / "given", [MODEL])
    yield file
    file.unlink()


@pytest.fixture
def extras(forge: WebUI, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a page with the Extras tab."""
    gradio = importlib.import_module("gradio")
    # Its module for infotext is a mock, see host.py; what it does here is turn values into text.
    monkeypatch.setattr(forge.infotext_utils, "quote", str)
    monkeypatch.setattr(gradio.routes.templates, "TemplateResponse", gradio.routes.templates.TemplateResponse)
    importlib.import_module("modules.gradio_extensions")
    forge.load_scripts()
    monkeypatch.chdir(forge.folder)
    forge.ui_gradio_extensions.reload_javascript()
    with gradio.Blocks(theme=forge.shared.gradio_theme, analytics_enabled=False, title="Stable Diffusion") as page:
        with gradio.Tabs(elem_id="tabs"), gradio.TabItem("Extras", id="extras", elem_id="tab_extras"):
            forge.ui_postprocessing.create_ui()
        # The host's scripts begin once this is there.
        gradio.Textbox(elem_id="txt2img_prompt")
    app, address, _ = page.launch(prevent_thread_lock=True, allowed_paths=[str(forge.folder)], quiet=True)
    forge.progress.setup_progress_api(app)
    yield address
    page.close()


def test_the_extras_tab(extras: str, browser: Any, tmp_path: Path, screenshots: Path) -> None:  # noqa: F811
    photo = tmp_path / "portrait.png"
    Image.fromarray(grey_portrait()).save(photo)
    page = browser.new_page(viewport={"width": 1140, "height": 720})
    page.set_default_timeout(WAIT)
    page.goto(extras)
    page.locator("#extras_image input[type=file]").set_input_files(photo)
    page.locator("#extras_image img").wait_for()
    page.locator("#extras_gpen .label-wrap").first.click()  # opens and enables it
    page.locator("#extras_gpen_task input").click()
    page.get_by_role("option", name="colorize").click()
    page.locator("#extras_generate").click()
    page.get_by_text("Postprocess GPEN task: colorize").wait_for()
    page.mouse.move(1, 1)
    page.wait_for_timeout(1500)  # until what moves has come to rest
    assert page.get_by_text("Postprocess GPEN faces: 1").is_visible()
    save_small(page.locator("#tabs").screenshot(), screenshots / "docs" / "webui-extras.png")
    page.close()

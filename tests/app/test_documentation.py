"""Takes the picture of the page for docs/page.md; it is replaced where $GPEN_SCREENSHOTS is the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpen.images import Picture, write_picture
from tests.app.conftest import YUNET, Serve
from tests.app.page import AppPage
from tests.documented import portrait, save_small, write_models


def test_a_portrait_is_restored(
    serve_session: Serve, browser: Any, detector_weights: Path, tmp_path: Path, screenshots: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    write_models(models, ["GPEN-BFR-512.pth"])
    (models / YUNET).write_bytes((detector_weights / YUNET).read_bytes())
    photo = tmp_path / "portrait.png"
    write_picture(photo, Picture(portrait().astype("float32") / 255))
    page = AppPage(browser, serve_session("--models-path", models, "--device", "cpu").url)
    page.window.set_viewport_size({"width": 1400, "height": 900})
    page.drop(photo)
    page.wait_for("1 face found")
    page.click("run")
    page.wait_for("1 face restored")
    page.window.wait_for_timeout(1000)  # until the picture has scrolled into view
    page.window.evaluate("window.scrollTo(0, 0)")
    page.window.mouse.move(1, 1)
    page.window.wait_for_timeout(500)
    save_small(page.window.screenshot(), screenshots / "docs" / "app.png")
    page.close()
    assert page.errors == []

"""The page to screen readers, at four widths, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from tests.app.conftest import Served
from tests.app.page import AppPage

Look = Callable[[str], None]


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def look(app: Served, page: AppPage, screenshots: Path, theme: str) -> Look:
    """Looks for what axe-core finds critical or serious, and for what is too wide; takes a name for screenshots."""
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.window.goto(f"{app.url}?__theme={theme}")
    page.window.wait_for_function("document.querySelector('#gpen-weights input')?.value")
    page.window.evaluate(script)

    def run(name: str) -> None:
        page.window.wait_for_timeout(500)
        found = page.window.evaluate("axe.run()")["violations"]
        assert [
            f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in ("critical", "serious")
        ] == []
        for width in (390, 1024, 1440, 1920):
            page.window.set_viewport_size({"width": width, "height": 900})
            page.window.wait_for_timeout(200)
            assert page.window.evaluate("document.documentElement.scrollWidth") <= width
            page.window.screenshot(path=screenshots / f"{name} {theme} {width}.png")

    return run


def test_the_result_and_all_options(page: AppPage, portrait: Path, look: Look) -> None:
    page.restore(portrait, "small.pth")
    page.window.locator(".gv-line").wait_for()
    page.window.get_by_role("button", name="Advanced").click()
    look("result")


def test_the_brush(page: AppPage, portrait: Path, look: Look) -> None:
    page.window.locator("#gpen-task").get_by_text("Fill in damage").click()
    page.drop(portrait)
    page.wait_for("Paint over the damage.")
    page.window.get_by_role("toolbar", name="Brush").wait_for()
    look("brush")


def test_models_side_by_side(page: AppPage, portrait: Path, look: Look) -> None:
    page.drop(portrait)
    page.wait_for("5 faces found")
    page.window.get_by_role("button", name="Compare models").click()
    for model in ("small.pth", "small-colours.pth"):
        page.window.locator("#gpen-compared").get_by_label(model, exact=True).check()
    page.click("compare-run")
    page.wait_for("2 models side by side")
    look("compare")


def test_the_table_of_a_batch(page: AppPage, portrait: Path, tmp_path: Path, look: Look) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.choose("weights", "small.pth")
    page.window.get_by_role("tab", name="Many photos").click()
    page.window.locator("#gpen-files input[type=file]").first.set_input_files([portrait, tmp_path / "broken.png"])
    page.window.get_by_text("broken").first.wait_for()
    page.click("run-all")
    page.wait_for("2 photos: 1 restored, 1 failed.", "batch-said")
    look("batch")


def test_what_an_option_does_is_shown_to_the_mouse_and_to_keys(page: AppPage) -> None:
    page.window.get_by_role("button", name="Advanced").click()
    text = page.window.locator("#gpen-skip_sharp .info-text")
    opacity = "(text) => getComputedStyle(text).opacity"
    assert text.evaluate(opacity) == "0"
    page.window.locator("#gpen-skip_sharp").hover()
    page.window.wait_for_function(f"(text) => ({opacity})(text) === '1'", arg=text.element_handle())
    page.window.mouse.move(1, 1)
    page.window.wait_for_function(f"(text) => ({opacity})(text) === '0'", arg=text.element_handle())
    page.window.locator("#gpen-skip_sharp input[type=number]").focus()
    page.window.wait_for_function(f"(text) => ({opacity})(text) === '1'", arg=text.element_handle())
    assert "sharper than this" in text.inner_text()

"""The viewer and the strip of faces, by mouse and by keyboard."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from gpen.images import Picture, write_picture
from tests.app.conftest import Served
from tests.app.page import AppPage

_PASTE = """([content]) => {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


def zoomed(page: AppPage) -> int:
    """The zoom in percent."""
    return int(page.window.locator(".gv-zoom").inner_text().rstrip("%"))


def line_at(page: AppPage) -> int:
    """Where the line is, in percent of the stage's width."""
    return int(page.window.locator(".gv-line").get_attribute("aria-valuenow"))


def test_keys_move_the_line_zoom_and_show_the_original(page: AppPage, portrait: Path) -> None:
    page.restore(portrait, "small.pth")
    page.window.locator(".gv-line").wait_for()
    page.window.locator(".gv-line").focus()
    for _ in range(5):
        page.window.keyboard.press("ArrowRight")
    assert line_at(page) == 60
    page.window.keyboard.press("Home")
    assert line_at(page) == 0
    restored = page.look(".gv-stage")
    page.window.keyboard.down(" ")
    page.window.get_by_text("Original", exact=True).wait_for()
    held = page.look(".gv-stage")
    page.window.keyboard.up(" ")
    assert not np.array_equal(held, restored)
    page.window.get_by_text("Original", exact=True).wait_for(state="hidden")
    fitted = zoomed(page)
    page.window.keyboard.press("1")
    assert zoomed(page) == 100 != fitted
    page.window.keyboard.press("+")
    assert zoomed(page) == 125
    page.window.keyboard.press("f")
    assert zoomed(page) == fitted


def test_the_original_is_shown_only_while_the_button_is_held(page: AppPage, portrait: Path) -> None:
    page.restore(portrait, "small.pth")
    button, stage = (page.window.locator(at).bounding_box() for at in ("[data-do=hold]", ".gv-stage"))
    original = page.window.get_by_text("Original", exact=True)
    page.window.mouse.move(button["x"] + 5, button["y"] + 5)
    page.window.mouse.down()
    original.wait_for()
    page.window.mouse.move(button["x"] + 5, stage["y"] + stage["height"] + 20)
    page.window.mouse.up()
    original.wait_for(state="hidden")


def test_the_wheel_zooms_at_the_pointer_and_a_face_in_the_strip_is_looked_at(page: AppPage, portrait: Path) -> None:
    page.drop(portrait)
    page.wait_for("5 faces found")
    fitted = zoomed(page)
    page.window.get_by_role("button", name="Look at face 3").click()
    looked = zoomed(page)
    assert looked > fitted
    stage, face = (page.window.locator(each).bounding_box() for each in (".gv-stage", ".gv-box >> nth=2"))
    assert abs(face["x"] + face["width"] / 2 - stage["x"] - stage["width"] / 2) < 3
    page.window.mouse.move(face["x"], face["y"])
    page.window.mouse.wheel(0, -100)
    page.window.wait_for_function(f"document.querySelector('.gv-zoom').textContent !== '{looked}%'")
    larger = page.window.locator(".gv-box >> nth=2").bounding_box()
    assert larger["width"] > face["width"] * 1.2
    assert max(abs(larger[side] - face[side]) for side in "xy") < 3
    page.window.get_by_role("button", name="Fit").click()
    assert zoomed(page) == fitted


def test_another_choice_or_task_leaves_no_result_of_the_last(page: AppPage, portrait: Path) -> None:
    page.restore(portrait, "small.pth")
    assert page.window.locator(".gv-thumb[data-label=After]").count() == 5
    page.window.get_by_label("Face 2", exact=True).uncheck()
    page.wait_for("4 of 5 faces chosen.")
    assert page.window.locator(".gv-thumb[data-label=After]").count() == 0
    assert page.window.locator("#gpen-save").is_disabled()
    page.click("run")
    page.wait_for("4 faces restored, 1 skipped.")
    assert page.window.locator(".gv-thumb[data-label=After]").count() == 4
    page.window.locator("#gpen-task").get_by_text("Colorize").click()
    page.wait_for("5 faces found")
    assert page.window.locator("#gpen-save").is_disabled()
    assert not page.window.locator(".gv-line").is_visible()


def test_a_photo_is_pasted(page: AppPage, portrait: Path) -> None:
    page.window.evaluate(_PASTE, [base64.b64encode(portrait.read_bytes()).decode()])
    page.wait_for("5 faces found")


def test_what_is_on_the_page_survives_a_reload(page: AppPage, portrait: Path, tmp_path: Path) -> None:
    page.restore(portrait, "small.pth")
    result = page.download(tmp_path).read_bytes()
    page.window.reload()
    page.wait_for("5 faces restored.")
    page.window.locator(".gv-line").wait_for()
    page.window.wait_for_function("document.querySelector('#gpen-weights input').value === 'small.pth'")
    assert page.download(tmp_path).read_bytes() == result


def test_an_early_change_of_task_lists_the_models_of_the_new_one(app: Served, page: AppPage) -> None:
    page.window.goto(app.url)
    page.window.locator("#gpen-task").get_by_text("Colorize").click()
    page.window.wait_for_timeout(3000)
    assert page.model() not in ("", "Standard 512")


def test_a_photo_given_as_a_map_is_questioned(page: AppPage, portrait: Path, tmp_path: Path) -> None:
    page.window.locator("#gpen-task").get_by_text("Face from a map").click()
    page.drop(portrait)
    assert "This looks like a photo" in page.toast()
    labels = np.kron(np.random.default_rng(0).random((4, 4, 3)), np.ones((16, 16, 1)))
    write_picture(tmp_path / "map.png", Picture(labels.astype(np.float32)))
    page.drop(tmp_path / "map.png")
    page.wait_for("The whole picture is one face.")

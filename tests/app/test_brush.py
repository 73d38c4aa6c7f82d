"""The brush on the viewer, by mouse, keyboard, finger and pen, and the result as the next photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpen.images import Picture, read_picture, write_picture
from tests.app.conftest import Served
from tests.app.page import AppPage

_POINTER = """([kind, id, type, x, y]) => document.querySelector(".gv-stage").dispatchEvent(new PointerEvent(type, {
    pointerId: id, pointerType: kind, clientX: x, clientY: y, button: type === "pointermove" ? -1 : 0, buttons: 1,
    isPrimary: id === 90, bubbles: true, cancelable: true }))"""

_PAINTED = """(kind) => {
    const canvas = document.querySelector(`.gv-paint[data-kind=${kind}]`);
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let marked = 0;
    for (let at = 3; at < data.length; at += 4) marked += data[at] > 127;
    return canvas.checkVisibility({ visibilityProperty: true }) ? marked / (canvas.width * canvas.height) : 0;
}"""


@pytest.fixture
def touch(page: AppPage, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Moves a finger or a pen: its number, the event, and where, in shares of the stage."""
    # A pointer that is not of the system cannot be captured.
    page.window.evaluate("Element.prototype.setPointerCapture = () => {}")

    def move(number: int, event: str, x: float, y: float, kind: str = "touch") -> None:
        box = page.window.locator(".gv-stage").bounding_box()
        at = box["x"] + x * box["width"], box["y"] + y * box["height"]
        page.window.evaluate(_POINTER, [kind, number, f"pointer{event}", *at])

    return move


def marked(page: AppPage, kind: str) -> float:
    """The share of the photo that the viewer shows as painted."""
    return float(page.window.evaluate(_PAINTED, kind))


def paint(page: AppPage, *points: tuple[float, float]) -> None:
    """Draw a line with the mouse. points: in shares of the photo."""
    box = page.window.locator(".gv-sheet").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.window.mouse.move(*places[0])
    page.window.mouse.down()
    for place in places[1:]:
        page.window.mouse.move(*place, steps=5)
    page.window.mouse.up()


def press(page: AppPage, name: str) -> None:
    page.window.locator(".gv-stage").get_by_role("button", name=name, exact=True).click()


def samples(file: Path) -> Any:
    return read_picture(file, 10).photo


def test_damage_is_painted_and_filled_in(page: AppPage, portrait: Path, tmp_path: Path, screenshots: Path) -> None:
    page.window.locator("#gpen-task").get_by_text("Fill in damage").click()
    page.choose("weights", "small-colours.pth")
    page.drop(portrait)
    page.wait_for("Paint over the damage.")
    page.click("run")
    assert "paint over the damage with the brush" in page.toast()
    # Who fills in damage need not look for the brush.
    paint(page, (0.3, 0.1), (0.3, 0.9))
    share = marked(page, "damage")
    assert 0.02 < share < 0.5
    page.window.screenshot(path=screenshots / "brush.png")
    page.click("run")
    page.wait_for("inpainted")
    assert marked(page, "damage") == 0  # out of the way of the result
    changed = (samples(page.download(tmp_path)) != samples(portrait)).any(axis=2)
    width = changed.shape[1]
    assert changed[:, round(0.3 * width)].any()
    assert not changed[:, : round(0.1 * width)].any()
    assert not changed[:, round(0.6 * width) :].any()
    press(page, "Brush")
    assert marked(page, "damage") == pytest.approx(share)
    press(page, "Clear")
    page.wait_for("The options have changed")


def test_what_is_painted_as_protected_stays(
    page: AppPage, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    page.choose("weights", "small-colours.pth")
    page.drop(portrait)
    page.wait_for("5 faces found")
    press(page, "Brush")
    assert not page.window.locator("[data-do=damage]").is_visible()
    page.window.get_by_label("Brush size").fill("200")
    for y in (0.02, 0.2, 0.4, 0.6, 0.8, 0.98):
        paint(page, (0.02, y), (0.98, y))
    assert marked(page, "protect") > 0.99
    press(page, "Erase")
    paint(page, (0.9, 0.02), (0.9, 0.98))
    share = marked(page, "protect")
    assert 0.5 < share < 0.95
    page.click("run")
    page.wait_for("faces restored")
    before, after = samples(portrait), samples(page.download(tmp_path))
    assert np.array_equal(after[:, :60], before[:, :60])
    assert not np.array_equal(after[:, 220:], before[:, 220:])


def test_undo_redo_and_a_reload_keep_what_is_painted_until_another_photo(
    page: AppPage, portrait: Path, tmp_path: Path
) -> None:
    page.drop(portrait)
    page.wait_for("5 faces found")
    press(page, "Brush")
    paint(page, (0.2, 0.2), (0.8, 0.2))
    one = marked(page, "protect")
    paint(page, (0.2, 0.8), (0.8, 0.8))
    two = marked(page, "protect")
    assert two > 1.5 * one > 0
    press(page, "Undo")
    assert marked(page, "protect") == one
    press(page, "Redo")
    assert marked(page, "protect") == two
    assert page.window.locator("[data-do=redo]").is_disabled()
    press(page, "Clear")
    assert marked(page, "protect") == 0
    page.window.locator(".gv-stage").focus()
    page.window.keyboard.press("Control+z")
    page.window.keyboard.press("Control+z")
    assert marked(page, "protect") == one
    page.window.reload()
    page.wait_for("5 faces found")
    page.window.wait_for_timeout(500)
    assert marked(page, "protect") == one
    # The zoom does not move it.
    page.window.locator(".gv-stage").focus()
    page.window.keyboard.press("1")
    assert marked(page, "protect") == one
    other = tmp_path / "other.png"
    other.write_bytes(portrait.read_bytes())
    page.drop(other)
    page.window.wait_for_function("!document.querySelector('.gv').querySelector('.gv-after').src")
    page.window.wait_for_timeout(2000)
    assert marked(page, "protect") == 0


def test_the_brush_is_led_by_keys(page: AppPage, portrait: Path) -> None:
    page.drop(portrait)
    page.wait_for("5 faces found")
    page.window.locator(".gv-stage").focus()
    keys = page.window.keyboard
    keys.press("p")
    assert "Enter puts it down" in page.window.locator(".gv-stage").get_attribute("aria-label")
    for _ in range(3):
        keys.press("]")
    keys.press("Enter")
    assert page.window.locator(".gv-said").inner_text() == "Brush down"
    for _ in range(5):
        keys.press("Shift+ArrowLeft")
    keys.press("Enter")
    assert page.window.locator(".gv-said").inner_text() == "Brush up"
    painted = marked(page, "protect")
    assert painted > 0.01
    keys.press("e")
    keys.press("Enter")
    keys.press("ArrowRight")
    keys.press("Enter")
    assert 0 < marked(page, "protect") < painted
    keys.press("Control+z")
    assert marked(page, "protect") == painted
    keys.press("Escape")
    assert not page.window.get_by_role("toolbar", name="Brush").is_visible()


@pytest.mark.parametrize("kind", ["touch", "pen"])
def test_a_finger_or_a_pen_paints_and_two_fingers_pinch(
    page: AppPage, portrait: Path, touch: Callable[..., None], kind: str
) -> None:
    page.drop(portrait)
    page.wait_for("5 faces found")
    press(page, "Brush")
    touch(90, "down", 0.4, 0.5, kind)
    for x in (0.45, 0.5, 0.55):
        touch(90, "move", x, 0.5, kind)
    touch(90, "up", 0.55, 0.5, kind)
    painted = marked(page, "protect")
    assert painted > 0.01
    zoomed = page.window.locator(".gv-zoom").inner_text()
    touch(90, "down", 0.45, 0.3)
    touch(90, "move", 0.44, 0.3)
    touch(91, "down", 0.55, 0.3)
    touch(91, "move", 0.65, 0.3)
    touch(91, "up", 0.65, 0.3)
    touch(90, "up", 0.44, 0.3)
    # What the first finger had begun to draw is gone.
    assert marked(page, "protect") == painted
    assert int(page.window.locator(".gv-zoom").inner_text()[:-1]) > 1.5 * int(zoomed[:-1])


def test_two_fingers_zoom_around_their_middle(page: AppPage, portrait: Path, touch: Callable[..., None]) -> None:
    page.drop(portrait)
    page.wait_for("5 faces found")
    box = page.window.locator(".gv-sheet").bounding_box()
    stage = page.window.locator(".gv-stage").bounding_box()
    touch(90, "down", 0.4, 0.5)
    touch(91, "down", 0.6, 0.5)
    for step in range(1, 6):
        touch(90, "move", 0.4 - 0.02 * step, 0.5)
        touch(91, "move", 0.6 + 0.02 * step, 0.5)
    now = page.window.locator(".gv-sheet").bounding_box()
    assert now["width"] / box["width"] == pytest.approx(2, rel=0.05)
    middle = stage["x"] + stage["width"] / 2
    was, is_now = ((middle - each["x"]) / each["width"] for each in (box, now))
    assert is_now == pytest.approx(was, abs=0.02)
    assert page.chosen() == list(range(5))


def test_a_mask_given_as_a_picture_is_shown_and_painted_over(page: AppPage, portrait: Path, tmp_path: Path) -> None:
    mask = np.zeros((257, 301, 3), np.float32)
    mask[:, :150] = 1
    write_picture(tmp_path / "mask.png", Picture(mask))
    page.choose("weights", "small-colours.pth")
    page.drop(portrait)
    page.wait_for("5 faces found")
    page.drop(tmp_path / "mask.png", "#gpen-protect")
    page.window.wait_for_function(f"({_PAINTED})('protect') > 0.4")
    assert marked(page, "protect") == pytest.approx(0.5, abs=0.02)
    press(page, "Brush")
    page.window.get_by_label("Brush size").fill("200")
    for y in (0.02, 0.2, 0.4, 0.6, 0.8, 0.98):
        paint(page, (0.02, y), (0.98, y))
    assert marked(page, "protect") > 0.99
    page.click("run")
    page.wait_for("faces restored")
    assert np.array_equal(samples(page.download(tmp_path)), samples(portrait))
    page.window.locator("#gpen-protect").get_by_label("Clear").click()
    press(page, "Brush")
    press(page, "Clear")
    page.window.wait_for_function(f"({_PAINTED})('protect') === 0")


def test_masks_given_as_pictures_survive_a_reload(
    app: Served, page: AppPage, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    mask = np.zeros((257, 301, 3), np.float32)
    mask[:, :150] = 1
    protect, damage = tmp_path / "kept as it is.png", tmp_path / "scratches.png"
    write_picture(protect, Picture(mask))
    write_picture(damage, Picture(mask[:, ::-1]))
    page.window.locator("#gpen-task").get_by_text("Fill in damage").click()
    # The task's own models, whose list comes a little later.
    page.window.wait_for_function("document.querySelector('#gpen-weights input').value !== 'Standard 512'")
    page.choose("weights", "small-colours.pth")
    page.drop(portrait)
    page.wait_for("5 faces found")
    for file, where in ((protect, "protect"), (damage, "damage")):
        page.drop(file, f"#gpen-{where}")
        page.window.wait_for_function(f"({_PAINTED})('{where}') > 0.4")
    page.click("run")
    said = page.wait_for("faces inpainted")
    result = page.download(tmp_path).read_bytes()
    options = ("--model", "small-colours.pth", "--damage", damage, "--protect", protect)
    assert result == from_command(portrait, *options, command="inpaint")

    page.window.reload()
    page.window.locator("#gpen-damage").get_by_text("scratches").wait_for()
    page.window.get_by_role("button", name="Masks and people").click()
    page.window.locator("#gpen-protect").get_by_text("kept as it is").wait_for()
    page.window.wait_for_timeout(2000)
    assert page.window.locator("#gpen-said").inner_text() == said
    press(page, "Brush")
    assert marked(page, "protect") > 0.4
    assert marked(page, "damage") > 0.4
    page.click("run")
    page.window.locator("#gpen-stop").wait_for()
    page.wait_for("faces inpainted")
    page.window.locator("#gpen-run").wait_for()
    assert page.download(tmp_path).read_bytes() == result
    page.window.locator("#gpen-protect").get_by_label("Clear").click()
    page.wait_for("The options have changed")

    for file in app.temporary.rglob("scratches.png"):
        file.unlink()
    page.window.reload()
    assert "room of scratches.png. Choose it again." in page.toast()
    page.window.wait_for_timeout(2000)
    press(page, "Brush")
    assert marked(page, "damage") == 0
    assert not page.window.locator("#gpen-damage").get_by_text("scratches.png").is_visible()
    assert not page.window.locator("#gpen-protect").get_by_text("kept as it is").is_visible()


def test_the_result_is_the_next_photo(
    page: AppPage, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    assert page.window.locator("#gpen-go-on").is_disabled()
    page.restore(portrait, "small.pth")
    first = tmp_path / "portrait_restored.png"
    first.write_bytes(page.download(tmp_path).read_bytes())
    page.click("go-on")
    page.wait_for("The result is the photo now.")
    assert page.window.locator("#gpen-save").is_disabled()
    page.window.wait_for_function("document.querySelector('#gpen-go-on').disabled")
    page.window.locator("#gpen-task").get_by_text("Colorize").click()
    page.wait_for("faces found")
    page.choose("weights", "small-colours.pth")
    page.click("run")
    page.wait_for("colorized")
    result = page.download(tmp_path)
    assert result.name == "portrait_restored_colorized.png"
    expected = tmp_path / "expected.png"
    expected.write_bytes(from_command(first, "--model", "small-colours.pth", command="colorize"))
    assert np.array_equal(samples(result), samples(expected))

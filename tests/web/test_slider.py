"""Before and after on GPEN Restore Faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.hosts.comfyui.graphs import MARKER, GraphBuilder
from tests.web.comfyui_page import ComfyUIPage
from tests.web.conftest import Parts

TYPE = "GPENRestoreFaces"


@pytest.fixture
def restored(page: ComfyUIPage, graph: GraphBuilder, parts: Parts) -> ComfyUIPage:
    """The page after faces were restored, by a network that changes their colours."""
    photo = graph.photo(parts.left, "left.png")
    detector = graph.add("GPENLoadFaceDetector")
    model = graph.add("GPENLoadModel", model_name=MARKER)
    graph.show(graph.add(TYPE, image=photo, model=model, detector=detector))
    page.load(graph.graph)
    page.resize(TYPE, 460, top=110, scale=0.8)
    page.forget_results()
    page.run_to_end()
    page.window.wait_for_selector(".gpen-works .gpen-comparison")
    page.settle()
    return page


def slider(page: ComfyUIPage) -> Any:
    return page.window.get_by_role("slider", name="Before and after")


def box(page: ComfyUIPage) -> tuple[float, float, float, float]:
    found = page.window.locator(".gpen-comparison").bounding_box()
    return found["x"], found["y"], found["width"], found["height"]


def move_to_part(page: ComfyUIPage, part: float) -> None:
    x, y, width, height = box(page)
    page.window.mouse.move(x + width / 2, y + height / 2)
    page.window.mouse.down()
    page.window.mouse.move(x + width * part, y + height / 2, steps=4)
    page.window.mouse.up()


def coloured(picture: NDArray[np.uint8]) -> list[bool]:
    """Whether each third of a grey photo has colour, apart from the tags and the middle of the height."""
    height = len(picture)
    spread = np.ptp(picture.astype(int), axis=2) > 25
    spread[: height // 8] = False
    spread[height // 2 - 20 : height // 2 + 20] = False
    return [bool(third.mean() > 0.02) for third in np.array_split(spread, 3, axis=1)]


def test_dragging_moves_the_divider(restored: ComfyUIPage, screenshots: Path) -> None:
    shown = {}
    for part in (0.02, 0.5, 0.98):
        move_to_part(restored, part)
        assert int(slider(restored).get_attribute("aria-valuenow")) == pytest.approx(part * 100, abs=1)
        shown[part] = restored.look(".gpen-comparison")
        restored.window.screenshot(path=screenshots / f"slider at {part:.0%}.png")
    assert coloured(shown[0.02]) == [True, True, True]
    assert coloured(shown[0.98]) == [False, False, False]
    assert coloured(shown[0.5])[::2] == [False, True]


def test_arrow_keys_move_the_divider(restored: ComfyUIPage) -> None:
    divider = slider(restored)
    divider.focus()
    before = restored.look(".gpen-comparison")
    position = restored.node(TYPE, "[...node.pos]")
    for key, now in (
        ("ArrowLeft", 49),
        ("ArrowRight", 50),
        ("Shift+ArrowRight", 60),
        ("PageDown", 50),
        ("End", 100),
        ("Home", 0),
    ):
        divider.press(key)
        assert divider.get_attribute("aria-valuenow") == str(now)
    assert divider.get_attribute("aria-valuetext") == "0% before, 100% after"
    after = restored.look(".gpen-comparison")
    assert coloured(before)[0] is False
    assert coloured(after)[0] is True
    # The arrow keys move nodes where the page gets them.
    assert restored.node(TYPE, "[...node.pos]") == position


@pytest.mark.parametrize(("width", "height"), [(260, None), (460, None), (900, 1130)])
def test_the_photo_keeps_its_aspect_ratio(
    restored: ComfyUIPage, width: int, height: int | None, screenshots: Path
) -> None:
    restored.resize(TYPE, width, height, top=100, scale=0.9)
    _, _, wide, high = box(restored)
    assert wide / high == pytest.approx(301 / 257, rel=0.02)
    # As wide as the node, unless the node is too low for that.
    room = width * 0.9
    assert (0.9 if height is None else 0.6) * room < wide <= room
    restored.window.screenshot(path=screenshots / f"slider, node {width} wide.png")


def test_there_is_one_preview_and_it_is_not_saved(restored: ComfyUIPage) -> None:
    previews = "node.widgets.filter((widget) => widget.name.includes('preview'))"
    assert restored.node(TYPE, f"{previews}.length") == 1
    assert restored.node(TYPE, f"{previews}[0].element.classList.contains('gpen-works')")
    values = restored.node(TYPE, "node.serialize().widgets_values.length")
    assert values == restored.node(TYPE, "node.widgets.length") - 1
    # For copying and saving the image from the node's menu.
    assert restored.node(TYPE, "node.imgs[node.imageIndex].naturalWidth") == 301


def test_without_an_image_from_before_the_plain_preview_stays(restored: ComfyUIPage) -> None:
    output = restored.output(TYPE)
    for wrong in ({**output, "gpen_before": []}, {**output, "gpen_before": [{"filename": "none.png", "type": "temp"}]}):
        restored.window.evaluate(
            "([type, output]) => app.graph.nodes.find((node) => node.type === type).onExecuted(output)", [TYPE, wrong]
        )
        restored.window.wait_for_selector(".gpen-works", state="detached")
        restored.window.wait_for_function(
            "(type) => app.graph.nodes.find((node) => node.type === type)"
            ".widgets.some((widget) => widget.name === '$$canvas-image-preview')",
            arg=TYPE,
        )
        restored.node(TYPE, "node.onExecuted(app.nodeOutputs[node.id])")
        restored.window.wait_for_selector(".gpen-works")


def test_a_reloaded_page_has_its_images_after_the_next_run(restored: ComfyUIPage) -> None:
    restored.window.wait_for_function("localStorage.length > 0")
    restored.reload()
    restored.window.wait_for_function("(type) => app.graph.nodes.some((node) => node.type === type)", arg=TYPE)
    restored.settle()
    assert restored.window.locator(".gpen-preview").count() == 0
    assert restored.node(TYPE, "node.widgets.length") == 19
    # Nothing has to run again, but the images still come back.
    restored.run_to_end()
    restored.window.wait_for_selector(".gpen-works .gpen-comparison")


def test_the_newer_renderer_has_one_preview_too(restored: ComfyUIPage, screenshots: Path) -> None:
    restored.resize(TYPE, 460)
    restored.set("Comfy.VueNodes.Enabled", True)
    selector = f'.lg-node[data-node-id="{restored.node(TYPE, "node.id")}"]'
    node = restored.window.locator(selector)
    node.wait_for()
    restored.forget_results()
    restored.run_to_end()
    shown = node.locator(".gpen-works .gpen-comparison, .image-preview img").locator("visible=true")
    shown.first.wait_for()
    # The result, not the last live preview.
    restored.window.wait_for_function(
        "(node) => [...document.querySelectorAll(`${node} .gpen-after img, ${node} .image-preview img`)]"
        ".some((picture) => picture.naturalWidth === 301)",
        arg=selector,
    )
    restored.settle()
    restored.window.screenshot(path=screenshots / "newer renderer.png")
    # Frontends before 1.33 do not show DOM widgets there: then it is the plain preview.
    assert shown.count() == 1

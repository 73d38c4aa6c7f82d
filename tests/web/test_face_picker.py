"""Clicking faces on GPEN Detect Faces."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpen.errors import OptionError
from gpen.options import parse_face_numbers
from tests.hosts.comfyui.graphs import GraphBuilder
from tests.web.comfyui_page import ComfyUIPage
from tests.web.conftest import Parts

TYPE = "GPENDetectFaces"
SELECTION = "import('/extensions/gpen-face-restore/js/selection.js')"

Detect = Callable[..., ComfyUIPage]


@pytest.fixture
def detect(page: ComfyUIPage, graph: GraphBuilder, parts: Parts) -> Detect:
    """Opens and runs a graph that finds faces in some of the parts, crops the chosen ones and shows the crops."""

    def run(*names: str) -> ComfyUIPage:
        photos = [graph.photo(getattr(parts, name), f"{name}.png") for name in names]
        image = graph.batch(*photos)
        faces = graph.add(TYPE, image=image, detector=graph.add("GPENLoadFaceDetector"))
        graph.show(graph.add("GPENCropFaces", image=image, faces=faces, size=128))
        page.load(graph.graph)
        page.resize(TYPE, 520)
        page.run_to_end()
        page.window.wait_for_selector(".gpen-works .gpen-face")
        page.settle()
        return page

    return run


def face(page: ComfyUIPage, number: int) -> Any:
    return page.window.get_by_role("button", name=f"Face {number}", exact=True)


def pressed(page: ComfyUIPage) -> list[int]:
    labels = page.window.locator('.gpen-face[aria-pressed="true"]').evaluate_all(
        "boxes => boxes.map((box) => box.ariaLabel)"
    )
    return sorted(int(label.removeprefix("Face ")) for label in labels)


def test_clicked_faces_are_chosen_and_others_left_out(detect: Detect, screenshots: Path) -> None:
    page = detect("left")
    assert page.window.locator(".gpen-face").count() == 5
    assert pressed(page) == []
    everyone = page.pictures("PreviewImage")
    assert len(everyone) == 5
    face(page, 3).click()
    face(page, 1).click()
    assert page.widget(TYPE, "only_faces") == "1,3"
    assert pressed(page) == [1, 3]
    page.window.screenshot(path=screenshots / "faces 1 and 3.png")
    page.run_to_end()
    chosen = page.pictures("PreviewImage")
    assert len(chosen) == 2
    assert np.array_equal(chosen[0], everyone[1])
    assert np.array_equal(chosen[1], everyone[3])
    # The other boxes are still there.
    face(page, 1).click()
    face(page, 3).click()
    assert page.widget(TYPE, "only_faces") == ""
    assert pressed(page) == []


def test_boxes_lie_over_the_faces(detect: Detect) -> None:
    page = detect("left")
    stage = page.window.locator(".gpen-faces").bounding_box()
    boxes = {number: rest for _, number, *rest in page.output(TYPE)["gpen_faces"]}
    assert sorted(boxes) == [0, 1, 2, 3, 4]
    for number, (left, top, right, bottom) in boxes.items():
        box = face(page, number).bounding_box()
        assert box["x"] == pytest.approx(stage["x"] + left * stage["width"], abs=1.5)
        assert box["y"] == pytest.approx(stage["y"] + top * stage["height"], abs=1.5)
        assert box["width"] == pytest.approx((right - left) * stage["width"], abs=1.5)
        assert box["height"] == pytest.approx((bottom - top) * stage["height"], abs=1.5)


def test_a_choice_is_saved_with_the_workflow_and_can_be_undone(detect: Detect) -> None:
    page = detect("left")
    face(page, 2).click()
    state = "app.extensionManager.workflow.activeWorkflow.changeTracker.activeState"
    saved = f"{state}.nodes.find((node) => node.type === '{TYPE}').widgets_values"
    assert "2" in page.window.evaluate(saved)
    page.window.keyboard.press("Control+z")
    page.window.wait_for_function(
        "(type) => app.graph.nodes.find((node) => node.type === type)"
        "?.widgets.find((widget) => widget.name === 'only_faces').value === ''",
        arg=TYPE,
    )
    # The nodes are new ones; the boxes are back, and work.
    page.window.wait_for_function("document.querySelectorAll('.gpen-works .gpen-face').length === 5")
    page.window.wait_for_function("!document.querySelector('.gpen-face[aria-pressed=\"true\"]')")
    face(page, 4).click()
    assert page.widget(TYPE, "only_faces") == "4"


def test_faces_can_be_clicked_in_the_newer_renderer(detect: Detect, screenshots: Path) -> None:
    page = detect("left")
    if tuple(map(int, page.version.split(".")[:2])) < (1, 33):
        pytest.skip("frontends before 1.33 show no elements of widgets there")
    page.set("Comfy.VueNodes.Enabled", True)
    box = page.window.locator(".lg-node").get_by_role("button", name="Face 2", exact=True)
    box.click()
    assert page.widget(TYPE, "only_faces") == "2"
    assert box.get_attribute("aria-pressed") == "true"
    page.window.screenshot(path=screenshots / "faces, newer renderer.png")
    page.window.keyboard.press("Control+z")
    # The box is that of the node which undo made.
    page.window.wait_for_selector('.lg-node .gpen-face[aria-label="Face 2"][aria-pressed="false"]')
    box.click()
    assert page.widget(TYPE, "only_faces") == "2"


def test_boxes_follow_the_text(detect: Detect) -> None:
    page = detect("left")
    y = page.node(TYPE, "node.widgets.find((widget) => widget.name === 'only_faces').last_y")
    page.window.mouse.dblclick(500 + 260, 200 + y + 10)
    text = page.window.locator(".graphdialog input")
    text.fill("0, 2-3")
    text.press("Enter")
    page.window.wait_for_function("document.querySelectorAll('.gpen-face[aria-pressed=\"true\"]').length === 3")
    assert pressed(page) == [0, 2, 3]
    face(page, 1).click()
    assert page.widget(TYPE, "only_faces") == "0-3"


def test_faces_can_be_chosen_with_the_keyboard(detect: Detect) -> None:
    page = detect("left")
    face(page, 0).focus()
    page.window.keyboard.press("Space")
    page.window.keyboard.press("Tab")
    page.window.keyboard.press("Enter")
    assert len(pressed(page)) == 2
    assert 0 in pressed(page)


def test_a_batch_has_a_pager(detect: Detect, screenshots: Path) -> None:
    page = detect("left", "right")
    pager = page.window.get_by_role("group", name="Photos")
    assert pager.inner_text().split() == ["‹", "1", "/", "2", "›"]
    assert page.window.locator(".gpen-face").count() == 5
    first = page.look(".gpen-faces")
    page.window.get_by_role("button", name="Next photo").click()
    assert page.window.locator(".gpen-face").count() == 4
    assert np.abs(page.look(".gpen-faces").astype(int) - first).mean() > 20
    page.window.screenshot(path=screenshots / "faces of the second photo.png")
    page.window.get_by_role("button", name="Next photo").click()
    assert page.window.locator(".gpen-face").count() == 5


def test_a_photo_without_faces_has_no_boxes(detect: Detect) -> None:
    page = detect("left", "nobody")
    page.window.get_by_role("button", name="Next photo").click()
    assert page.window.locator(".gpen-face").count() == 0
    assert page.window.locator(".gpen-faces img").is_visible()


def test_connected_numbers_cannot_be_clicked(detect: Detect) -> None:
    page = detect("left")
    page.node(
        TYPE,
        """(() => {
            const text = LiteGraph.createNode("PrimitiveString");
            app.graph.add(text);
            return text.connect(0, node, node.inputs.findIndex((input) => input.widget?.name === "only_faces"));
        })()""",
    )
    face(page, 2).hover(force=True)
    page.window.wait_for_function("document.querySelectorAll('.gpen-face:disabled').length === 5")
    assert page.widget(TYPE, "only_faces") == ""


def test_page_and_node_read_text_alike(page: ComfyUIPage) -> None:
    texts = ["", " ", "0", "0,2,5-7", " 3 - 5 , 9 ", "5-5", "7-5", "1,,2", "a", "1-", "-1", "1;2", "1000000", "999999"]
    chance = random.Random(0)
    for _ in range(200):
        pairs = [(first, first + chance.choice((0, 0, 1, 4))) for first in chance.choices(range(15), k=4)]
        texts.append(",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in pairs))
    script = f"""async (texts) => {{
        const {{ parseSelection, isSelected }} = await {SELECTION};
        const upTo = [...Array(25).keys()];
        return texts.map((text) => {{
            const ranges = parseSelection(text);
            return ranges && upTo.filter((number) => isSelected(ranges, number));
        }});
    }}"""
    for text, numbers in zip(texts, page.window.evaluate(script, texts), strict=True):
        try:
            expected = sorted(number for number in parse_face_numbers(text) or () if number < 25)
        except OptionError:
            expected = None
        assert numbers == expected, text


def test_numbers_are_written_compactly(page: ComfyUIPage) -> None:
    script = f"async (text) => (await {SELECTION}).formatSelection((await {SELECTION}).parseSelection(text))"
    for text, written in (("7,5,6,0", "0,5-7"), ("1,2", "1,2"), ("0-3,2-9,4", "0-9"), ("", ""), ("5,4-4", "4,5")):
        assert page.window.evaluate(script, text) == written


def test_a_number_is_added_and_removed(page: ComfyUIPage) -> None:
    script = f"async ([text, number]) => (await {SELECTION}).toggled(text, number)"
    cases = (
        ("", 3, "3"),
        ("3", 3, ""),
        ("0,2", 1, "0-2"),
        ("0-4", 2, "0,1,3,4"),
        ("5-9", 5, "6-9"),
        ("5-9", 9, "5-8"),
        ("no numbers", 4, "4"),
    )
    for text, number, result in cases:
        assert page.window.evaluate(script, [text, number]) == result

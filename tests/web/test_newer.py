"""What only newer versions of ComfyUI's page have. In an older one these tests are skipped, and say what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpen.network.spec import Spec
from gpen.network.synthetic import SHARPEN, synthetic_weights
from gpen.options import OPTIONS
from gpen.weights.catalog import find_published
from tests.hosts.comfyui.server import CHECKOUT, ComfyUIServer
from tests.web.comfyui_page import SETTINGS, ComfyUIPage
from tests.web.conftest import Parts

WORKFLOWS = sorted((CHECKOUT / "example_workflows").glob("*.json"))
_BOXES = """() => [...document.querySelectorAll("[data-node-id]")].map((element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    const { scale } = app.canvas.ds;
    const node = app.graph.getNodeById(element.dataset.nodeId);
    return [`${node.title} (${node.id})`, ...[x, y, x + width, y + height].map((at) => at / scale)];
})"""
"""Title and box of each node, in units of the graph."""
_AROUND = """() => {
    const [inner] = app.graph.nodes;
    const photo = LiteGraph.createNode("LoadImage"), save = LiteGraph.createNode("SaveImage");
    for (const node of [photo, save]) app.graph.add(node);
    photo.widgets[0].value = "example.png";
    photo.connect(0, inner, 0);
    inner.connect(0, save, 0);
}"""
"""Puts the only node of the graph between a photo and a node that saves."""


@pytest.fixture(scope="module")
def comfyui(
    start_comfyui: Callable[..., ComfyUIServer],
    synthetic_models: dict[str, Path],
    upscale_x2: Path,
    parts: Parts,
) -> ComfyUIServer:
    """A server without GPEN models."""
    models = {path: file for path, file in synthetic_models.items() if path.startswith("facedetection/")}
    server = start_comfyui(models | {"upscale_models/RealESRGAN_x2plus.pth": upscale_x2})
    server.upload_image(parts.left, "example.png")
    server.post("/settings", SETTINGS | {"Comfy.Workflow.ShowMissingModelsWarning": True})
    return server


@pytest.fixture(scope="module")
def opened_page(comfyui: ComfyUIServer, browser: Any) -> Iterator[ComfyUIPage]:
    page = ComfyUIPage(browser, comfyui)
    yield page
    page.close()


@pytest.fixture
def model(comfyui: ComfyUIServer, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Puts the model that the workflows name where it belongs, as a user does, until the test ends."""
    weights = tmp_path / "GPEN-BFR-512.pth"
    torch.save(synthetic_weights(Spec(512, 512, 2, 1 / 8), kernel=SHARPEN), weights)
    path = f"facerestore_models/{weights.name}"
    yield lambda: comfyui.add_model(path, weights)
    (comfyui.base_dir / "models" / path).unlink(missing_ok=True)


def newer(page: ComfyUIPage) -> None:
    if tuple(map(int, page.version.split(".")[:2])) < (1, 49):
        pytest.skip(f"the page {page.version} is older")


def test_the_page_offers_the_download_of_a_missing_model(page: ComfyUIPage, model: Callable[[], Path]) -> None:
    """From the address in the workflow, for which an answer here stands in."""
    newer(page)
    asked: list[tuple[str, str]] = []

    def answer(route: Any) -> None:
        asked.append((route.request.method, route.request.url))
        headers = {"access-control-allow-origin": "*", "content-length": "284022236"}
        route.fulfill(status=200, headers=headers, body="" if route.request.method == "HEAD" else "the file")

    (address,) = (address for address in find_published("GPEN-BFR-512").addresses if "huggingface.co" in address)
    page.window.context.route("https://huggingface.co/**", answer)
    page.drop(CHECKOUT / "example_workflows" / "Restore a portrait.json")
    page.window.get_by_role("button", name="View details").first.click()
    group = page.window.get_by_test_id("error-group-missing-model")
    group.get_by_text("GPEN-BFR-512.pth").first.wait_for()
    with page.window.context.expect_page() as opened:
        group.get_by_test_id("missing-model-download").first.click()
    opened.value.wait_for_load_state()
    opened.value.close()
    assert ("GET", address) in asked
    assert {url for _, url in asked} == {address}
    model()
    group.get_by_test_id("missing-model-header-refresh").click()
    group.wait_for(state="detached")
    page.run_to_end()


@pytest.mark.parametrize(("name", "factor"), [("Restore faces", 1), ("Restore faces and enlarge", 2)])
def test_a_blueprint_is_added_from_the_list_of_nodes_and_runs(
    page: ComfyUIPage, parts: Parts, model: Callable[[], Path], name: str, factor: int
) -> None:
    newer(page)
    model()
    page.window.locator("#graph-canvas").focus()
    page.window.keyboard.press("r")
    page.window.get_by_text("Node definitions updated").first.wait_for()
    search = page.window.get_by_placeholder("Search...").first
    if not search.is_visible():
        page.window.keyboard.press("n")
    search.fill(name)
    page.window.get_by_text(name, exact=True).first.click()
    page.window.mouse.click(900, 600)
    page.window.wait_for_function("app.graph.nodes.length === 1")
    shown = page.window.evaluate(
        "app.graph.nodes[0].widgets.map((widget) => [widget.label ?? widget.name, widget.value])"
    )
    upscaler = [["Upscale model", "RealESRGAN_x2plus.pth"]] if factor > 1 else []
    assert shown == [["Model", "GPEN-BFR-512.pth"], *upscaler, ["Faces", "all"], ["Strength", 1]]
    page.window.evaluate(_AROUND)
    page.run_to_end()
    (saved,) = page.pictures("SaveImage")
    assert saved.shape == (257 * factor, 301 * factor, 3)
    # The upscale model repeats pixels; faces differ from that, and from the photo.
    untouched = parts.left.repeat(factor, axis=0).repeat(factor, axis=1)
    assert np.abs(saved.astype(int) - untouched).max() > 2


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_no_node_covers_another_in_the_newer_renderer(page: ComfyUIPage, file: Path, screenshots: Path) -> None:
    """Its widgets are taller than those of the classic one, and nodes grow with them."""
    newer(page)
    page.set("Comfy.VueNodes.Enabled", True)
    page.drop(file)
    number = len(json.loads(file.read_text("utf-8"))["nodes"])
    page.window.evaluate(
        "app.canvas.ds.scale = 0.4; app.canvas.ds.offset = [200, 200]; app.canvas.setDirty(true, true)"
    )
    page.window.wait_for_function(f"document.querySelectorAll('[data-node-id]').length === {number}")
    page.window.wait_for_timeout(500)
    page.window.screenshot(path=screenshots / f"{file.stem}, newer renderer.png")
    boxes = page.window.evaluate(_BOXES)
    assert len(boxes) == number
    covered = [
        (title, other, round(min(bottom, below) - max(top, above)))
        for index, (title, left, top, right, bottom) in enumerate(boxes)
        for other, start, above, end, below in boxes[index + 1 :]
        if max(left, start) < min(right, end) - 1 and max(top, above) < min(bottom, below) - 1
    ]
    assert covered == []


def test_the_page_replaces_the_nodes_of_facerestore_cf(page: ComfyUIPage, tmp_path: Path) -> None:
    """In a workflow that was made with that pack."""
    newer(page)

    def node(id: int, type: str, values: list[Any], inputs: list[Any], output: list[Any]) -> dict[str, Any]:
        places = {"id": id, "type": type, "pos": [400 * id, 100], "size": [300, 200]}
        places |= {"flags": {}, "order": id, "mode": 0}
        slots = [{"name": name, "type": kind, "link": link} for name, kind, link in inputs]
        outputs = [{"name": output[0], "type": output[0], "links": output[1]}] if output else []
        return places | {"inputs": slots, "outputs": outputs, "properties": {}, "widgets_values": values}

    slots = [("facerestore_model", "FACERESTORE_MODEL", 1), ("image", "IMAGE", 2)]
    nodes = [
        node(1, "FaceRestoreModelLoader", ["codeformer.pth"], [], ["FACERESTORE_MODEL", [1]]),
        node(2, "LoadImage", ["example.png", "image"], [], ["IMAGE", [2]]),
        node(3, "FaceRestoreCFWithModel", ["retinaface_resnet50", 0.5], slots, ["IMAGE", [3]]),
        node(4, "SaveImage", ["old"], [("images", "IMAGE", 3)], []),
    ]
    links = [[1, 1, 0, 3, 0, "FACERESTORE_MODEL"], [2, 2, 0, 3, 1, "IMAGE"], [3, 3, 0, 4, 0, "IMAGE"]]
    file = tmp_path / "old.json"
    head = {"last_node_id": 4, "last_link_id": 3, "groups": [], "config": {}, "extra": {}, "version": 0.4}
    file.write_text(json.dumps(head | {"nodes": nodes, "links": links}))
    page.drop(file)
    page.window.get_by_role("button", name="View details").first.click()
    page.window.get_by_role("button", name="Replace All").first.click()
    types = "app.graph.nodes.map((node) => node.type)"
    page.window.wait_for_function(f"{types}.filter((type) => type.startsWith('GPEN')).length === 2")
    assert page.window.evaluate(types) == ["GPENLoadModel", "LoadImage", "GPENRestoreFaces", "SaveImage"]
    linked = "node.inputs.filter(({ link }) => link != null).map(({ name }) => name)"
    assert page.node("GPENRestoreFaces", linked) == ["image", "model"]
    assert page.node("SaveImage", linked) == ["images"]
    assert page.widget("GPENLoadModel", "model_name") == "GPEN-BFR-512.pth"
    for name in ("detection_threshold", "mask", "strength", "upscale"):
        assert page.widget("GPENRestoreFaces", name) == OPTIONS[name].default

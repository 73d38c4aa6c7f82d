"""Takes the pictures of the nodes for the README, docs/ and the help pages.

They are replaced where $GPEN_SCREENSHOTS is the checkout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.drawings import segmentation_map
from tests.documented import grey_portrait, group, portrait, save_small, write_models
from tests.hosts.comfyui.graphs import GraphBuilder, Node
from tests.hosts.comfyui.server import CHECKOUT, ComfyUIServer
from tests.web.comfyui_page import SETTINGS, ComfyUIPage

_MARGIN = 16
_KINDS = ("COMBO", "INT", "FLOAT", "BOOLEAN", "STRING")
_PLAIN = SETTINGS | {
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
}
"""Only what the text is about."""

_SHOW = """([type, width, room, scale]) => {
    const node = app.graph.nodes.find((node) => node.type === type);
    for (const other of app.graph.nodes) if (other !== node) other.pos = [-9000, -9000];
    app.canvas.links_render_mode = LiteGraph.HIDDEN_LINK;
    node.setSize([width, node.computeSize()[1] + room]);
    node.pos = [0, 0];
    app.canvas.deselectAll();
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [100, 100];
    app.canvas.setDirty(true, true);
    const { x, y } = app.canvas.canvas.getBoundingClientRect();
    const title = LiteGraph.NODE_TITLE_HEIGHT;
    return {
        x: x + 100 * scale, y: y + (100 - title) * scale, width: width * scale, height: (node.size[1] + title) * scale
    };
}"""
"""Shows a node alone; returns where it is in the window."""

_FIT = """([left, top, width, height]) => {
    const title = LiteGraph.NODE_TITLE_HEIGHT;
    const items = [...app.graph.nodes, ...app.graph.groups];
    const tops = [...app.graph.nodes.map((node) => node.pos[1] - title), ...app.graph.groups.map(({ pos }) => pos[1])];
    const x1 = Math.min(...items.map(({ pos }) => pos[0])), y1 = Math.min(...tops);
    const [x2, y2] = [0, 1].map((axis) => Math.max(...items.map(({ pos, size }) => pos[axis] + size[axis])));
    const scale = Math.min(width / (x2 - x1), height / (y2 - y1));
    const { x, y } = app.canvas.canvas.getBoundingClientRect();
    app.canvas.links_render_mode = LiteGraph.SPLINE_LINK;
    app.canvas.deselectAll();
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [(left - x) / scale - x1, (top - y) / scale - y1];
    app.canvas.setDirty(true, true);
    const margin = 12;
    return {
        x: left - margin, y: top - margin, width: (x2 - x1) * scale + 2 * margin, height: (y2 - y1) * scale + 2 * margin
    };
}"""
"""Fits the graph into a part of the window; returns the part that it fills, with a margin."""


@pytest.fixture(scope="module")
def comfyui(
    start_comfyui: Callable[..., ComfyUIServer], detector_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> ComfyUIServer:
    """A server with models under their published names, as a user has them."""
    models = {f"facerestore_models/{file.name}": file for file in write_models(tmp_path_factory.mktemp("named"))}
    detector = "face_detection_yunet_2023mar.onnx"
    models[f"facedetection/{detector}"] = detector_weights / detector
    server = start_comfyui(models, arguments=["--force-fp32"])
    server.post("/settings", _PLAIN)
    for name, picture in (("portrait.png", portrait()), ("group.png", group()), ("grey.png", grey_portrait())):
        server.upload_image(picture, name)
    return server


@pytest.fixture(scope="module")
def opened_page(comfyui: ComfyUIServer, browser: Any) -> Iterator[ComfyUIPage]:
    page = ComfyUIPage(browser, comfyui)
    page.window.set_viewport_size({"width": 1400, "height": 1700})
    yield page
    page.close()


def _restore(graph: GraphBuilder, image: Node) -> Node:
    model = graph.add("GPENLoadModel", model_name="GPEN-BFR-512.pth")
    return graph.add("GPENRestoreFaces", image=image, model=model, detector=graph.add("GPENLoadFaceDetector"))


def _chosen(graph: GraphBuilder) -> tuple[Node, Node]:
    """The three faces, and those of them that are chosen: 0 and 2."""
    image = graph.add("LoadImage", image="group.png")
    detector = graph.add("GPENLoadFaceDetector")
    return image, graph.add("GPENDetectFaces", image=image, detector=detector, only_faces="0,2")


def _restoring(graph: GraphBuilder) -> None:
    graph.show(_restore(graph, graph.add("LoadImage", image="portrait.png")))


def _choosing(graph: GraphBuilder) -> None:
    image, faces = _chosen(graph)
    crops = graph.add("GPENCropFaces", image=image, faces=faces)
    graph.show(graph.add("GPENPasteFaces", image=image, crops=crops, faces=crops[1]))


def _colorizing(graph: GraphBuilder) -> None:
    image = graph.add("LoadImage", image="grey.png")
    model = graph.add("GPENLoadModel", model_name="GPEN-Colorization-1024.pth")
    detector = graph.add("GPENLoadFaceDetector")
    graph.show(graph.add("GPENColorizeFaces", image=image, model=model, detector=detector))


def _inpainting(graph: GraphBuilder) -> None:
    image = graph.add("LoadImage", image="portrait.png")
    model = graph.add("GPENLoadModel", model_name="GPEN-Inpainting-1024.pth")
    detector = graph.add("GPENLoadFaceDetector")
    graph.show(graph.add("GPENInpaintFaces", image=image, damage=image[1], model=model, detector=detector))


def _from_a_map(graph: GraphBuilder) -> None:
    photo = graph.photo(np.uint8(segmentation_map() * 255), "map.png")
    model = graph.add("GPENLoadModel", model_name="GPEN-Seg2face-512.pth")
    graph.show(graph.add("GPENSegmentationToFace", image=photo, model=model))


def _restoring_a_video(graph: GraphBuilder) -> None:
    video = graph.add("CreateVideo", images=graph.add("LoadImage", image="portrait.png"), fps=25.0)
    model = graph.add("GPENLoadModel", model_name="GPEN-BFR-512.pth")
    restored = graph.add("GPENRestoreVideo", video=video, model=model, detector=graph.add("GPENLoadFaceDetector"))
    graph.show(graph.add("GetVideoComponents", video=restored))


def _converting(graph: GraphBuilder) -> None:
    graph.add("GPENConvertCheckpoint", model_name="GPEN-BFR-512.pth")


def _widgets(server: ComfyUIServer, type: str) -> set[str]:
    """The names of the widgets that the server declares."""
    groups = server.object_info(type)["input"].values()
    return {name for group in groups for name, (kind, *_) in group.items() if isinstance(kind, list) or kind in _KINDS}


@pytest.mark.parametrize(
    ("type", "build", "width", "room"),
    [
        ("GPENRestoreFaces", _restoring, 360, 200),
        ("GPENLoadModel", _restoring, 340, 0),
        ("GPENLoadFaceDetector", _restoring, 340, 0),
        ("GPENDetectFaces", _choosing, 420, 70),
        ("GPENCropFaces", _choosing, 300, 0),
        ("GPENPasteFaces", _choosing, 340, 0),
        ("GPENColorizeFaces", _colorizing, 300, 70),
        ("GPENInpaintFaces", _inpainting, 300, 0),
        ("GPENSegmentationToFace", _from_a_map, 300, 70),
        ("GPENConvertCheckpoint", _converting, 450, 0),
        ("GPENRestoreVideo", _restoring_a_video, 360, 0),
    ],
)
def test_a_node_shows_all_its_widgets(
    page: ComfyUIPage,
    graph: GraphBuilder,
    type: str,
    build: Callable[[GraphBuilder], None],
    width: int,
    room: int,
    screenshots: Path,
) -> None:
    build(graph)
    page.load(graph.graph)
    page.forget_results()
    page.run_to_end()
    # The folder of a test says nothing to readers.
    page.node(
        type,
        "(node.widgets ?? []).filter((widget) => typeof widget.value === 'string').forEach((widget) => "
        f"widget.value = widget.value.replace({str(page.server.base_dir)!r}, 'ComfyUI'))",
    )
    place = page.window.evaluate(_SHOW, [type, width, room, 1.25])
    _rest(page)
    # One below the other, inside the node.
    shown = page.node(type, "(node.widgets ?? []).filter((w) => !w.hidden).map((w) => [w.name, w.last_y ?? w.y])")
    rows = [row for _, row in shown]
    assert rows == sorted(set(rows))
    assert rows[-1] < page.node(type, "node.size[1]")
    assert _widgets(page.server, type) <= {name for name, _ in shown}
    corner = {"x": place["x"] - _MARGIN, "y": place["y"] - _MARGIN}
    size = {side: place[side] + 2 * _MARGIN for side in ("width", "height")}
    help_picture = screenshots / "web" / "docs" / f"{type}.png"
    # The registry's pack, which these are in, has a limit of a megabyte.
    save_small(page.window.screenshot(clip=corner | size), help_picture, colors=48)


def _rest(page: ComfyUIPage) -> None:
    """Wait until pictures are decoded, with the mouse and the focus elsewhere."""
    page.window.evaluate("document.activeElement?.blur()")
    page.window.mouse.move(1000, 5)
    page.window.wait_for_timeout(500)
    page.settle()


@pytest.fixture
def fresh_page(comfyui: ComfyUIServer, browser: Any) -> Iterator[ComfyUIPage]:
    """A page without tabs of earlier tests."""
    page = ComfyUIPage(browser, comfyui)
    page.window.set_viewport_size({"width": 1400, "height": 1070})
    yield page
    assert page.our_errors() == []
    page.close()


def _run_workflow(page: ComfyUIPage, name: str, photo: str) -> None:
    page.drop(CHECKOUT / "example_workflows" / f"{name}.json")
    page.node("LoadImage", f"(node.widgets[0].value = {photo!r}, node.widgets[0].callback?.({photo!r}))")
    page.run_to_end()


def test_the_workflow_that_restores(fresh_page: ComfyUIPage, screenshots: Path) -> None:
    _run_workflow(fresh_page, "Restore a portrait", "portrait.png")
    fresh_page.window.wait_for_selector(".gpen-works .gpen-comparison")
    fresh_page.window.evaluate(_FIT, [72, 90, 1310, 990])
    _rest(fresh_page)
    save_small(fresh_page.window.screenshot(), screenshots / "docs" / "comfyui-restore.png")


def test_the_workflow_that_colorizes(fresh_page: ComfyUIPage, screenshots: Path) -> None:
    _run_workflow(fresh_page, "Colorize an old photograph", "grey.png")
    _save(fresh_page, [90, 90, 1290, 960], screenshots / "docs" / "comfyui-colorize.png")


def _run_with_pictures(page: ComfyUIPage, graph: GraphBuilder) -> None:
    """Run a graph, and wait for the faces and the slider on its nodes."""
    page.load(graph.graph)
    page.forget_results()
    page.run_to_end()
    page.window.wait_for_selector(".gpen-works .gpen-face")
    page.window.wait_for_selector(".gpen-works .gpen-comparison")


def _place(page: ComfyUIPage, places: dict[str, tuple[int, int, int, int]]) -> None:
    """Give the node of each type its left, top and width, and room below its widgets."""
    for type, (left, top, width, room) in places.items():
        page.node(type, f"(node.pos = [{left}, {top}], node.setSize([{width}, node.computeSize()[1] + {room}]))")


def _save(page: ComfyUIPage, fit: list[int], file: Path) -> None:
    place = page.window.evaluate(_FIT, fit)
    _rest(page)
    save_small(page.window.screenshot(clip=place), file)


def test_a_graph_with_chosen_faces(fresh_page: ComfyUIPage, graph: GraphBuilder, screenshots: Path) -> None:
    image, faces = _chosen(graph)
    model = graph.add("GPENLoadModel", model_name="GPEN-BFR-512.pth")
    graph.show(graph.add("GPENRestoreFaces", image=image, model=model, faces=faces))
    _run_with_pictures(fresh_page, graph)
    places = {
        "LoadImage": (0, 0, 300, 0),
        "GPENLoadFaceDetector": (0, 370, 300, 0),
        "GPENLoadModel": (0, 480, 300, 0),
        "GPENDetectFaces": (360, 0, 420, 80),
        "GPENRestoreFaces": (840, 0, 380, 65),
        "PreviewImage": (1280, 0, 360, 0),
    }
    _place(fresh_page, places)
    _save(fresh_page, [90, 110, 1290, 900], screenshots / "docs" / "comfyui-choose.png")


def test_the_wide_picture(fresh_page: ComfyUIPage, graph: GraphBuilder, screenshots: Path) -> None:
    image = graph.add("LoadImage", image="portrait.png")
    detector = graph.add("GPENLoadFaceDetector")
    faces = graph.add("GPENDetectFaces", image=image, detector=detector)
    model = graph.add("GPENLoadModel", model_name="GPEN-BFR-512.pth")
    restored = graph.add("GPENRestoreFaces", image=image, model=model, faces=faces)
    graph.show(restored)
    fresh_page.window.set_viewport_size({"width": 1800, "height": 1010})
    _run_with_pictures(fresh_page, graph)
    places = {
        "LoadImage": (0, 0, 360, 72),
        "GPENLoadModel": (0, 500, 360, 0),
        "GPENLoadFaceDetector": (0, 650, 360, 0),
        "GPENDetectFaces": (410, 0, 640, 426),
        "GPENRestoreFaces": (1100, 0, 420, 250),
        "PreviewImage": (1570, 0, 724, 384),
    }
    _place(fresh_page, places)
    _save(fresh_page, [90, 110, 1690, 880], screenshots / "docs" / "comfyui.png")

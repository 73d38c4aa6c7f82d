"""The example workflows, dropped onto the canvas of the real page."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from tests.web.comfyui_page import ComfyUIPage
from tests.web.conftest import Parts

FILES = sorted((Path(__file__).resolve().parents[2] / "example_workflows").glob("*.json"))


def types_in(file: Path) -> set[str]:
    return {node["type"] for node in json.loads(file.read_text(encoding="utf-8"))["nodes"]}


RUNNABLE = [file for file in FILES if not types_in(file) & {"CheckpointLoaderSimple", "LoadVideo"}]


def test_our_scripts_are_loaded(page: ComfyUIPage) -> None:
    assert page.window.evaluate("app.extensions.some((extension) => extension.name === 'GPEN.FaceRestore')")
    styles = "[...document.styleSheets].find((sheet) => sheet.href?.endsWith('/js/gpen.css'))?.cssRules.length"
    assert page.window.evaluate(styles) > 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_workflow_opens_without_missing_nodes(page: ComfyUIPage, file: Path, screenshots: Path) -> None:
    page.drop(file)
    known = set(page.window.evaluate("Object.keys(LiteGraph.registered_node_types)"))
    # The page registers its own nodes, such as notes, too.
    assert types_in(file) - known == set()
    # Newer frontends mark a missing Stable Diffusion checkpoint.
    errors = page.window.evaluate("app.graph.nodes.filter((node) => node.has_errors).map((node) => node.type)")
    assert set(errors) <= {"CheckpointLoaderSimple"}
    assert page.window.locator(".comfy-missing-nodes").count() == 0
    page.settle()
    page.window.screenshot(path=screenshots / f"{file.stem}.png")


@pytest.mark.parametrize("file", RUNNABLE, ids=lambda file: file.stem)
def test_a_workflow_runs(page: ComfyUIPage, file: Path, parts: Parts, screenshots: Path) -> None:
    is_map = "GPENSegmentationToFace" in types_in(file)
    page.server.upload_image(parts.left[:256, :256].copy() if is_map else parts.left, "example.png")
    page.drop(file)
    page.run_to_end()
    if "GPENRestoreFaces" in types_in(file):
        page.window.wait_for_selector(".gpen-works")
    saved = page.pictures("SaveImage")
    factor = 2 if "UpscaleModelLoader" in types_in(file) and "ImageUpscaleWithModel" not in types_in(file) else 1
    assert [picture.shape for picture in saved] == [(512, 512, 3) if is_map else (257 * factor, 301 * factor, 3)]
    page.settle()
    page.window.screenshot(path=screenshots / f"{file.stem}, after a run.png")


def test_the_workflow_of_a_video_runs(page: ComfyUIPage, screenshots: Path) -> None:
    (file,) = (file for file in FILES if "LoadVideo" in types_in(file))
    page.drop(file)
    page.run_to_end()
    (saved,) = (page.server.base_dir / "output" / "video").glob("restored*.mp4")
    with av.open(str(saved)) as film:
        assert len(list(film.decode(video=0))) == 5
    page.settle()
    page.window.screenshot(path=screenshots / f"{file.stem}, after a run.png")


def test_a_workflow_from_earlier_opens_with_its_values(page: ComfyUIPage, tmp_path: Path) -> None:
    """From when matching colours was a switch, a model had to be connected, and before option video existed."""
    file = next(file for file in FILES if file.stem == "Restore a portrait")
    workflow = json.loads(file.read_text(encoding="utf-8"))
    (node,) = (node for node in workflow["nodes"] if node["type"] == "GPENRestoreFaces")
    node["widgets_values"] = [0.35, "largest", "2", 7, "ffhq", "box", 0.2, 0.5, True, 2, 50]
    older = tmp_path / "older.json"
    older.write_text(json.dumps(workflow), encoding="utf-8")
    page.drop(older)
    assert page.widget("GPENRestoreFaces", "detection_threshold") == 0.35
    assert page.widget("GPENRestoreFaces", "max_megapixels") == 50
    assert page.widget("GPENRestoreFaces", "color_match") == "lab"
    assert page.widget("GPENRestoreFaces", "video") is False
    assert page.widget("GPENRestoreFaces", "grain") == 0
    linked = page.node("GPENRestoreFaces", "node.inputs.filter(({ link }) => link != null).map(({ name }) => name)")
    assert linked == ["image", "model", "detector"]

"""What only newer versions of ComfyUI have. In an older one the tests of it are skipped, and say what it lacks."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpen.options import OPTIONS
from gpen.tasks import RESTORE
from tests.hosts.comfyui.expected import colored
from tests.hosts.comfyui.graphs import GraphBuilder, restore, run
from tests.hosts.comfyui.server import ComfyUIServer, PromptRefusedError, comfyui_folder
from tests.hosts.comfyui.workflows import problems
from tests.hosts.conftest import Parts
from tests.hosts.loading import ROOT, from_checkout

BLUEPRINTS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "subgraphs").glob("*.json"))
}


def served(server: ComfyUIServer, path: str) -> Any:
    try:
        return json.loads(server.get(path))
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        pytest.skip(f"this version of ComfyUI does not serve {path}")


def test_the_blueprints_are_served(comfyui: ComfyUIServer) -> None:
    entries = served(comfyui, "/global_subgraphs")
    ours = {
        key: entry for key, entry in entries.items() if entry["info"]["node_pack"] == "custom_nodes.gpen-face-restore"
    }
    assert {entry["name"] for entry in ours.values()} == {"Restore faces", "Restore faces and enlarge"}
    for key, entry in ours.items():
        data = served(comfyui, f"/global_subgraphs/{key}")["data"]
        assert json.loads(data) == BLUEPRINTS[entry["name"]]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_fits_the_server(comfyui: ComfyUIServer, name: str) -> None:
    """Its nodes, and what is shown of their widgets. Its links have a form of their own: see tests/web."""
    (outer,) = BLUEPRINTS[name]["nodes"]
    (subgraph,) = BLUEPRINTS[name]["definitions"]["subgraphs"]
    assert outer["type"] == subgraph["id"]
    assert outer["title"] == subgraph["name"] == name
    links = {link["id"]: link for link in subgraph["links"]}
    inner = [link for link in links.values() if link["origin_id"] != -10 and link["target_id"] != -20]
    ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    nodes = json.loads(json.dumps(subgraph["nodes"]))
    info = comfyui.object_info()
    for end, links_of in ((subgraph["inputs"], "target_id"), (subgraph["outputs"], "origin_id")):
        for slot in end:
            assert [links[link]["type"] for link in slot["linkIds"]] == [slot["type"]]
            assert all(any(node["id"] == links[link][links_of] for node in nodes) for link in slot["linkIds"])
    # As a workflow, in which a photo comes from a loader and nothing is done to the result.
    photo = {"id": -10, "type": "LoadImage", "inputs": [], "widgets_values": ["example.png", "image"]}
    photo["outputs"] = [{"name": "IMAGE", "type": "IMAGE", "links": subgraph["inputs"][0]["linkIds"]}]
    photo["outputs"].append({"name": "MASK", "type": "MASK", "links": None})
    for node in nodes:
        for output in node["outputs"]:
            output["links"] = [link for link in output["links"] or [] if links[link]["target_id"] != -20]
    kept = [*inner, *(links[link] for link in subgraph["inputs"][0]["linkIds"])]
    workflow = {"nodes": [photo, *nodes], "links": [[link[end] for end in ends] for link in kept]}
    assert problems(workflow, info) == []
    for node_id, widget in outer["properties"]["proxyWidgets"]:
        (node,) = (node for node in nodes if str(node["id"]) == node_id)
        assert widget in info[node["type"]]["input"]["required"]


def test_float16_between_nodes(
    start_comfyui: Callable[..., ComfyUIServer], synthetic_models: dict[str, Path], parts: Parts
) -> None:
    """With --fp16-intermediates: outside the mask every value stays, inside only that rounding is added."""
    folder = comfyui_folder()
    assert folder is not None
    if "--fp16-intermediates" not in (folder / "comfy/cli_args.py").read_text(encoding="utf-8"):
        pytest.skip("this version of ComfyUI has no --fp16-intermediates")
    server = start_comfyui(synthetic_models, arguments=["--fp16-intermediates"])
    graph = GraphBuilder(server)
    loaded = graph.photo(parts.left, "left.png")
    shown = graph.show(loaded)
    result = restore(graph, loaded)
    (expected,) = server.images(graph.run(), shown.id)
    assert np.abs(expected.astype(int) - parts.left).max() <= 1
    result.passed_through(expected, largest=9)
    assert len(result.after) == 5
    # Crops, changed by other nodes, and pasted.
    chain = GraphBuilder(server)
    loaded = chain.photo(parts.left, "left.png")
    detector = chain.add("GPENLoadFaceDetector", detector="yunet")
    faces = chain.add("GPENDetectFaces", image=loaded, detector=detector)
    crops = chain.add("GPENCropFaces", image=loaded, faces=faces, size=256)
    inverted = chain.add("ImageInvert", image=crops)
    pasted = chain.add("GPENPasteFaces", image=loaded, crops=inverted, faces=crops[1])
    run(chain, pasted, pasted[1]).blended(0, expected, 255 - expected.astype(float), largest=12)


def test_boxes_stay_on_the_interactive_node_in_a_reloaded_page(comfyui: ComfyUIServer) -> None:
    info = comfyui.object_info("GPENDetectFaces")
    assert info["output_node"]
    if "has_intermediate_output" not in info:
        pytest.skip("this version of ComfyUI knows no intermediate outputs")
    assert info["has_intermediate_output"]


OLD_NODES = {
    "FaceRestoreModelLoader": {"model_name": "codeformer-v0.1.0.pth"},
    "FaceRestoreCFWithModel": {"facedetection": "retinaface_resnet50", "codeformer_fidelity": 0.5},
}
"""The nodes of facerestore_cf, with the values of their widgets."""


def test_the_nodes_of_facerestore_cf_are_replaced(
    comfyui: ComfyUIServer, parts: Parts, synthetic_models: dict[str, Path]
) -> None:
    """In a prompt of a workflow that was made with that pack."""
    served(comfyui, "/node_replacements")
    graph = GraphBuilder(comfyui)
    photo = graph.photo(parts.left, "left.png")
    for id, (type, values) in zip("89", OLD_NODES.items(), strict=True):
        graph.graph[id] = {"class_type": type, "inputs": dict(values), "_meta": {"title": type}}
    graph.graph["9"]["inputs"] |= {"facerestore_model": ["8", 0], "image": photo[0]}
    graph.graph["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}, "_meta": {"title": ""}}
    graph.graph[photo.id]["_meta"] = {"title": ""}
    with pytest.raises(PromptRefusedError, match=r"There is no model file 'GPEN-BFR-512\.pth'.*Put a model such as"):
        comfyui.submit(graph.graph)
    marker = synthetic_models["facerestore_models/marker-256.safetensors"]
    file = comfyui.add_model("facerestore_models/GPEN-BFR-512.pth", marker)
    try:
        (image,) = comfyui.images(comfyui.run(graph.graph), "10")
    finally:
        file.unlink()
    changed = np.abs(image.astype(int) - parts.left).max(axis=2) > 20
    assert changed.any()
    assert not changed.all()
    assert np.abs(image - colored(parts.left))[changed].mean() < 30


def test_every_value_of_the_node_has_its_default_in_a_replacement(comfyui: ComfyUIServer) -> None:
    replacements = served(comfyui, "/node_replacements")
    ours = {old: replacements[old][0] for old in OLD_NODES}
    for old, replacement in ours.items():
        new = comfyui.object_info(replacement["new_node_id"])["input"]
        mapped = {entry["new_id"] for entry in replacement["input_mapping"]}
        assert set(new["required"]) <= mapped <= set(new["required"] | new.get("optional", {}))
        assert replacement["old_widget_ids"] == list(OLD_NODES[old])
    names = from_checkout("gpen_hosts.comfyui.widgets").option_names(RESTORE)
    values = {entry["new_id"]: entry.get("set_value") for entry in ours["FaceRestoreCFWithModel"]["input_mapping"]}
    assert {name: values[name] for name in names} == {name: OPTIONS[name].default for name in names}

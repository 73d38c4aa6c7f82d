"""What only newer versions of ComfyUI have. In an older one the tests of it are skipped, and say what it lacks."""

from __future__ import annotations

import copy
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
from tests.hosts.comfyui.server import PACK, ComfyUIServer, Graph, PromptRefusedError, comfyui_folder
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
    ours = {key: entry for key, entry in entries.items() if entry["info"]["node_pack"] == f"custom_nodes.{PACK}"}
    assert {entry["name"] for entry in ours.values()} == {"Restore faces", "Restore faces and enlarge"}
    for key, entry in ours.items():
        data = served(comfyui, f"/global_subgraphs/{key}")["data"]
        assert json.loads(data) == BLUEPRINTS[entry["name"]]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_fits_the_server(comfyui: ComfyUIServer, name: str) -> None:
    """Its nodes, their values and the links between them; tests/web adds it to a graph, and runs it."""
    blueprint = copy.deepcopy(BLUEPRINTS[name])
    (outer,) = blueprint["nodes"]
    (subgraph,) = blueprint["definitions"]["subgraphs"]
    assert outer["type"] == subgraph["id"]
    assert outer["title"] == subgraph["name"] == name
    assert [slot["name"] for slot in outer["inputs"]] == [slot["name"] for slot in subgraph["inputs"]]
    links = {link["id"]: link for link in subgraph["links"]}
    nodes = {node["id"]: node for node in subgraph["nodes"]}
    info = comfyui.object_info()
    for slot in (slot for slot in subgraph["inputs"] if slot["name"] != "image"):
        (link,) = (links.pop(link) for link in slot["linkIds"])
        target = nodes[link["target_id"]]["inputs"][link["target_slot"]]
        assert target["type"] == link["type"] == slot["type"]
        assert target["widget"]["name"] in info[nodes[link["target_id"]]["type"]]["input"]["required"]
        target["link"] = None
    (result,) = (links.pop(link) for link in subgraph["outputs"][0]["linkIds"])
    source = nodes[result["origin_id"]]["outputs"][result["origin_slot"]]
    assert source["type"] == result["type"] == subgraph["outputs"][0]["type"]
    source["links"].remove(result["id"])
    # The rest as a workflow, in which a photo comes from a loader.
    outputs = [{"name": "IMAGE", "type": "IMAGE", "links": subgraph["inputs"][0]["linkIds"]}]
    outputs.append({"name": "MASK", "type": "MASK", "links": None})
    photo = {"id": -10, "type": "LoadImage", "inputs": [], "outputs": outputs}
    photo["widgets_values"] = ["example.png", "image"]
    ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    workflow = {"nodes": [photo, *nodes.values()], "links": [[link[end] for end in ends] for link in links.values()]}
    assert problems(workflow, info) == []


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


def old_prompt(server: ComfyUIServer, parts: Parts, loader: str, restorer: str) -> Graph:
    """A photo through them. loader, restorer: their ids."""
    graph = GraphBuilder(server)
    photo = graph.photo(parts.left, "left.png")
    for id, (type, values) in zip((loader, restorer), OLD_NODES.items(), strict=True):
        graph.graph[id] = {"class_type": type, "inputs": dict(values)}
    graph.graph[restorer]["inputs"] |= {"facerestore_model": [loader, 0], "image": photo[0]}
    graph.graph["10"] = {"class_type": "PreviewImage", "inputs": {"images": [restorer, 0]}}
    return {id: node | {"_meta": {"title": ""}} for id, node in graph.graph.items()}


def test_the_nodes_of_facerestore_cf_are_replaced(
    comfyui: ComfyUIServer, parts: Parts, synthetic_models: dict[str, Path]
) -> None:
    """In a prompt of a workflow that was made with that pack."""
    served(comfyui, "/node_replacements")
    # ComfyUI replaces them in an order that depends on their ids, differently after each start.
    prompts = [old_prompt(comfyui, parts, *ids) for ids in ("89", "ab", "xy", "pq", "mn", "st")]
    for prompt in prompts:
        with pytest.raises(PromptRefusedError, match=r"no model file 'GPEN-BFR-512\.pth'.*Put a model such as"):
            comfyui.submit(copy.deepcopy(prompt))
    marker = synthetic_models["facerestore_models/marker-256.safetensors"]
    file = comfyui.add_model("facerestore_models/GPEN-BFR-512.pth", marker)
    try:
        (image,) = comfyui.images(comfyui.run(prompts[0]), "10")
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
        mapped = {entry["new_id"] for entry in replacement["input_mapping"]} - {"facerestore_model"}
        assert set(new["required"]) <= mapped <= set(new["required"] | new.get("optional", {}))
        assert replacement["old_widget_ids"] == list(OLD_NODES[old])
    names = from_checkout("gpen_hosts.comfyui.widgets").option_names(RESTORE)
    values = {entry["new_id"]: entry.get("set_value") for entry in ours["FaceRestoreCFWithModel"]["input_mapping"]}
    assert {name: values[name] for name in names} == {name: OPTIONS[name].default for name in names}

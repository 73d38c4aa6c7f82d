"""The nodes in the real ComfyUI server: their schemas, files, errors, caching, progress and Cancel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gpen.errors import CheckpointError
from gpen.options import OPTIONS
from gpen.weights.checkpoint import inspect
from tests.hosts.comfyui.expected import colored
from tests.hosts.comfyui.graphs import MARKER, PASSTHROUGH, GraphBuilder, restore
from tests.hosts.comfyui.server import (
    PACK,
    ComfyUIServer,
    PromptError,
    PromptFailedError,
    PromptInterruptedError,
    PromptRefusedError,
)
from tests.hosts.comfyui.websocket import Listener
from tests.hosts.conftest import Parts

CHOOSING = ["detection_threshold", "select", "only_faces", "min_face_size"]
PASTING = ["mask", "feather", "strength", "color_match"]
GUARDING = ["identity_guard", "identity_action"]
OPTIONS_OF = {
    "GPENLoadModel": ["precision"],
    "GPENLoadFaceDetector": ["detector"],
    "GPENRestoreFaces": [
        *CHOOSING,
        "template",
        *PASTING,
        "upscale",
        "max_megapixels",
        *GUARDING,
        "video",
        "grain",
        "max_face_size",
        "skip_sharp",
        "occlusion",
        "texture",
    ],
    "GPENDetectFaces": [*CHOOSING, "video", "max_face_size", "skip_sharp"],
    "GPENCropFaces": ["template"],
    "GPENPasteFaces": [*PASTING, "grain", "occlusion"],
    "GPENConvertCheckpoint": [],
    "GPENColorizeFaces": [
        *CHOOSING,
        "template",
        "mask",
        "feather",
        "strength",
        "upscale",
        "max_megapixels",
        "video",
        "max_face_size",
        "occlusion",
        "texture",
    ],
    "GPENInpaintFaces": [
        *CHOOSING,
        "template",
        "feather",
        "damage_feather",
        "strength",
        "max_megapixels",
        "max_face_size",
    ],
    "GPENSegmentationToFace": ["max_megapixels"],
    "GPENRestoreVideo": [
        *CHOOSING,
        "template",
        *PASTING,
        "max_megapixels",
        *GUARDING,
        "grain",
        "max_face_size",
        "skip_sharp",
        "occlusion",
        "texture",
    ],
}
OWN = {"size", "half", "aligned", "codec", "crf", "steady", "deinterlace"}
"""Widgets that are no options."""
OUTPUTS_OF = {
    "GPENLoadModel": ["GPEN_MODEL"],
    "GPENLoadFaceDetector": ["GPEN_FACE_DETECTOR"],
    "GPENRestoreFaces": ["IMAGE", "IMAGE", "IMAGE", "MASK"],
    "GPENDetectFaces": ["GPEN_FACES", "IMAGE"],
    "GPENCropFaces": ["IMAGE", "GPEN_FACES"],
    "GPENPasteFaces": ["IMAGE", "MASK"],
    "GPENConvertCheckpoint": ["STRING"],
    "GPENColorizeFaces": ["IMAGE", "IMAGE", "MASK"],
    "GPENInpaintFaces": ["IMAGE", "MASK"],
    "GPENSegmentationToFace": ["IMAGE"],
    "GPENRestoreVideo": ["VIDEO"],
}


@pytest.fixture
def model_file(comfyui: ComfyUIServer) -> Iterator[Path]:
    """A path in the folder of models; files there are removed after the test."""
    file = comfyui.base_dir / "models/facerestore_models/of-this-test.pth"
    yield file
    for created in file.parent.glob(f"{file.stem}*"):
        created.unlink()


def inputs_of(comfyui: ComfyUIServer, node: str) -> dict[str, Any]:
    """Type and arguments by name, in the page's order."""
    groups = comfyui.object_info(node)["input"]
    return {name: declared for group in ("required", "optional") for name, declared in groups.get(group, {}).items()}


def model_names(comfyui: ComfyUIServer, node: str = "GPENLoadModel", name: str = "model_name") -> list[str]:
    return list(inputs_of(comfyui, node)[name][1]["options"])


def test_the_nodes(comfyui: ComfyUIServer) -> None:
    ours = {name: info for name, info in comfyui.object_info().items() if info["python_module"].endswith(PACK)}
    assert {name: info["output"] for name, info in ours.items()} == OUTPUTS_OF
    shows = {name for name, info in ours.items() if info["output_node"]}
    assert shows == {"GPENRestoreFaces", "GPENDetectFaces", "GPENConvertCheckpoint"}


@pytest.mark.parametrize("node", OUTPUTS_OF)
def test_everything_has_a_text(comfyui: ComfyUIServer, node: str) -> None:
    info = comfyui.object_info(node)
    inputs = inputs_of(comfyui, node)
    texts = [info["display_name"], info["description"], info["category"], *info["output_name"]]
    texts += [declared[1].get("tooltip", "") for declared in inputs.values()]
    texts += info["output_tooltips"]
    assert all(isinstance(text, str) and text.strip() for text in texts)
    assert len(info["output_tooltips"]) == len(info["output_name"]) == len(info["output"])
    assert inputs


@pytest.mark.parametrize("node", OPTIONS_OF)
def test_inputs_agree_with_the_options(comfyui: ComfyUIServer, node: str) -> None:
    kinds = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}
    widgets = {name: declared for name, declared in inputs_of(comfyui, node).items() if "default" in declared[1]}
    inputs = {name: declared for name, declared in widgets.items() if name not in OWN}
    assert list(inputs) == OPTIONS_OF[node]
    for name, (kind, arguments) in inputs.items():
        option = OPTIONS[name]
        assert kind == ("COMBO" if option.choices else kinds[option.kind])
        assert arguments["default"] == option.default
        assert arguments["tooltip"] == option.help
        assert arguments["display_name"] == option.label
        assert arguments.get("options", []) == list(option.choices)
        limits = [arguments.get(key) for key in ("min", "max", "step")]
        assert limits == [option.minimum, option.maximum, option.step]


def test_every_option_has_an_input() -> None:
    assert {name for names in OPTIONS_OF.values() for name in names} == set(OPTIONS)


@pytest.mark.parametrize(("name", "value"), [("upscale", 9.0), ("strength", -0.1), ("mask", "triangle")])
def test_values_out_of_range_are_refused(graph: GraphBuilder, parts: Parts, name: str, value: Any) -> None:
    """By the host or, as unknown choices are on some of its versions, by the node."""
    with pytest.raises(PromptError, match=rf"(?i)\b{name}\b"):
        restore(graph, graph.photo(parts.left, "left.png"), **{name: value})


@pytest.mark.parametrize(("saved", "method"), [(True, "lab"), (False, "none")])
def test_matching_colours_may_still_be_yes_or_no(graph: GraphBuilder, parts: Parts, saved: bool, method: str) -> None:
    """As in graphs in API form from when it was a switch."""
    photo = graph.photo(parts.left, "left.png")
    first = restore(graph, photo, weights=MARKER, color_match=saved)
    second = restore(graph, photo, weights=MARKER, color_match=method)
    assert np.array_equal(first.images[0], second.images[0])
    assert np.array_equal(first.after[0], second.after[0])


@pytest.mark.parametrize(("saved", "method"), [(True, "lab"), (False, "none")])
def test_it_may_be_linked_to_a_switch(graph: GraphBuilder, parts: Parts, saved: bool, method: str) -> None:
    photo = graph.photo(parts.left, "left.png")
    first = restore(graph, photo, weights=MARKER, color_match=graph.add("PrimitiveBoolean", value=saved))
    second = restore(graph, photo, weights=MARKER, color_match=method)
    assert np.array_equal(first.images[0], second.images[0])


@pytest.mark.parametrize(("name", "takes"), [("model", "GPEN_MODEL"), ("strength", "FLOAT"), ("mask", "COMBO")])
def test_links_of_another_type_are_refused(graph: GraphBuilder, parts: Parts, name: str, takes: str) -> None:
    photo = graph.photo(parts.left, "left.png")
    node = graph.add("GPENRestoreFaces", image=photo, model=graph.add("GPENLoadModel", model_name=MARKER))
    graph.graph[node.id]["inputs"][name] = photo[0]
    graph.show(node)
    with pytest.raises(PromptRefusedError, match=f"{name} is linked to an output of type IMAGE, and takes {takes}"):
        graph.run()


def test_an_unknown_way_to_match_colours_is_refused_in_gpens_words(graph: GraphBuilder, parts: Parts) -> None:
    """By a check of ours: newer versions of ComfyUI compare the value with the list, which lacks booleans."""
    with pytest.raises(PromptRefusedError, match="Match colours is 'hue', which is not one of its choices: none, lab"):
        restore(graph, graph.photo(parts.left, "left.png"), color_match="hue")


def test_a_new_file_is_found(comfyui: ComfyUIServer, synthetic_models: dict[str, Path], model_file: Path) -> None:
    assert model_names(comfyui) == [MARKER, PASSTHROUGH]
    comfyui.add_model(
        "facerestore_models/of-this-test/inside.safetensors", synthetic_models[f"facerestore_models/{MARKER}"]
    )
    model_file.write_bytes(b"")
    (model_file.parent / "of-this-test.txt").write_text("no weights")
    inside = model_file.parent / "of-this-test" / "inside.safetensors"
    try:
        new = [model_file.name, f"of-this-test{os.sep}inside.safetensors"]
        assert model_names(comfyui) == [MARKER, *new, PASSTHROUGH]
        assert model_names(comfyui, "GPENConvertCheckpoint", "weight_file") == model_names(comfyui)
    finally:
        inside.unlink()
        inside.parent.rmdir()


@pytest.mark.parametrize("kind", ["text", "other network", "empty"])
def test_a_wrong_file_is_explained_in_gpens_words(graph: GraphBuilder, model_file: Path, kind: str) -> None:
    if kind == "other network":
        torch.save({"params_ema": {"stylegan_decoder.style_mlp.1.weight": torch.zeros(512, 512)}}, model_file)
    else:
        model_file.write_text("No weights, but a web page." if kind == "text" else "")
    with pytest.raises(CheckpointError) as expected:
        inspect(model_file)
    model = graph.add("GPENLoadModel", model_name=model_file.name)
    graph.show(graph.add("GPENRestoreFaces", image=graph.add("EmptyImage"), model=model))
    with pytest.raises(PromptFailedError) as caught:
        graph.run()
    # The server's process names the command that there is: see test_installations.py.
    pack = graph.server.base_dir / "custom_nodes" / "gpen-face-restore"
    said = caught.value.message.strip().replace(f'"python -m gpen models" in the folder {pack}', '"gpen models"')
    assert said == str(expected.value)
    assert caught.value.details["node_type"] == "GPENLoadModel"
    # Newer pages show it with the module in front, so it must not contain the path that ComfyUI loads the pack by.
    assert caught.value.details["exception_type"] == "gpen.errors.CheckpointError"


def test_a_model_for_another_task_restores_nothing(graph: GraphBuilder, synthetic_models: dict[str, Path]) -> None:
    name = "GPEN-Seg2face-512.safetensors"
    put = graph.server.add_model(f"facerestore_models/{name}", synthetic_models[f"facerestore_models/{PASSTHROUGH}"])
    try:
        assert name in model_names(graph.server)
        model = graph.add("GPENLoadModel", model_name=name)
        graph.show(graph.add("GPENRestoreFaces", image=graph.add("EmptyImage"), model=model))
        with pytest.raises(PromptFailedError, match="Choose a model for the task restore"):
            graph.run()
    finally:
        put.unlink()


@pytest.mark.parametrize("node", ["GPENLoadModel", "GPENConvertCheckpoint"])
def test_a_missing_file_is_refused_with_what_to_do(graph: GraphBuilder, node: str) -> None:
    folder = graph.server.base_dir / "models/facerestore_models"
    name = {"GPENLoadModel": "model_name", "GPENConvertCheckpoint": "weight_file"}[node]
    model = graph.add(node, **{name: "gone.pth"})
    if node == "GPENLoadModel":
        graph.show(graph.add("GPENRestoreFaces", image=graph.add("EmptyImage"), model=model))
    with pytest.raises(PromptRefusedError) as caught:
        graph.run()
    assert "There is no model file 'gone.pth' in ComfyUI's model folders. Put a model such as" in caught.value.message
    assert f"into {folder}, then refresh" in caught.value.message


def test_a_missing_detector_is_named_with_its_folder(graph: GraphBuilder, parts: Parts) -> None:
    detector = graph.add("GPENLoadFaceDetector", detector="retinaface_resnet50")
    graph.add("GPENDetectFaces", image=graph.photo(parts.left, "left.png"), detector=detector)
    folder = graph.server.base_dir / "models/facedetection"
    with pytest.raises(PromptFailedError, match=rf"put detection_Resnet50_Final\.pth into {re.escape(str(folder))}"):
        graph.run()


def test_nothing_runs_again_unless_a_file_changed(
    graph: GraphBuilder, parts: Parts, synthetic_models: dict[str, Path], model_file: Path
) -> None:
    server, path = graph.server, f"facerestore_models/{model_file.stem}.safetensors"
    server.add_model(path, synthetic_models[f"facerestore_models/{PASSTHROUGH}"])
    photo = graph.photo(parts.left, "left.png")
    restore(graph, photo, weights=f"{model_file.stem}.safetensors").passed_through(parts.left)
    ids = {node["class_type"]: id for id, node in graph.graph.items()}
    assert server.run(graph.graph).cached() == set(graph.graph)

    server.add_model(path, synthetic_models[f"facerestore_models/{MARKER}"])
    again = server.run(graph.graph)
    assert {ids["LoadImage"], ids["GPENLoadFaceDetector"]} <= again.cached()
    assert not again.cached() & {ids["GPENLoadModel"], ids["GPENRestoreFaces"]}
    shown = server.view(again.outputs[ids["GPENRestoreFaces"]]["images"][0])
    assert np.abs(shown.astype(int) - parts.left).max() > 30
    assert server.run(graph.graph).cached() == set(graph.graph)

    os.utime(server.base_dir / "models/facedetection/face_detection_yunet_2023mar.onnx")
    again = server.run(graph.graph)
    assert {ids["LoadImage"], ids["GPENLoadModel"]} <= again.cached()
    assert not again.cached() & {ids["GPENLoadFaceDetector"], ids["GPENRestoreFaces"]}


def test_progress_shows_each_face(graph: GraphBuilder, parts: Parts) -> None:
    photos = graph.batch(graph.photo(parts.left, "left.png"), graph.photo(parts.right, "right.png"))
    detector = graph.add("GPENLoadFaceDetector", detector="yunet")
    faces = graph.add("GPENDetectFaces", image=photos, detector=detector)
    model = graph.add("GPENLoadModel", model_name=MARKER)
    restored = graph.add("GPENRestoreFaces", image=photos, model=model, faces=faces)
    after = graph.show(restored[1])
    with Listener(graph.server) as page:
        finished = graph.server.wait(graph.server.submit(graph.graph, page.client))
        heard = page.until("execution_success")
    steps = [(data["node"], data["value"], data["max"]) for kind, data in heard if kind == "progress"]
    found, restored_steps = [(faces.id, done, 2) for done in (1, 2)], [(restored.id, done, 9) for done in range(10)]
    # Each photo begins with a report of what is done already.
    assert list(dict.fromkeys(steps)) == found + restored_steps
    crops = graph.server.images(finished, after.id)
    previews = [data for kind, data in heard if kind == "preview"]
    assert len(previews) == len(crops) == 9
    for crop, preview in zip(crops, previews, strict=True):
        small = cv2.resize(preview, crop.shape[:2], interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - crop).mean() < 3


def test_cancel_midway_and_a_good_run_afterwards(graph: GraphBuilder, parts: Parts) -> None:
    server = graph.server
    left = graph.photo(parts.left, "left.png")
    detector = graph.add("GPENLoadFaceDetector", detector="yunet")
    model = graph.add("GPENLoadModel", model_name=MARKER)
    many = graph.add("RepeatImageBatch", image=left, amount=24)
    restored = graph.add("GPENRestoreFaces", image=many, model=model, detector=detector)
    graph.show(restored)
    with Listener(server) as page:
        prompt = server.submit(graph.graph, page.client)
        page.until("preview")
        server.interrupt()
        heard = page.until("execution_interrupted", "execution_success", "execution_error")
    assert heard[-1][0] == "execution_interrupted"
    with pytest.raises(PromptInterruptedError) as caught:
        server.wait(prompt)
    assert caught.value.details["node_id"] == restored.id
    done = [data["value"] for kind, data in heard if kind == "progress"]
    assert max(done, default=0) < 60

    after = GraphBuilder(server)
    result = restore(after, after.photo(parts.right, "right.png"), weights=MARKER)
    result.blended(0, parts.right, colored(parts.right))


@pytest.mark.parametrize("half", [False, True])
def test_a_converted_file_loads(
    graph: GraphBuilder, parts: Parts, synthetic_models: dict[str, Path], model_file: Path, half: bool
) -> None:
    torch.save(load_file(synthetic_models[f"facerestore_models/{PASSTHROUGH}"]), model_file)
    target = model_file.with_name(f"{model_file.stem}{'-fp16' if half else ''}.safetensors")
    path = graph.add("GPENConvertCheckpoint", weight_file=model_file.name, half=half)
    shown = graph.add("PreviewAny", source=path)
    finished = graph.run()
    assert finished.outputs[shown.id]["text"] == [str(target)]
    assert finished.outputs[path.id]["text"][0].startswith(f"{target}, ")
    assert inspect(target).dtypes == ("float16" if half else "float32",)
    assert target.name in model_names(graph.server)

    after = GraphBuilder(graph.server)
    restore(after, after.photo(parts.left, "left.png"), weights=target.name).passed_through(parts.left)

    written = target.stat().st_mtime_ns
    assert "converted from this file before" in graph.run().outputs[path.id]["text"][0]
    assert target.stat().st_mtime_ns == written
    target.unlink()
    assert "verified" in graph.run().outputs[path.id]["text"][0]
    assert target.is_file()

    torch.save(load_file(synthetic_models[f"facerestore_models/{MARKER}"]), model_file)
    with pytest.raises(PromptFailedError, match=re.escape(f"{target} already exists")):
        graph.run()

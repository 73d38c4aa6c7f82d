"""The example workflows in the real ComfyUI server."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gpen.weights.catalog import find_published
from tests.compare.face_networks import restoreformer
from tests.hosts.comfyui.expected import are_crops, enlarged, faces_in
from tests.hosts.comfyui.graphs import PASSTHROUGH
from tests.hosts.comfyui.server import CHECKOUT, ComfyUIServer, Finished
from tests.hosts.comfyui.workflows import Workflow, problems, to_api
from tests.hosts.conftest import Parts
from tests.video.clips import Clip, look, make

WORKFLOWS = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((CHECKOUT / "example_workflows").glob("*.json"))
}
PORTRAIT, OLD_PHOTO = "Restore a portrait", "Old photograph x2 with an upscale model"
COLORIZE, FILL_IN, FROM_MAP = "Colorize an old photograph", "Fill in damage", "Segmentation map to face"
COMPARE, ONE_NODE = "Compare with another face model", "Restore a photo with one node"
VIDEO = "Restore a video"
NEED_STABLE_DIFFUSION = {"Generate then restore", "Crop img2img paste"}


@pytest.fixture(scope="module")
def info(comfyui: ComfyUIServer) -> dict[str, Any]:
    return comfyui.object_info()


@pytest.fixture
def example_files(
    comfyui: ComfyUIServer, parts: Parts, synthetic_models: dict[str, Path], upscale_x2: Path, tmp_path: Path
) -> Iterator[ComfyUIServer]:
    """The server with the files that the workflows name: synthetic networks, and part of a photo."""
    file = tmp_path / "network.pth"
    torch.save(load_file(synthetic_models[f"facerestore_models/{PASSTHROUGH}"]), file)
    names = ("GPEN-BFR-512", "GPEN-Colorization-1024", "GPEN-Inpainting-1024", "GPEN-Seg2face-512")
    networks = [comfyui.add_model(f"facerestore_models/{name}.pth", file) for name in names]
    comfyui.add_model("upscale_models/RealESRGAN_x2plus.pth", upscale_x2)
    comfyui.upload_image(parts.left, "example.png")
    yield comfyui
    for network in networks:
        network.unlink()


def nodes(workflow: Workflow, kind: str) -> list[dict[str, Any]]:
    return [node for node in workflow["nodes"] if node["type"] == kind]


def pictures(server: ComfyUIServer, finished: Finished, workflow: Workflow, kind: str) -> list[list[Any]]:
    """The images that each node of a kind saved or shows."""
    return [server.images(finished, str(node["id"])) for node in nodes(workflow, kind)]


def test_the_examples() -> None:
    assert set(WORKFLOWS) == {
        PORTRAIT,
        OLD_PHOTO,
        COLORIZE,
        FILL_IN,
        FROM_MAP,
        COMPARE,
        ONE_NODE,
        VIDEO,
        *NEED_STABLE_DIFFUSION,
    }
    for name, workflow in WORKFLOWS.items():
        assert bool(nodes(workflow, "CheckpointLoaderSimple")) == (name in NEED_STABLE_DIFFUSION)
        with Image.open(CHECKOUT / "example_workflows" / f"{name}.jpg") as thumbnail:
            assert thumbnail.format == "JPEG"
        for loader in nodes(workflow, "GPENLoadModel"):
            file = loader["widgets_values"][0]
            assert find_published(Path(file).stem).saved_as == file


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_node_link_and_value_fits_the_server(info: dict[str, Any], name: str) -> None:
    assert problems(WORKFLOWS[name], info) == []


def _replace_type(workflow: Workflow) -> None:
    nodes(workflow, "GPENRestoreFaces")[0]["type"] = "GPENRestoreFace"


def _disconnect(workflow: Workflow) -> None:
    nodes(workflow, "GPENRestoreFaces")[0]["inputs"][0]["link"] = None


def _forget_link(workflow: Workflow) -> None:
    workflow["links"].pop()


def _change_link(workflow: Workflow) -> None:
    workflow["links"][0][5] = "MASK"


def _drop_value(workflow: Workflow) -> None:
    nodes(workflow, "GPENRestoreFaces")[0]["widgets_values"].pop(0)


def _add_value(workflow: Workflow) -> None:
    nodes(workflow, "GPENRestoreFaces")[0]["widgets_values"].append(1)


def _exceed(workflow: Workflow) -> None:
    nodes(workflow, "GPENRestoreFaces")[0]["widgets_values"][10] = 1e6


def _choose(workflow: Workflow) -> None:
    nodes(workflow, "GPENLoadFaceDetector")[0]["widgets_values"] = ["haar"]


def _rename_output(workflow: Workflow) -> None:
    nodes(workflow, "GPENRestoreFaces")[0]["outputs"][1]["name"] = "faces"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_replace_type, "GPENRestoreFace is no node"),
        (_disconnect, "GPENRestoreFaces.image is not connected"),
        (_forget_link, "at the end of links that are not there"),
        (_change_link, "link 1 is MASK, from IMAGE to IMAGE"),
        (_drop_value, "GPENRestoreFaces.detection_threshold is 'all', no FLOAT"),
        (_add_value, "GPENRestoreFaces has the value 1 too many"),
        (_exceed, "GPENRestoreFaces.max_megapixels is 1000000.0, not between 0.1 and 10000.0"),
        (_choose, "GPENLoadFaceDetector.detector is 'haar', not one of ['auto'"),
        (_rename_output, "GPENRestoreFaces has the outputs"),
    ],
)
def test_damage_would_be_seen(info: dict[str, Any], damage: Callable[[Workflow], None], sentence: str) -> None:
    workflow = copy.deepcopy(WORKFLOWS[PORTRAIT])
    damage(workflow)
    assert any(sentence in problem for problem in problems(workflow, info))


def test_the_portrait_runs(
    example_files: ComfyUIServer, info: dict[str, Any], parts: Parts, detector_weights: Path
) -> None:
    workflow = WORKFLOWS[PORTRAIT]
    graph = to_api(workflow, info)
    for node in graph.values():
        if node["class_type"] == "GPENLoadModel":
            node["inputs"]["precision"] = "fp32"  # some CPUs choose bfloat16, which is too coarse to compare crops with
    finished = example_files.run(graph)
    ((saved,),) = pictures(example_files, finished, workflow, "SaveImage")
    assert np.abs(saved.astype(int) - parts.left).max() <= 7
    faces = faces_in(parts.left, detector_weights)
    assert len(faces) == 5
    before, after = pictures(example_files, finished, workflow, "PreviewImage")
    are_crops(before, parts.left, faces)
    are_crops(after, parts.left, faces)


def test_one_node_restores(
    example_files: ComfyUIServer, info: dict[str, Any], parts: Parts, detector_weights: Path
) -> None:
    workflow = WORKFLOWS[ONE_NODE]
    finished = example_files.run(to_api(workflow, info))
    ((saved,),) = pictures(example_files, finished, workflow, "SaveImage")
    assert np.abs(saved.astype(int) - parts.left).max() <= 7
    (node,) = nodes(workflow, "GPENRestoreFaces")
    assert [slot["name"] for slot in node["inputs"] if slot["link"] is not None] == ["image"]
    for face in faces_in(parts.left, detector_weights):
        x, y = np.rint(face.landmarks[2]).astype(int)
        assert not np.array_equal(saved[y - 8 : y + 8, x - 8 : x + 8], parts.left[y - 8 : y + 8, x - 8 : x + 8])


def test_the_old_photo_runs(
    example_files: ComfyUIServer, info: dict[str, Any], parts: Parts, detector_weights: Path
) -> None:
    workflow = WORKFLOWS[OLD_PHOTO]
    finished = example_files.run(to_api(workflow, info))
    ((saved,),) = pictures(example_files, finished, workflow, "SaveImage")
    ((shown,),) = pictures(example_files, finished, workflow, "PreviewImage")
    mask = shown / 255
    # The upscale model repeats pixels, so the faces differ from it.
    nearest = parts.left.repeat(2, axis=0).repeat(2, axis=1)
    assert saved.shape == nearest.shape
    assert np.abs(saved - (nearest * (1 - mask) + enlarged(parts.left, 2) * mask)).max() <= 8
    assert np.abs(saved.astype(int) - nearest)[mask > 0.9].max() > 20
    for face in faces_in(parts.left, detector_weights):
        for x, y in np.rint(face.landmarks * 2).astype(int):
            assert mask[y, x].min() > 0.95


def test_the_grey_photo_runs(
    example_files: ComfyUIServer, info: dict[str, Any], parts: Parts, detector_weights: Path
) -> None:
    workflow = WORKFLOWS[COLORIZE]
    finished = example_files.run(to_api(workflow, info))
    ((saved,),) = pictures(example_files, finished, workflow, "SaveImage")
    weights = [0.299, 0.587, 0.114]
    assert np.abs(saved @ weights - parts.left @ weights).max() <= 1.01
    # This network adds no colours, so the photo's own tint disappears.
    for face in faces_in(parts.left, detector_weights):
        for x, y in np.rint(face.landmarks).astype(int):
            assert np.ptp(saved[y, x].astype(int)) <= 2
    assert np.array_equal(saved[-12:], parts.left[-12:])
    (faces,) = pictures(example_files, finished, workflow, "PreviewImage")
    assert len(faces) == 5


def test_the_damaged_photo_runs(
    example_files: ComfyUIServer, info: dict[str, Any], parts: Parts, detector_weights: Path
) -> None:
    x, y = np.rint(faces_in(parts.left, detector_weights)[2].center).astype(int)
    alpha = np.full(parts.left.shape[:2], 255, np.uint8)
    alpha[y - 6 : y + 6, x - 6 : x + 6] = 0
    example_files.upload_image(np.dstack([parts.left, alpha]), "example.png")
    workflow = WORKFLOWS[FILL_IN]
    finished = example_files.run(to_api(workflow, info))
    ((saved,),) = pictures(example_files, finished, workflow, "SaveImage")
    ((mask,),) = pictures(example_files, finished, workflow, "PreviewImage")
    # This network returns the white that damage is painted with.
    assert saved[y, x].min() >= 250
    far = np.ones(mask.shape[:2], bool)
    far[y - 12 : y + 12, x - 12 : x + 12] = False
    assert not mask[far].any()
    assert np.array_equal(saved[far], parts.left[far])


def test_the_map_runs(example_files: ComfyUIServer, info: dict[str, Any], parts: Parts) -> None:
    example_files.upload_image(np.ascontiguousarray(parts.left[:256, :256]), "example.png")
    workflow = WORKFLOWS[FROM_MAP]
    finished = example_files.run(to_api(workflow, info))
    ((saved,),) = pictures(example_files, finished, workflow, "SaveImage")
    assert np.abs(saved.astype(int) - parts.left[:256, :256]).max() <= 1


def test_the_video_runs(example_files: ComfyUIServer, info: dict[str, Any], parts: Parts, tmp_path: Path) -> None:
    picture = parts.left[:256, :300]
    clip = make(tmp_path / "example.mp4", Clip(frames=5, sounds=1, picture=lambda _: picture))
    example_files.upload_image(clip, "example.mp4")
    workflow = WORKFLOWS[VIDEO]
    finished = example_files.run(to_api(workflow, info))
    ((saved,),) = (finished.outputs[str(node["id"])]["images"] for node in nodes(workflow, "SaveVideo"))
    before, after = look(clip), look(example_files.base_dir / "output" / saved["subfolder"] / saved["filename"])
    assert after.times == before.times
    assert len(after.packets[1]) == len(before.packets[1])
    assert "5 faces of 5 restored in 5 frames" in example_files.log


def test_another_face_model_runs_beside_gpen(
    example_files: ComfyUIServer, info: dict[str, Any], parts: Parts, detector_weights: Path, tmp_path: Path
) -> None:
    color = (0.8, 0.5, 0.1)
    example_files.add_model("upscale_models/RestoreFormer.pth", restoreformer(tmp_path / "RestoreFormer.pth", color))
    workflow = WORKFLOWS[COMPARE]
    finished = example_files.run(to_api(workflow, info))
    (other,), (ours,) = pictures(example_files, finished, workflow, "SaveImage")
    assert np.abs(ours.astype(int) - parts.left).max() <= 7
    touched = np.zeros(parts.left.shape[:2], bool)
    faces = faces_in(parts.left, detector_weights)
    for face in faces:
        for x, y in np.rint(face.landmarks).astype(int):
            assert np.abs(other[y, x] - np.array(color) * 255).max() <= 2
        x0, y0, x1, y1 = (round(v) for v in face.box)
        reach = y1 - y0
        touched[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach] = True
    assert not touched.all()
    assert np.array_equal(other[~touched], parts.left[~touched])
    shown = pictures(example_files, finished, workflow, "PreviewImage")
    assert [[crop.shape for crop in crops] for crops in shown] == [[(512, 512, 3)] * 5, [(256, 256, 3)] * 5]

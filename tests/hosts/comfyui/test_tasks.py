"""The nodes that colorize, inpaint and make faces from segmentation maps, in the real ComfyUI server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import save_file

from gpen.network.synthetic import synthetic_weights
from tests.hosts.comfyui.expected import faces_in
from tests.hosts.comfyui.graphs import PASSTHROUGH, GraphBuilder, Node, run
from tests.hosts.comfyui.server import ComfyUIServer, PromptFailedError
from tests.hosts.conftest import SPEC, Parts

Y = np.array([0.299, 0.587, 0.114])
TINT = {"color_matrix": (0.8 * np.eye(3)).tolist(), "color_bias": (0.2, -0.05, -0.2)}
WHITE = np.clip((0.8 + np.array([0.2, -0.05, -0.2]) + 1) / 2, 0, 1) * 255
"""The tinting network's output for white."""


@pytest.fixture(scope="module")
def weights(comfyui: ComfyUIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Names of networks whose files name their task, by task; "untold" names none.

    "segmentation" is the name that earlier versions wrote for "synthesize".
    """
    folder, names, added = tmp_path_factory.mktemp("tasks"), {}, []
    for task in ("colorize", "inpaint", "segmentation", "untold"):
        tensors = synthetic_weights(SPEC, **({} if task == "segmentation" else TINT))
        names[task] = f"{task}-256.safetensors"
        save_file(tensors, folder / names[task], None if task == "untold" else {"task": task})
        added.append(comfyui.add_model(f"facerestore_models/{names[task]}", folder / names[task]))
    yield names
    for file in added:
        file.unlink()


def model(graph: GraphBuilder, name: str) -> Node:
    return graph.add("GPENLoadModel", model_name=name)


def yunet(graph: GraphBuilder) -> Node:
    return graph.add("GPENLoadFaceDetector", detector="yunet")


def painted(parts: Parts, *lines: tuple[slice, slice]) -> NDArray[np.uint8]:
    """The left part, transparent where it is damaged; the server turns that into a mask."""
    alpha = np.full(parts.left.shape[:2], 255, np.uint8)
    for rows, columns in lines:
        alpha[rows, columns] = 0
    return np.dstack([parts.left, alpha])


@pytest.mark.parametrize("name", ["colorize", "untold"])
def test_colours_change_but_luma_does_not(
    graph: GraphBuilder, parts: Parts, weights: dict[str, str], name: str
) -> None:
    photo = graph.photo(parts.left, "left.png")
    node = graph.add("GPENColorizeFaces", image=photo, model=model(graph, weights[name]), detector=yunet(graph))
    result = run(graph, node, node[2], after=node[1])
    ((image,), (touched,)) = result.images, result.touched
    assert len(result.after) == 5
    assert np.array_equal(image[~touched], parts.left[~touched])
    assert np.abs(image @ Y - parts.left @ Y).max() <= 1.01  # the server truncates to 8 bits
    coloured = result.masks[0] > 0.9
    light = coloured & (parts.left.mean(axis=2) > 100) & (parts.left.mean(axis=2) < 200)
    assert (image[..., 0] - image[..., 2])[light].mean() > 40


@pytest.mark.parametrize("task", ["colorize", "inpaint"])
def test_what_is_protected_stays(graph: GraphBuilder, parts: Parts, weights: dict[str, str], task: str) -> None:
    middle = parts.left.shape[1] // 2
    mask = np.zeros_like(parts.left)
    mask[:, :middle] = 255
    photo, uploaded = graph.photo(parts.left, "left.png"), graph.server.upload_image(mask, "protect.png")
    more = {"protect": graph.add("LoadImageMask", image=uploaded, channel="red")}
    if task == "inpaint":
        everywhere = graph.server.upload_image(np.full_like(parts.left, 255), "damage.png")
        more["damage"] = graph.add("LoadImageMask", image=everywhere, channel="red")
    kind, masks = {"colorize": ("GPENColorizeFaces", 2), "inpaint": ("GPENInpaintFaces", 1)}[task]
    node = graph.add(kind, image=photo, model=model(graph, weights[task]), detector=yunet(graph), **more)
    result = run(graph, node, node[masks])
    assert np.array_equal(result.images[0][:, :middle], parts.left[:, :middle])
    assert not result.touched[0][:, :middle].any()
    assert np.abs(result.images[0] - parts.left)[:, middle + 8 :].max() > 20


def test_one_chosen_face_from_another_node(
    graph: GraphBuilder, parts: Parts, weights: dict[str, str], detector_weights: Path
) -> None:
    photo = graph.photo(parts.left, "left.png")
    faces = graph.add("GPENDetectFaces", image=photo, detector=yunet(graph), only_faces="2")
    node = graph.add("GPENColorizeFaces", image=photo, model=model(graph, weights["colorize"]), faces=faces)
    result = run(graph, node, node[2], after=node[1])
    assert len(result.after) == 1
    for number, face in enumerate(faces_in(parts.left, detector_weights)):
        x, y = np.rint(face.center).astype(int)
        assert (result.masks[0][y, x] > 0.9) == (number == 2)


def test_aligned_portraits_are_coloured_whole_one_by_one(
    graph: GraphBuilder, parts: Parts, weights: dict[str, str]
) -> None:
    squares = [part[:200, :200] for part in (parts.left, parts.right)]
    batch = graph.batch(*(graph.photo(square, f"{i}.png") for i, square in enumerate(squares)))
    node = graph.add("GPENColorizeFaces", image=batch, model=model(graph, weights["colorize"]), aligned=True)
    result = run(graph, node, node[2], after=node[1])
    assert len(result.after) == 2
    for image, square, touched in zip(result.images, squares, result.touched, strict=True):
        assert touched.all()
        assert np.abs(image @ Y - square @ Y).max() <= 1.01


@pytest.mark.parametrize("name", ["inpaint", "untold"])
def test_transparent_pixels_are_filled_in(
    graph: GraphBuilder, parts: Parts, weights: dict[str, str], detector_weights: Path, name: str
) -> None:
    x, y = np.rint(faces_in(parts.left, detector_weights)[2].center).astype(int)
    hole = (slice(y - 6, y + 6), slice(x - 6, x + 6))
    photo = graph.photo(painted(parts, hole), "drawn.png")
    node = graph.add(
        "GPENInpaintFaces", image=photo, damage=photo[1], model=model(graph, weights[name]), detector=yunet(graph)
    )
    result = run(graph, node, node[1])
    ((image,), (touched,), (mask,)) = result.images, result.touched, result.masks
    assert np.array_equal(image[~touched], parts.left[~touched])
    assert (mask[hole] > 0.99).all()
    # The crop overshoots a little at the hard edge of the white.
    assert np.abs(image[y - 2 : y + 2, x - 2 : x + 2] - WHITE).max() <= 6
    assert touched.sum() < 20 * 20


def test_one_mask_for_all_frames_and_damage_beside_the_faces(
    graph: GraphBuilder, parts: Parts, weights: dict[str, str], comfyui: ComfyUIServer
) -> None:
    frames = graph.batch(graph.photo(parts.left, "l.png"), graph.photo(parts.nobody, "n.png"))
    mask = graph.photo(painted(parts, (slice(0, 257), slice(140, 146))), "mask.png")[1]
    node = graph.add(
        "GPENInpaintFaces", image=frames, damage=mask, model=model(graph, weights["inpaint"]), detector=yunet(graph)
    )
    result = run(graph, node, node[1])
    assert np.array_equal(result.images[1], parts.nobody)
    assert result.touched[0][:, 130:160].any()
    assert not result.touched[0][:, :120].any()
    log = comfyui.log
    assert "Photo 1: 100% of the damage lies outside the faces and stays." in log


def test_a_map_becomes_a_face(graph: GraphBuilder, weights: dict[str, str]) -> None:
    labels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = graph.photo(labels.repeat(4, axis=0).repeat(4, axis=1), "map.png")
    node = graph.add("GPENSegmentationToFace", image=image, model=model(graph, weights["segmentation"]))
    shown = graph.show(node)
    (face,) = graph.server.images(graph.run(), shown.id)
    assert np.abs(face.astype(int) - labels.repeat(4, axis=0).repeat(4, axis=1)).max() <= 1


@pytest.mark.parametrize(
    ("kind", "task", "example"),
    [
        ("GPENColorizeFaces", "colorize", "GPEN-Colorization-1024"),
        ("GPENInpaintFaces", "inpaint", "GPEN-Inpainting-1024"),
        ("GPENSegmentationToFace", "synthesize", "GPEN-Seg2face-512"),
        ("GPENRestoreFaces", "restore", "GPEN-BFR-512"),
    ],
)
def test_a_model_for_another_task_is_refused_with_both_names(
    graph: GraphBuilder, parts: Parts, weights: dict[str, str], kind: str, task: str, example: str
) -> None:
    other = "inpaint" if task != "inpaint" else "colorize"
    photo = graph.photo(parts.left[:100, :100], "left.png")
    more: dict[str, Any] = {"damage": photo[1]} if kind == "GPENInpaintFaces" else {}
    graph.show(graph.add(kind, image=photo, model=model(graph, weights[other]), **more))
    with pytest.raises(PromptFailedError) as caught:
        graph.run()
    assert f"{weights[other]} is a GPEN 256 " in str(caught.value)
    assert f"Choose a model for the task {task}, such as {example}." in str(caught.value)


def test_without_its_model_the_identity_guard_is_off_and_the_log_says_so(graph: GraphBuilder, parts: Parts) -> None:
    photo = graph.photo(parts.left, "left.png")
    guard = {"identity_guard": 0.3, "identity_action": "keep"}
    loaded = model(graph, PASSTHROUGH)
    node = graph.add("GPENRestoreFaces", image=photo, model=loaded, detector=yunet(graph), **guard)
    run(graph, node, node[3]).passed_through(parts.left)
    assert "The identity guard is off. arcface (recognition_arcface_ir_se50.pth) is not on this" in graph.server.log


def test_a_model_without_a_task_still_restores(graph: GraphBuilder, parts: Parts) -> None:
    photo = graph.photo(parts.left, "left.png")
    node = graph.add("GPENRestoreFaces", image=photo, model=model(graph, PASSTHROUGH), detector=yunet(graph))
    run(graph, node, node[3]).passed_through(parts.left)

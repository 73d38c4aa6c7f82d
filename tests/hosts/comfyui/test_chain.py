"""Faces found, cropped, changed by ComfyUI's own nodes and pasted back, in the real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.hosts.comfyui.expected import are_crops, enlarged, faces_in
from tests.hosts.comfyui.graphs import GraphBuilder, Node, Result, run
from tests.hosts.comfyui.server import PromptFailedError
from tests.hosts.conftest import Parts

YELLOW, GREY = (255, 214, 10), (170, 170, 170)


def detect(graph: GraphBuilder, image: Node, **inputs: Any) -> Node:
    detector = graph.add("GPENLoadFaceDetector", detector="yunet")
    return graph.add("GPENDetectFaces", image=image, detector=detector, **inputs)


def paste(graph: GraphBuilder, image: Node, crops: Any, cropped: Node, **inputs: Any) -> Result:
    """Paste crops; ``after`` are these, ``before`` the original ones."""
    pasted = graph.add("GPENPasteFaces", image=image, crops=crops, faces=cropped[1], **inputs)
    return run(graph, pasted, pasted[1], after=crops[0] if isinstance(crops, Node) else crops, before=cropped[0])


@pytest.fixture
def three(graph: GraphBuilder, parts: Parts) -> Node:
    """A batch: five faces, none, four."""
    frames = (parts.left, parts.nobody, parts.right)
    return graph.batch(*(graph.photo(frame, f"frame{index}.png") for index, frame in enumerate(frames)))


@pytest.mark.parametrize("options", [{"size": 256}, {"size": 512, "template": "ffhq"}], ids=str)
def test_cropped_and_pasted_back(
    graph: GraphBuilder, three: Node, parts: Parts, detector_weights: Path, options: dict[str, Any]
) -> None:
    crops = graph.add("GPENCropFaces", image=three, faces=detect(graph, three), **options)
    result = paste(graph, three, crops, crops, mask="box")
    result.passed_through(parts.left, parts.nobody, parts.right)
    assert [touched.any() for touched in result.touched] == [True, False, True]
    are_crops(result.before[:5], parts.left, faces_in(parts.left, detector_weights), **options)
    are_crops(result.before[5:], parts.right, faces_in(parts.right, detector_weights), **options)


def test_only_the_faces_change(graph: GraphBuilder, three: Node, parts: Parts) -> None:
    crops = graph.add("GPENCropFaces", image=three, faces=detect(graph, three), size=256)
    result = paste(graph, three, graph.add("ImageInvert", image=crops), crops)
    result.blended(0, parts.left, 255 - parts.left)
    result.blended(2, parts.right, 255 - parts.right)
    assert np.array_equal(result.images[1], parts.nobody)


def test_crops_of_another_size(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    crops = graph.add("GPENCropFaces", image=left, faces=detect(graph, left), size=256)
    sides = {"upscale_method": "bicubic", "width": 600, "height": 600, "crop": "disabled"}
    result = paste(graph, left, graph.add("ImageScale", image=crops, **sides), crops)
    assert result.after[0].shape == (600, 600, 3)
    result.passed_through(parts.left)


def test_pasted_into_the_same_photo_enlarged(graph: GraphBuilder, parts: Parts) -> None:
    left, larger = graph.photo(parts.left, "left.png"), enlarged(parts.left, 2)
    canvas = graph.photo(larger, "left2.png")
    crops = graph.add("GPENCropFaces", image=left, faces=detect(graph, left), size=256)
    result = paste(graph, canvas, graph.add("ImageInvert", image=crops), crops)
    result.blended(0, larger, 255 - larger)


def test_cropped_from_the_same_photo_enlarged(graph: GraphBuilder, parts: Parts) -> None:
    left, larger = graph.photo(parts.left, "left.png"), enlarged(parts.left, 2)
    canvas = graph.photo(larger, "left2.png")
    crops = graph.add("GPENCropFaces", image=canvas, faces=detect(graph, left), size=512)
    result = paste(graph, canvas, graph.add("ImageInvert", image=crops), crops)
    result.blended(0, larger, 255 - larger)


def test_alpha_stays(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    half = graph.add("SolidMask", value=0.5, width=301, height=257)
    joined = graph.add("JoinImageWithAlpha", image=left, alpha=half)
    crops = graph.add("GPENCropFaces", image=joined, faces=detect(graph, joined), size=256)
    result = paste(graph, joined, crops, crops)
    assert np.array_equal(result.images[0][..., 3], np.full(parts.left.shape[:2], 127))
    result.passed_through(np.dstack([parts.left, np.full(parts.left.shape[:2], 127, np.uint8)]))
    assert result.touched[0].any()


def test_strength_zero_changes_nothing(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    crops = graph.add("GPENCropFaces", image=left, faces=detect(graph, left))
    result = paste(graph, left, graph.add("ImageInvert", image=crops), crops, strength=0.0)
    assert np.array_equal(result.images[0], parts.left)


@pytest.mark.parametrize(("number", "count"), [(4, "4 crops"), (1, "1 crop"), (10, "10 crops")])
def test_one_crop_for_each_face(graph: GraphBuilder, parts: Parts, number: int, count: str) -> None:
    left = graph.photo(parts.left, "left.png")
    crops = graph.add("GPENCropFaces", image=left, faces=detect(graph, left), size=64)
    twice = graph.add("RepeatImageBatch", image=crops, amount=2)
    some = graph.add("ImageFromBatch", image=twice, length=number)
    with pytest.raises(PromptFailedError, match=rf"^There (is|are) {count} for 5 faces; there must be one for each\."):
        paste(graph, left, some, crops)


def test_crops_must_stay_square(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    crops = graph.add("GPENCropFaces", image=left, faces=detect(graph, left), size=64)
    sides = {"upscale_method": "area", "width": 64, "height": 48, "crop": "disabled"}
    with pytest.raises(PromptFailedError, match=r"^A crop is 64 x 48 pixels; it has to stay a square"):
        paste(graph, left, graph.add("ImageScale", image=crops, **sides), crops)


def test_faces_that_were_never_cropped(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    found = detect(graph, left)
    graph.show(graph.add("GPENPasteFaces", image=left, crops=left, faces=found))
    with pytest.raises(PromptFailedError, match=r"^These faces were detected but not cropped"):
        graph.run()


def test_faces_of_other_photos(graph: GraphBuilder, three: Node, parts: Parts) -> None:
    found = detect(graph, graph.photo(parts.left, "left.png"))
    graph.show(graph.add("GPENCropFaces", image=three, faces=found))
    with pytest.raises(PromptFailedError, match=r"^The faces were found in 1 photo of 301 x 257 pixels; here are 3"):
        graph.run()


def test_without_a_face_the_chain_warns_and_changes_nothing(graph: GraphBuilder, parts: Parts) -> None:
    nobody = graph.photo(parts.nobody, "nobody.png")
    crops = graph.add("GPENCropFaces", image=nobody, faces=detect(graph, nobody), size=128)
    before = len(graph.server.log)
    result = paste(graph, nobody, graph.add("ImageInvert", image=crops), crops)
    assert np.array_equal(result.images[0], parts.nobody)
    assert not result.touched[0].any()
    assert [crop.shape for crop in result.before] == [(128, 128, 3)]
    assert not result.before[0].any()
    log = graph.server.log[before:]
    assert "There is no face to crop: the crop is black." in log
    assert "There is no face to paste: the photos stay as they are." in log


def test_numbered_boxes(graph: GraphBuilder, three: Node, parts: Parts, detector_weights: Path) -> None:
    """On the node, in its output image, and as positions in fractions of the image."""
    found = detect(graph, three, only_faces="1-2")
    passed_on = graph.show(found[1])
    finished = graph.run()
    frames = (parts.left, parts.nobody, parts.right)
    drawings = graph.server.images(finished, passed_on.id)
    for drawing, seen in zip(drawings, graph.server.images(finished, found.id), strict=True):
        assert np.array_equal(drawing, seen)
    expected = []
    for index, frame in enumerate(frames):
        untouched = np.ones(frame.shape[:2], np.bool_)
        for number, face in enumerate(faces_in(frame, detector_weights)):
            x0, y0, x1, y1 = face.box
            expected.append([index, number, *((v + 0.5) / s for v, s in zip(face.box, (301, 257) * 2, strict=True))])
            assert is_drawn(drawings[index], round(x0), round((y0 + y1) / 2), YELLOW if number in (1, 2) else GREY)
            # With space for the number above the box, and for the width of the line.
            untouched[max(0, round(y0) - 22) : round(y1) + 3, max(0, round(x0) - 3) : round(x1) + 3] = False
        assert np.array_equal(drawings[index][untouched], frame[untouched])
    assert np.array_equal(drawings[1], parts.nobody)
    boxes = finished.outputs[found.id]["gpen_faces"]
    assert sorted(boxes) == [pytest.approx(box, abs=1e-4) for box in expected]


def is_drawn(drawing: NDArray[np.uint8], x: int, y: int, color: tuple[int, int, int]) -> bool:
    """Whether the pixel or one beside it has the colour, up to smoothing."""
    around = drawing[y, max(0, x - 1) : x + 2].astype(int)
    return bool((np.abs(around - color).max(axis=1) < 40).any())


def test_what_is_protected_stays(graph: GraphBuilder, parts: Parts) -> None:
    left, middle = graph.photo(parts.left, "left.png"), parts.left.shape[1] // 2
    mask = np.zeros_like(parts.left)
    mask[:, :middle] = 255
    protect = graph.add("LoadImageMask", image=graph.server.upload_image(mask, "protect.png"), channel="red")
    crops = graph.add("GPENCropFaces", image=left, faces=detect(graph, left), size=256)
    inverted = graph.add("ImageInvert", image=crops)
    free, kept = (paste(graph, left, inverted, crops, **more) for more in ({}, {"protect": protect}))
    assert np.array_equal(kept.images[0][:, :middle], parts.left[:, :middle])
    assert not np.array_equal(free.images[0][:, :middle], parts.left[:, :middle])
    far = np.s_[:, middle + 8 :]
    assert np.array_equal(kept.images[0][far], free.images[0][far])
    assert kept.touched[0][far].any()

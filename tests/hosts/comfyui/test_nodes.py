"""GPENRestoreFaces in the real ComfyUI server, with networks whose output is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.face_parsers import write_parser
from tests.hosts.comfyui.expected import are_crops, colored, enlarged, faces_in
from tests.hosts.comfyui.graphs import MARKER, GraphBuilder, restore
from tests.hosts.comfyui.server import PromptFailedError
from tests.hosts.conftest import Parts
from tests.made_occluder import COVER, write_occluder


def mask_input(graph: GraphBuilder, mask: NDArray[np.bool_], name: str) -> Any:
    picture = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    return graph.add("LoadImageMask", image=graph.server.upload_image(picture, name), channel="red")


def test_the_whole_photo_passes_through(
    graph: GraphBuilder, solvay_pixels: NDArray[np.uint8], detector_weights: Path
) -> None:
    result = restore(graph, graph.photo(solvay_pixels, "solvay.png"))
    faces = faces_in(solvay_pixels, detector_weights)
    assert len(faces) == len(result.after) == 29
    result.passed_through(solvay_pixels)
    are_crops(result.before, solvay_pixels, faces)
    are_crops(result.after, solvay_pixels, faces)
    for face in faces:
        for x, y in np.rint(face.landmarks).astype(int):
            assert result.masks[0][y, x] > 0.95


def test_a_batch_of_three_through_marker_weights(graph: GraphBuilder, parts: Parts, detector_weights: Path) -> None:
    frames = (parts.left, parts.nobody, parts.right)
    images = graph.batch(*(graph.photo(frame, f"frame{index}.png") for index, frame in enumerate(frames)))
    result = restore(graph, images, weights=MARKER)
    result.blended(0, parts.left, colored(parts.left))
    result.blended(2, parts.right, colored(parts.right))
    assert np.array_equal(result.images[1], parts.nobody)
    assert not result.touched[1].any()
    assert (len(result.before), len(result.after)) == (9, 9)
    are_crops(result.before[:5], parts.left, faces_in(parts.left, detector_weights))
    are_crops(result.before[5:], parts.right, faces_in(parts.right, detector_weights))
    for before, after in zip(result.before, result.after, strict=True):
        assert np.abs(after - colored(before.astype(np.uint8))).max() <= 2


def test_the_node_shows_the_photo_before_and_after(graph: GraphBuilder, parts: Parts) -> None:
    result = restore(graph, graph.photo(parts.left, "left.png"), weights=MARKER)
    after, before = (graph.server.view(result.shown[key][0]) for key in ("images", "gpen_before"))
    assert len(result.shown["images"]) == len(result.shown["gpen_before"]) == 1
    assert np.array_equal(before, parts.left)
    assert np.array_equal(after, result.images[0])


def test_alpha_stays(graph: GraphBuilder, parts: Parts) -> None:
    alpha = np.linspace(0, 255, parts.left.shape[1]).astype(np.uint8)
    rgba = np.dstack([parts.left, np.broadcast_to(alpha, parts.left.shape[:2])])
    loaded = graph.photo(rgba, "rgba.png")
    joined = graph.add("JoinImageWithAlpha", image=loaded, alpha=loaded[1])
    shown = graph.show(joined)
    result = restore(graph, joined)
    expected = graph.server.images(graph.run(), shown.id)[0]
    assert np.abs(expected.astype(int) - rgba).max() <= 1
    result.passed_through(expected)
    assert np.array_equal(result.images[0][..., 3], expected[..., 3])
    assert len(result.after) == 5


def test_a_grey_photo(graph: GraphBuilder, parts: Parts) -> None:
    grey = parts.left.mean(axis=2).astype(np.uint8)
    loaded = graph.photo(grey, "grey.png")
    shown = graph.show(loaded)
    result = restore(graph, loaded)
    # Newer versions read grey files to within one level.
    expected = graph.server.images(graph.run(), shown.id)[0]
    assert np.abs(expected.astype(int) - grey[..., None]).max() <= 1
    result.passed_through(expected)
    assert len(result.after) == 5


@pytest.mark.parametrize(("width", "height"), [(301, 257), (1, 1), (3, 2), (700, 5)])
def test_without_a_face_nothing_changes(graph: GraphBuilder, parts: Parts, width: int, height: int) -> None:
    photo = cv2.resize(parts.nobody, (width, height), interpolation=cv2.INTER_AREA)
    result = restore(graph, graph.photo(photo, "nobody.png"))
    result.nothing_done(photo)
    assert result.after[0].shape == result.before[0].shape == (256, 256, 3)


@pytest.mark.parametrize("size", [(257, 301), (100, 120), (1028, 1204)])
def test_only_faces_in_the_region(
    graph: GraphBuilder, parts: Parts, detector_weights: Path, size: tuple[int, int]
) -> None:
    """A mask of any size is resized to the photo."""
    mask = np.zeros(size, np.bool_)
    mask[:, : size[1] // 2] = True
    region = mask_input(graph, mask, f"region{size[0]}.png")
    result = restore(graph, graph.photo(parts.left, "left.png"), region=region)
    are_crops(result.before, parts.left, faces_in(parts.left, detector_weights)[:2])
    result.passed_through(parts.left)
    assert not result.touched[0][:, 190:].any()


def test_the_mask_of_a_photo_without_alpha_has_no_faces(graph: GraphBuilder, parts: Parts) -> None:
    photo = graph.photo(parts.left, "left.png")
    restore(graph, photo, region=photo[1]).nothing_done(parts.left)


def test_a_region_for_each_photo(graph: GraphBuilder, parts: Parts) -> None:
    left, right = graph.photo(parts.left, "left.png"), graph.photo(parts.right, "right.png")
    whole, empty = graph.add("SolidMask", value=1.0, width=301, height=257), right[1]
    regions = graph.add("MaskToImage", mask=whole), graph.add("MaskToImage", mask=empty)
    region = graph.add("ImageToMask", image=graph.batch(*regions), channel="red")
    result = restore(graph, graph.batch(left, right), region=region)
    result.passed_through(parts.left, parts.right)
    assert [touched.any() for touched in result.touched] == [True, False]
    assert len(result.before) == 5


def test_regions_that_do_not_match_are_refused(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    masks = graph.add("ImageToMask", image=graph.add("RepeatImageBatch", image=left, amount=2), channel="red")
    with pytest.raises(PromptFailedError, match=r"for 3 photos it must hold one mask, or 3\."):
        restore(graph, graph.add("RepeatImageBatch", image=left, amount=3), region=masks)


def test_what_covers_faces_stays_as_it_is(
    graph: GraphBuilder, parts: Parts, detector_weights: Path, tmp_path: Path
) -> None:
    """A bar across each face, of the colour that the made occlusion model knows."""
    photo, covered = parts.left.copy(), np.zeros(parts.left.shape[:2], bool)
    for face in faces_in(parts.left, detector_weights):
        x, y = np.rint(face.landmarks[2]).astype(int)
        covered[y : y + 4, x - 20 : x + 20] = True
    photo[covered] = np.rint(np.array(COVER) * 255)

    def restored(occlusion: str) -> NDArray[np.float64]:
        again = GraphBuilder(graph.server)
        detector = again.add("GPENLoadFaceDetector", detector="yunet")
        faces = again.add("GPENDetectFaces", image=again.photo(parts.left, "left.png"), detector=detector)
        options = {"weights": MARKER, "faces": faces, "mask": "box", "occlusion": occlusion}
        return restore(again, again.photo(photo, "covered.png"), **options).images[0]

    with pytest.raises(PromptFailedError, match=r"(?s)^Occlusion needs a model .*gpen download xseg_3"):
        restored("auto")
    file = graph.server.add_model("facedetection/xseg_1.onnx", write_occluder(tmp_path / "xseg_1.onnx"))
    try:
        free, kept = restored("none"), restored("auto")
    finally:
        file.unlink()
    assert (np.abs(free - photo).max(axis=2) > 5)[covered].mean() > 0.9
    assert np.array_equal(kept[covered], photo[covered])
    assert (np.abs(kept - photo).max(axis=2) > 5).sum() > 1000


def test_a_person_cannot_be_recognised_without_a_model(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    with pytest.raises(PromptFailedError, match=r"(?s)^arcface .* is not on this computer\..*gpen download sface"):
        restore(graph, left, person=left)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"max_face_size": 10}, []),
        ({"skip_sharp": 0.9}, [0, 1, 2, 3, 4]),
        ({"only_faces": "0,2-3"}, [0, 2, 3]),
        ({"select": "central"}, [2]),
        ({"select": "largest"}, None),
        ({"min_face_size": 100}, []),
        ({"detection_threshold": 1.0}, []),
    ],
    ids=["largest size", "sharp", "numbers", "central", "largest", "size", "threshold"],
)
def test_which_faces(
    graph: GraphBuilder, parts: Parts, detector_weights: Path, options: dict[str, Any], chosen: list[int] | None
) -> None:
    faces = faces_in(parts.left, detector_weights)
    if chosen is None:
        areas = [(face.box[2] - face.box[0]) * (face.box[3] - face.box[1]) for face in faces]
        chosen = [int(np.argmax(areas))]
    result = restore(graph, graph.photo(parts.left, "left.png"), **options)
    if chosen:
        are_crops(result.before, parts.left, [faces[number] for number in chosen])
        result.passed_through(parts.left)
    else:
        result.nothing_done(parts.left)


def test_strength_zero_changes_nothing(graph: GraphBuilder, parts: Parts) -> None:
    result = restore(graph, graph.photo(parts.left, "left.png"), weights=MARKER, strength=0.0)
    assert np.array_equal(result.images[0], parts.left)
    assert len(result.after) == 5


def test_a_box_covers_more_than_an_ellipse(graph: GraphBuilder, parts: Parts) -> None:
    left = graph.photo(parts.left, "left.png")
    ellipse = restore(graph, left, only_faces="0")
    box = restore(graph, left, only_faces="0", mask="box")
    box.passed_through(parts.left)
    assert box.masks[0].sum() > 1.5 * ellipse.masks[0].sum()


def test_faces_from_another_node(graph: GraphBuilder, parts: Parts, detector_weights: Path) -> None:
    """The inputs for detecting and choosing faces have no effect then."""
    photo = graph.photo(parts.left, "left.png")
    detector = graph.add("GPENLoadFaceDetector", detector="yunet")
    faces = graph.add("GPENDetectFaces", image=photo, detector=detector, only_faces="1,4")
    result = restore(graph, photo, faces=faces, only_faces="0", detection_threshold=1.0)
    expected = faces_in(parts.left, detector_weights)
    are_crops(result.before, parts.left, [expected[1], expected[4]])
    result.passed_through(parts.left)


def test_enlarged(graph: GraphBuilder, parts: Parts) -> None:
    result = restore(graph, graph.photo(parts.left, "left.png"), upscale=1.5)
    result.passed_through(enlarged(parts.left, 1.5))
    assert len(result.after) == 5


def test_pasted_into_a_background(graph: GraphBuilder, parts: Parts) -> None:
    background = np.full((514, 602, 3), 200, np.uint8)
    result = restore(
        graph, graph.photo(parts.left, "left.png"), background=graph.photo(background, "grey200.png"), upscale=4.0
    )
    result.blended(0, background, enlarged(parts.left, 2))


def test_a_background_of_other_proportions_is_refused(graph: GraphBuilder, parts: Parts) -> None:
    background = graph.photo(np.zeros((500, 500, 3), np.uint8), "square.png")
    with pytest.raises(PromptFailedError, match="The background is 500 x 500, the photo 301 x 257: their proportions"):
        restore(graph, graph.photo(parts.left, "left.png"), background=background)


@pytest.mark.parametrize(("factor", "size"), [(1.0, (514, 602)), (2.0, (514, 602)), (3.0, (771, 903))])
def test_pasted_into_the_output_of_an_upscale_model(
    graph: GraphBuilder, parts: Parts, upscale_x2: Path, factor: float, size: tuple[int, int]
) -> None:
    graph.server.add_model("upscale_models/nearest-x2.pth", upscale_x2)
    model = graph.add("UpscaleModelLoader", model_name="nearest-x2.pth")
    result = restore(graph, graph.photo(parts.left, "left.png"), upscale_model=model, upscale=factor)
    assert result.images[0].shape == (*size, 3)
    if size == (514, 602):
        nearest = parts.left.repeat(2, axis=0).repeat(2, axis=1)
        touched, mask = result.touched[0], result.masks[0][..., None]
        assert np.array_equal(result.images[0][~touched], nearest[~touched])
        error = np.abs(result.images[0] - (nearest * (1 - mask) + enlarged(parts.left, 2) * mask))
        assert error.max() <= 8
    assert len(result.after) == 5


def test_as_many_backgrounds_as_photos(graph: GraphBuilder, parts: Parts) -> None:
    photo = graph.photo(parts.left, "left.png")
    with pytest.raises(PromptFailedError, match=r"For 2 photos there is 1 background\."):
        restore(graph, graph.batch(photo, photo), background=photo)


def test_an_upscale_model_whose_output_is_too_large_is_not_run(
    graph: GraphBuilder, parts: Parts, upscale_x2: Path
) -> None:
    graph.server.add_model("upscale_models/nearest-x2.pth", upscale_x2)
    model = graph.add("UpscaleModelLoader", model_name="nearest-x2.pth")
    with pytest.raises(PromptFailedError, match=r"a photo of 0\.\d+ megapixels, more than the 0\.1 allowed"):
        restore(graph, graph.photo(parts.left, "left.png"), upscale_model=model, max_megapixels=0.1)


def test_background_or_upscale_model_but_not_both(graph: GraphBuilder, parts: Parts, upscale_x2: Path) -> None:
    graph.server.add_model("upscale_models/nearest-x2.pth", upscale_x2)
    photo = graph.photo(parts.left, "left.png")
    model = graph.add("UpscaleModelLoader", model_name="nearest-x2.pth")
    with pytest.raises(PromptFailedError, match=r"A background and an upscale model are connected\."):
        restore(graph, photo, upscale_model=model, background=photo)


def test_the_mask_auto_is_parsed_once_a_parser_is_there(graph: GraphBuilder, parts: Parts, tmp_path: Path) -> None:
    """A workflow that was saved with ellipse keeps it."""

    def restored(*masks: str) -> list[NDArray[np.float64]]:
        results = []
        for mask in masks:
            again = GraphBuilder(graph.server)
            photo = again.photo(parts.left, "left.png")
            results.append(restore(again, photo, weights=MARKER, only_faces="0", mask=mask).images[0])
        return results

    file = write_parser(tmp_path)
    auto, ellipse = restored("auto", "ellipse")
    assert np.array_equal(auto, ellipse)
    parser = graph.server.add_model(f"facedetection/{file.name}", file)
    try:
        auto, parsed, saved = restored("auto", "parsed", "ellipse")
    finally:
        parser.unlink()
    assert np.array_equal(auto, parsed)
    assert not np.array_equal(auto, ellipse)
    assert np.array_equal(saved, ellipse)


def test_what_is_protected_stays(graph: GraphBuilder, parts: Parts) -> None:
    """One mask for two frames; then the same in a result of twice the size."""
    left, middle = graph.photo(parts.left, "left.png"), parts.left.shape[1] // 2
    frames = graph.batch(left, left)
    mask = np.zeros(parts.left.shape[:2], bool)
    mask[:, :middle] = True
    protect = mask_input(graph, mask, "protect.png")
    for upscale in (1, 2):
        photo = parts.left if upscale == 1 else enlarged(parts.left, upscale)
        free = restore(graph, frames, weights=MARKER, upscale=float(upscale))
        kept = restore(graph, frames, weights=MARKER, upscale=float(upscale), protect=protect)
        for frame in (0, 1):
            protected, far = np.s_[:, : upscale * middle], np.s_[:, upscale * (middle + 8) :]
            # The server enlarges by itself, to within rounding.
            assert np.abs(kept.images[frame][protected] - photo[protected]).max() <= upscale - 1
            assert not kept.touched[frame][protected].any()
            assert free.touched[frame][protected].any()
            assert np.array_equal(kept.images[frame][far], free.images[frame][far])
            assert kept.touched[frame][far].any()


@pytest.mark.parametrize("detector", [None, "retinaface_mobile0.25"])
def test_other_detectors(graph: GraphBuilder, parts: Parts, detector: str | None) -> None:
    """If none is connected, one is chosen."""
    loaded = detector and graph.add("GPENLoadFaceDetector", detector=detector)
    result = restore(graph, graph.photo(parts.left, "left.png"), detector=loaded)
    result.passed_through(parts.left)
    assert len(result.after) == 5


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"mask": "parsed"}, r"needs a face-parsing model[\s\S]*put parsing_parsenet\.pth into .*facedetection"),
        ({"only_faces": "first"}, "Only these faces is 'first'; it has to be numbers"),
        (
            {"upscale": 4.0, "max_megapixels": 0.5},
            r"enlarged picture would have 1\.2\d* megapixels, more than the 0\.5 allowed",
        ),
    ],
    ids=["no parser", "no number", "too large"],
)
def test_errors_are_explained(graph: GraphBuilder, parts: Parts, inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PromptFailedError, match=sentence) as caught:
        restore(graph, graph.photo(parts.left, "left.png"), **inputs)
    assert caught.value.details["node_type"] == "GPENRestoreFaces"
